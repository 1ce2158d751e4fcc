"""Traps: the table, the axis of a suite, what a plan and a table make of them, and each at work."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import STACK, Bench, make_result, make_spec

from bench import steps
from bench.errors import FileError, UnknownNameError
from bench.records import Guard, TrialResult, TrialSpec
from bench.reporting import listings, tables
from bench.reporting.notes import notes
from bench.running import isolation, plan
from bench.running.messages import Finished
from bench.running.plan import Cost
from bench.settings import Settings
from bench.suite import Suite, load
from bench.zoo import traps

ROOT = Path(__file__).parents[1]
SUITE = """\
description = "mistakes"
data = {{ image_size = 96 }}
phase1 = {{ epochs = 2, learning_rate = 1e-3 }}
phase2 = {{ epochs = 3, learning_rate = 2e-5, batch_norm = "{batch_norm}" }}

[[matrix]]
backbones = ["{backbone}"]
datasets = ["digits"]
freezes = [{freezes}]
seeds = [0, 1]
{traps}
"""


def trapped(trap: str | None, **changes: object) -> TrialSpec:
    return make_spec().model_copy(update={"trap": trap} | changes)


def suite(
    folder: Path,
    traps: str = "",
    freezes: str = "{ top_blocks = 2 }",
    batch_norm: str = "affine",
    backbone: str = "MobileNetV2",
) -> Suite:
    path = folder / "mistakes.toml"
    text = SUITE.format(traps=traps, freezes=freezes, batch_norm=batch_norm, backbone=backbone)
    path.write_text(text, encoding="utf-8")
    return load(path)


# ----------------------------------------------------------------------------------- the table


def test_every_row_names_guards_and_says_what_it_does() -> None:
    guards = {
        *("preprocessing", "trainable_set", "learning_rate", "backbone_deterministic"),
        *("frozen_weights", "batchnorm_statistics", "weights_moved", "head_trained"),
    }
    assert traps.NONE not in traps.TRAPS
    for name, row in traps.TRAPS.items():
        assert row.name == name
        assert row.guards
        assert set(row.guards) <= guards
        assert "\n" not in row.description
        assert traps.row(name) is row


def test_an_unknown_trap_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown trap 'unpined': did you mean unpinned"):
        traps.row("unpined")
    with pytest.raises(UnknownNameError, match="unknown trap 'odd'"):
        traps.impossible(trapped("odd"))


@pytest.mark.parametrize(
    ("trap", "failed", "right"),
    [
        (None, (), True),
        (None, ("no_cliff",), False),
        ("phase2_rate", ("learning_rate",), True),
        ("phase2_rate", ("learning_rate", "no_cliff"), True),
        ("phase2_rate", ("no_cliff",), False),
        ("phase2_rate", (), False),
        ("phase2_rate", ("learning_rate", "weights_moved"), False),
        ("no_recompile", ("learning_rate", "weights_moved"), True),
        ("unpinned", ("batchnorm_statistics",), True),
        ("of a later version", ("learning_rate",), False),
        ("of a later version", (), False),
    ],
)
def test_what_guards_should_say(trap: str | None, failed: tuple[str, ...], right: bool) -> None:
    assert traps.as_expected(trap, failed) is right


def test_the_phases_of_a_script_without_phase_1() -> None:
    spec = trapped("no_phase1")
    first, whole = traps.phases(spec)
    assert first is None
    assert (whole.epochs, whole.learning_rate, whole.optimizer) == (3, 1e-3, "adam")
    assert traps.phases(trapped("phase2_rate")) == (spec.phase1, spec.phase2)
    assert traps.phases(trapped(None)) == (spec.phase1, spec.phase2)


def test_one_rate_for_both_phases_is_no_mistake_where_the_suite_asks_for_it() -> None:
    spec = trapped("phase2_rate")
    assert spec.phase1
    assert spec.phase2
    equal = spec.phase2.model_copy(update={"learning_rate": spec.phase1.learning_rate})
    reason = "both phases have the learning rate 0.001 anyway"
    assert traps.impossible(trapped("phase2_rate", phase2=equal)) == reason
    assert traps.impossible(spec) is None
    assert traps.impossible(trapped("no_recompile", phase2=equal)) is None


def test_the_table_and_the_suites_need_no_framework() -> None:
    code = "import sys, bench.zoo.traps; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_traps_are_listed() -> None:
    text = listings.listing("traps", ROOT)
    assert all(row.description in text for row in traps.TRAPS.values())
    assert "backbone_deterministic, batchnorm_statistics" in text


# ------------------------------------------------------------------------------------ the spec


def test_without_a_trap_the_key_is_as_before() -> None:
    assert make_spec().trap is None
    assert "trap" not in json.dumps(make_spec().model_dump(mode="json", exclude_defaults=True))
    assert make_spec().key == "df78fb4fa3f2504851003eb3fad3de09"


def test_a_trap_is_another_trial_and_its_label_says_so() -> None:
    assert len({trapped(name).key for name in (None, *traps.TRAPS)}) == 1 + len(traps.TRAPS)
    label = "MobileNetV2 · digits · top_blocks=2 · linear · trap unpinned · seed 0"
    assert trapped("unpinned").label == label
    assert "trap" not in trapped(None).label


# ----------------------------------------------------------------------------------- the suite


def test_a_suite_without_traps_has_none(tmp_path: Path) -> None:
    assert [t.trap for t in suite(tmp_path).trials] == [None, None]


def test_traps_are_an_axis_between_freezes_and_seeds(tmp_path: Path) -> None:
    freezes = '{ top_blocks = 2 }, "all"'
    found = suite(tmp_path, 'traps = ["none", "unpinned"]', freezes).trials
    assert [(t.freeze.strategy, t.trap, t.seed) for t in found] == [
        (freeze, trap, seed)
        for freeze in ("top_blocks", "all")
        for trap in (None, "unpinned")
        for seed in (0, 1)
    ]
    plain, wrong = found[0], found[2]
    assert wrong.model_copy(update={"trap": None}) == plain


def test_a_trap_without_the_right_protocol_is_allowed(tmp_path: Path) -> None:
    assert {t.trap for t in suite(tmp_path, 'traps = ["phase2_rate"]').trials} == {"phase2_rate"}


@pytest.mark.parametrize("trap", [n for n, r in traps.TRAPS.items() if r.between_phases])
def test_a_mistake_between_phases_is_left_out_where_there_is_one(tmp_path: Path, trap: str) -> None:
    freezes = '"head_only", { top_blocks = 2 }, "scratch"'
    found = suite(tmp_path, f'traps = ["none", "{trap}"]', freezes)
    assert {t.freeze.strategy for t in found.trials if t.trap} == {"top_blocks"}
    assert len([t for t in found.trials if not t.trap]) == 6
    assert found.warnings == (
        f"trap {trap} is left out with head_only: head_only has one phase only",
        f"trap {trap} is left out with scratch: scratch has one phase only",
    )


def test_other_traps_that_are_no_mistakes_are_left_out(tmp_path: Path) -> None:
    found = suite(tmp_path, 'traps = ["none", "unpinned"]', batch_norm="train")
    assert [t.trap for t in found.trials] == [None, None]
    assert "batch_norm = train" in found.warnings[0]
    raw = suite(
        tmp_path,
        'traps = ["none", "preprocessing_skipped", "preprocessing_twice"]',
        backbone="EfficientNetB0",
    )
    assert [t.trap for t in raw.trials] == [None, None, *["preprocessing_twice"] * 2]
    assert raw.warnings[0].endswith("EfficientNetB0 takes pixels as they are")


@pytest.mark.parametrize(
    ("written", "freezes", "message"),
    [
        (
            'traps = ["unpined"]',
            "{ top_blocks = 2 }",
            r"matrix\[0\].traps\[0\] = 'unpined'.*unpinn",
        ),
        ("traps = []", "{ top_blocks = 2 }", r"matrix\[0\].traps = \[\]: expected at least one"),
        ('traps = ["none", "none"]', "{ top_blocks = 2 }", "each once, but 'none' is there twice"),
        ('traps = ["no_recompile"]', '"head_only"', "head_only has one phase only"),
    ],
)
def test_wrong_traps_are_one_message(
    tmp_path: Path, written: str, freezes: str, message: str
) -> None:
    with pytest.raises(FileError, match=message):
        suite(tmp_path, written, freezes)


def test_the_shipped_suite_holds_every_trap_beside_the_right_protocol() -> None:
    shipped = load(ROOT / "suites" / "traps.toml")
    assert {t.trap for t in shipped.trials} == {None, *traps.TRAPS}
    assert len(shipped.trials) == 5 * (1 + len(traps.TRAPS))
    assert shipped.warnings == ()
    right = {t.seed: t for t in shipped.trials if t.trap is None}
    assert all(t.model_copy(update={"trap": None}) == right[t.seed] for t in shipped.trials)


# ------------------------------------------------------------------------------- steps and plan


@pytest.mark.parametrize("trap", traps.TRAPS)
def test_a_trapped_trial_shares_pictures_alone(trap: str, tmp_path: Path) -> None:
    assert not steps.shares_phase1(trapped(trap))
    assert not steps.shares_phase2(trapped(trap))
    trials = (trapped(None), trapped(None, seed=1), trapped(trap))
    small = Suite(name="s", description="d", folder=tmp_path, trials=trials)
    made = plan.of(small, Settings(cache=tmp_path / "cache"))
    for step in made.steps:
        users = set(step.trials)
        assert trapped(trap).key not in users or len(users) == 1 or step.kind == "images"
    own = [s for s in made.steps if s.trials == (trapped(trap).key,)]
    tuning = sum((s.cost for s in own), Cost())
    if trap == "no_phase1":
        assert [s.kind for s in own] == ["fine-tuning", "evaluation"]
        assert tuning == Cost(tuning=3, evaluation=5)
    else:
        assert tuning == Cost(forward=2, tuning=1, evaluation=6)


# ---------------------------------------------------------------------------------- the report


def failing(trap: str | None, *names: str, seed: int = 0) -> TrialResult:
    held = tuple(Guard(name=n, passed=False, evidence=f"{n} is off") for n in names)
    return make_result(trapped(trap, seed=seed), guards=(*make_result().guards, *held))


def test_a_table_has_a_column_where_traps_differ() -> None:
    rows = [failing(None), failing("phase2_rate", "learning_rate")]
    text = tables.render(rows, "markdown")
    assert "| trap " in text
    assert "| none " in text
    assert "| phase2_rate " in text
    assert "| trap " not in tables.render(rows[:1], "markdown")
    assert "| phase2_rate " in tables.render(rows[1:], "markdown")  # never left unsaid
    assert "FAIL: learning_rate" in text
    csv = tables.render(rows, "csv").splitlines()
    at = csv[0].split(",").index("trap")
    assert [line.split(",")[at] for line in csv[1:]] == ["", "phase2_rate"]


def test_a_noticed_trap_is_one_note_whatever_its_seeds() -> None:
    rows = [failing("phase2_rate", "learning_rate", seed=s) for s in range(3)]
    assert [n for n in notes(rows) if "trap" in n] == [
        "trap phase2_rate: noticed by the guard learning_rate in 3 of 3 trials, "
        "such as: learning_rate is off"
    ]


def test_a_trap_that_no_guard_noticed_is_said() -> None:
    rows = [failing("unpinned"), failing("unpinned", "learning_rate", seed=1)]
    found = [n for n in notes(rows) if "trap" in n]
    assert found == [
        f"{rows[1].spec.label}: guard learning_rate failed: learning_rate is off",
        f"{rows[0].spec.label}: trap unpinned was noticed by no guard",
        f"{rows[1].spec.label}: trap unpinned was noticed by no guard",
    ]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (failing("phase2_rate", "learning_rate"), 0),
        (failing("phase2_rate", "learning_rate", "no_cliff"), 0),
        (failing("phase2_rate"), 1),
        (failing("phase2_rate", "learning_rate", "weights_moved"), 1),
        (failing(None, "learning_rate"), 1),
        (make_result(trapped("no_recompile"), status="skipped", reason="refused"), 0),
        (make_result(trapped("no_recompile"), status="diverged", reason="nan"), 1),
    ],
    ids=["noticed", "with a cliff", "unnoticed", "another too", "no trap", "skipped", "diverged"],
)
def test_a_run_ends_with_0_where_exactly_the_traps_are_noticed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: TrialResult, code: int
) -> None:
    def engine(*_: object) -> Any:
        def execute(spec: TrialSpec, report: object) -> Finished:
            return Finished(result=row.model_copy(update={"key": spec.key, "spec": spec}))

        nothing = dict.fromkeys(("wait", "close"), lambda: None)
        return SimpleNamespace(stack=STACK, execute=execute, **nothing)

    monkeypatch.setattr(isolation, "LocalEngine", engine)
    suite(tmp_path, f'traps = ["{row.spec.trap or traps.NONE}"]')
    answer = bench("run", tmp_path / "mistakes.toml", "--results", tmp_path / "results")
    assert answer.code == code, answer.err
    assert "results: " in answer.out
