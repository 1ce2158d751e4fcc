"""The speed comparison: both sides are told the same, and ratios and tables say what was timed."""

import ast
import os
import tomllib
from pathlib import Path

import pytest
from conftest import STACK, make_result

from bench import suite
from bench.errors import BenchError
from bench.records import Environment
from bench.settings import Settings
from benchmarks import cases, measured, plain, speed, tables
from benchmarks.bench_side import BenchRun
from benchmarks.cases import CASES, Case, Prepared, Side
from benchmarks.measured import Comparison, Measured, Ratio, Run, Trial

ROOT = Path(__file__).parents[1]
NEEDS = ("TFDS_DATA_DIR", "BENCH_WEIGHTS_DIR")
missing = [name for name in NEEDS if not os.environ.get(name)]

MACHINE = Environment(
    bench_version="0.1.0",
    python_version="3.12.0",
    platform="Linux x86_64",
    processor="Abacus",
    cores=2,
    memory_gib=8.0,
    packages={},
)
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def prepared(case: Case) -> Prepared:
    firsts = {f.label: None if f.strategy == "head_only" else 100 for f in case.freezes}
    return Prepared(weights="w.weights.h5", rescale=True, first_layers=firsts)


def loaded(case: Case, folder: Path) -> suite.Suite:
    file = folder / "case.toml"
    file.write_text(cases.suite_text(case), encoding="utf-8")
    return suite.load(file)


def run(side: Side, work: float, whole: float | None = None, **changes: object) -> Run:
    trial = {
        "strategy": "head_only",
        "seed": 0,
        "seconds": work,
        "phase1_seconds": work / 2,
        "phase2_seconds": None,
        "trainable_parameters": 6405,
        "test_accuracy": 0.9,
    }
    return Run(
        side=side,
        work_seconds=work,
        whole_seconds=whole or work + 10,
        trials=(Trial.model_validate(trial | changes),),
    )


def timed(name: str, *runs: Run) -> Measured:
    return Measured(case=CASES[name], measured_at="2026-01-01T00:00:00+00:00", runs=runs)


def comparison(*found: Measured) -> Comparison:
    return Comparison(stack=STACK, environment=MACHINE, measured=found)


# --------------------------------------------------------------------------------------- cases


def test_the_cases_and_their_targets() -> None:
    targets = {name: (case.target, case.over) for name, case in CASES.items()}
    assert targets == {
        "a": (20.0, None),
        "b": (5.0, None),
        "c": (1.5, None),
        "d": (2.5, None),
        "e": (6.0, "c"),
    }


@pytest.mark.parametrize(("name", "trials"), [("a", 5), ("b", 12), ("c", 1), ("d", 12), ("e", 1)])
def test_a_suite_has_its_trials(name: str, trials: int, tmp_path: Path) -> None:
    assert len(loaded(CASES[name], tmp_path).trials) == trials


@every_case
def test_both_sides_are_told_the_same(case: Case, tmp_path: Path) -> None:
    config = cases.plain_config(case, prepared(case))
    trials = loaded(case, tmp_path).trials
    for spec in trials:
        data = spec.data
        assert spec.phase1
        assert (spec.phase1.epochs, spec.phase1.learning_rate) == config.phase1
        assert spec.phase1.optimizer == "adam"
        if spec.phase2:
            assert (spec.phase2.epochs, spec.phase2.learning_rate) == config.phase2
        assert (spec.phase2 is None) == (config.strategies[spec.freeze.label] is None)
        assert spec.execution.batch_size == config.batch_size
        assert (data.image_size, data.dataset.name) == (config.image_size, config.dataset)
        assert data.train_examples == config.train
        assert (data.val_examples, data.test_examples) == (config.val, config.test)
        assert spec.backbone.name == config.backbone
        amounts = {a.kind: a.amount for a in spec.augmentation}
        assert (amounts.get("flip"), amounts.get("rotation")) == (config.flip, config.rotation)
        assert (spec.head.pooling, spec.head.output, spec.head.loss) == ("avg", "logits", "sparse")
        assert [layer.dropout for layer in spec.head.layers] == [0.2]
    pairs = [(spec.freeze.label, spec.seed) for spec in trials]
    assert pairs == [(s, seed) for s in config.strategies for seed in config.seeds]


@every_case
def test_the_plain_scripts_configuration_survives_its_file(case: Case) -> None:
    text = cases.plain_text(case, prepared(case))
    config = cases.plain_config(case, prepared(case))
    again = plain.Config(**plain.json.loads(text))
    assert (tuple(again.phase1), tuple(again.phase2)) == (config.phase1, config.phase2)
    assert again.strategies == config.strategies


@every_case
def test_the_sides_take_turns(case: Case) -> None:
    assert {"bench", "plain"} == set(case.order)
    assert all(one != two for one, two in zip(case.order, case.order[1:], strict=False))


@every_case
def test_a_small_case_is_the_same_job_but_small(case: Case, tmp_path: Path) -> None:
    small = loaded(case.small(), tmp_path).trials
    assert [t.freeze for t in small] == list(case.freezes)
    assert all(t.phase1 and t.phase1.epochs == 1 for t in small)


def test_only_d_is_augmented_and_otherwise_equals_b() -> None:
    b, d = (tomllib.loads(cases.suite_text(CASES[n])) for n in "bd")
    assert d["data"].pop("augmentation") == [{"flip": "horizontal"}, {"rotation": 0.1}]
    assert b["data"].pop("augmentation") == []
    assert "augmented" in d.pop("description")
    assert "augmented" not in b.pop("description")
    assert b == d


def test_the_plain_script_owes_nothing_to_bench() -> None:
    tree = ast.parse(Path(plain.__file__).read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or node.names[0].name]
    }
    assert "keras" in imported
    assert not imported & {"bench", "benchmarks"}


# -------------------------------------------------------------------------------------- ratios


def test_a_ratio_is_of_means_and_its_bounds_of_neighbours() -> None:
    ratio = timed("b", run("bench", 10), run("plain", 60), run("bench", 20)).ratio()
    assert ratio == Ratio(value=4.0, low=3.0, high=6.0)


def test_runs_of_one_side_in_a_row_are_no_pair() -> None:
    ratio = timed("b", run("bench", 1), run("bench", 10), run("plain", 50)).ratio()
    assert ratio
    assert (ratio.low, ratio.high) == (5.0, 5.0)


def test_a_whole_ratio_counts_the_start() -> None:
    ratio = timed("c", run("bench", 10, 20), run("plain", 20, 30)).ratio(whole=True)
    assert ratio == Ratio(value=1.5, low=1.5, high=1.5)


def test_a_literal_run_is_in_no_ratio() -> None:
    with_literal = timed("c", run("bench", 10), run("plain", 20), run("literal", 1))
    assert with_literal.ratio() == Ratio(value=2.0, low=2.0, high=2.0)
    assert with_literal.seconds("literal") == 1.0


def test_one_side_alone_has_no_ratio() -> None:
    assert timed("c", run("bench", 10)).ratio() is None


def test_a_target_over_another_case_divides_by_its_ratio() -> None:
    c = timed("c", run("bench", 10), run("plain", 20), run("bench", 12.5))
    e = timed("e", run("bench", 10), run("plain", 120))
    found = comparison(c, e)
    assert found.counted(e) == Ratio(
        value=12 / (20 / 11.25), low=12 / (20 / 10), high=12 / (20 / 12.5)
    )
    assert found.reached(e) is True
    assert comparison(e).reached(e) is None  # without c it cannot be told


@pytest.mark.parametrize(("plain_seconds", "reached"), [(15.0, True), (14.9, False)])
def test_a_target_is_reached_or_not(plain_seconds: float, reached: bool) -> None:
    c = timed("c", run("bench", 10), run("plain", plain_seconds))
    assert comparison(c).reached(c) is reached


def test_numbers_that_trained_are_compared() -> None:
    other = run("plain", 2, trainable_parameters=7)
    assert timed("c", run("bench", 1), run("plain", 2)).same_parameters is True
    assert timed("c", run("bench", 1), other).same_parameters is False
    assert timed("c", run("bench", 1)).same_parameters is None


# -------------------------------------------------------------------------------------- tables


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A made-up comparison on disk."""
    written = tmp_path / "folder" / "speed.json"
    found = comparison(
        timed("a", run("bench", 10), run("plain", 250), run("bench", 10)),
        timed("c", run("bench", 10), run("plain", 14, trainable_parameters=7)),
        timed("e", run("bench", 10), run("plain", 70, test_accuracy=0.5)),
    )
    measured.write(found, written)
    return written


def test_show_prints_the_table_of_a_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(["--show", str(file), "--format", "markdown"]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == tables.document(measured.read(file), "markdown").strip()
    a, c, e = ([cell.strip() for cell in line.split("|")] for line in printed.splitlines()[2:5])
    assert a[1:6] == ["a", CASES["a"].job, "250", "10.0", "25.0x"]
    assert a[6:10] == ["20x", "yes", "13.0x", "90.0 / 90.0"]
    assert c[5:8] == ["1.4x", "1.5x", "no"]
    assert e[5:8] == ["7.0x", "6x over c", "no: 5.0x"]
    assert e[9] == "50.0 / 90.0"


def test_doubts_stand_below_the_table(file: Path) -> None:
    text = tables.document(measured.read(file))
    assert f"Measured on {STACK.id}, Abacus, 2 cores." in text
    assert "c, e: one pair of runs" in text
    assert "c: the sides trained different numbers of weights." in text
    assert "e: random weights" in text


def test_a_column_for_literal_runs_only_where_there_are_some(file: Path) -> None:
    assert "literally" not in tables.document(measured.read(file))
    literal = timed("c", run("bench", 10), run("plain", 20), run("literal", 17.25))
    text = tables.document(comparison(literal))
    assert "literally" in text
    assert "17.2" in text


def test_a_spread_is_shown() -> None:
    assert tables.times(Ratio(value=5.31, low=5.08, high=5.44)) == "5.3x (5.1–5.4)"
    assert tables.times(None) == "–"


@pytest.mark.parametrize("content", [None, "{}", "nothing of ours"])
def test_a_file_that_cannot_be_shown(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.json"
    if content is not None:
        wrong.write_text(content, encoding="utf-8")
    assert speed.main(["--show", str(wrong)]) == 2
    assert "wrong.json: expected measurements" in capsys.readouterr().err


def test_an_unknown_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(["--cases", "a,z"]) == 2
    assert "unknown case 'z'" in capsys.readouterr().err


def test_small_cases_never_go_where_the_real_ones_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert speed.main(["--small"]) == 2
    assert "expected --output" in capsys.readouterr().err


# ----------------------------------------------------------------------------------- measuring


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> list[Side]:
    """Sides that take no time; the list tells who ran."""
    ran: list[Side] = []

    def bench_run(case: Case, settings: Settings, place: Path, side: Side) -> tuple[Run, BenchRun]:
        ran.append(side)
        told = BenchRun(stack=STACK, environment=MACHINE, start_seconds=3, work_seconds=10, rows=())
        return run(side, 10), told

    def plain_run(case: Case, prepared: Prepared, place: Path) -> Run:
        ran.append("plain")
        return run("plain", 30)

    monkeypatch.setattr(speed, "bench_run", bench_run)
    monkeypatch.setattr(speed, "plain_run", plain_run)
    monkeypatch.setattr(speed, "_prepare", lambda case, folder: prepared(case))
    return ran


def test_runs_follow_the_cases_order(sides: list[Side], tmp_path: Path) -> None:
    found = speed.measure_all([CASES["b"]], tmp_path / "o.json", literal=True)
    assert sides == ["bench", "plain", "bench", "literal"]
    assert [r.side for r in found.measured[0].runs] == sides


def test_other_cases_of_the_file_stay(sides: list[Side], file: Path) -> None:
    found = speed.measure_all([CASES["c"], CASES["b"]], file)
    assert list(found.by_name()) == ["a", "b", "c", "e"]
    ratio = found.by_name()["c"].ratio()
    assert ratio
    assert ratio.value == 3.0
    assert measured.read(file) == found


def test_another_machines_cases_do_not(sides: list[Side], tmp_path: Path) -> None:
    file = tmp_path / "o.json"
    elsewhere = MACHINE.model_copy(update={"processor": "Slide rule"})
    a = timed("a", run("bench", 1), run("plain", 2))
    measured.write(Comparison(stack=STACK, environment=elsewhere, measured=(a,)), file)
    assert list(speed.measure_all([CASES["c"], CASES["b"]], file).by_name()) == ["b", "c"]


def test_a_trial_of_bench_without_a_result_ends_the_comparison() -> None:
    row = make_result(status="failed", reason="the disk is full", test_accuracy=None)
    with pytest.raises(BenchError, match="failed: the disk is full"):
        speed.trial_of(row)


def test_a_row_of_bench_keeps_its_stages() -> None:
    row = make_result()
    trial = speed.trial_of(row)
    assert (trial.strategy, trial.seconds) == (row.spec.freeze.label, row.seconds)
    assert (trial.phase1_seconds, trial.phase2_seconds) == (2.5, 2.5)
    assert trial.trainable_parameters == 1_200_000  # the last phase's


def test_a_fresh_cache_is_lent_the_pictures_of_its_case_alone(tmp_path: Path) -> None:
    images, fresh = tmp_path / "images", tmp_path / "fresh" / "images"
    for name in ("tf_flowers-160-0123", "tf_flowers-224-0123", "cats_vs_dogs-160-0123"):
        (images / name).mkdir(parents=True)
    speed._lend_pictures(CASES["a"], images, fresh)
    assert [entry.name for entry in fresh.iterdir()] == ["tf_flowers-160-0123"]
    assert (fresh / "tf_flowers-160-0123").resolve() == images / "tf_flowers-160-0123"
    with pytest.raises(BenchError, match="decoded pictures of case e"):
        speed._lend_pictures(CASES["e"], images, tmp_path / "other")


def test_a_side_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"benchmarks.plain exited with 1: .*No such file"):
        speed._last_line(("-m", "benchmarks.plain", str(tmp_path / "absent.json")), {})


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not set: no real pictures")
def test_a_small_comparison_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "cache"))
    output = tmp_path / "speed.json"
    assert speed.main(["--cases", "c", "--small", "--output", str(output)]) == 0
    (found,) = measured.read(output).measured
    assert [r.side for r in found.runs] == ["bench", "plain"]
    # MobileNetV2 from layer 100 on, BatchNorm's scale and shift included, and a head of 2 classes.
    assert {n for r in found.runs for n in r.parameters.values()} == {1_861_440 + 2 * 1280 + 2}
    for each in found.runs:
        assert [t.strategy for t in each.trials] == ["from_layer=100"]
        assert 0 < each.trials[0].phase2_seconds < each.work_seconds < each.whole_seconds
        assert 0 <= each.accuracy <= 1
