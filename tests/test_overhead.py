"""What measuring adds to a step: the arithmetic, the table, and the sides on a tiny model."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import STACK

from bench.costs import CostSpec
from bench.errors import BenchError
from bench.measuring import subject
from bench.measuring.subject import Subject
from bench.records import Backbone, Environment, Freeze
from bench.settings import Settings
from bench.training.grounds import Workplace
from bench.zoo.rewriting import Rewrite
from benchmarks import overhead
from benchmarks.overhead import Added, Measured, Report

MACHINE = Environment(
    bench_version="0.1.0",
    python_version="3.12.0",
    platform="Linux x86_64",
    processor="Abacus",
    cores=2,
    memory_gib=8.0,
    packages={},
)
INFERENCE = CostSpec(backbone=Backbone(name="MobileNetV2"), workload="inference", image_size=16)
TRAINING = INFERENCE.model_copy(
    update={"workload": "phase 2", "freeze": Freeze(strategy="top_blocks", amount=2)}
)


def timed(spec: CostSpec = INFERENCE, **seconds: Sequence[float]) -> Measured:
    return Measured(spec=spec, execution="graph", steps=10, seconds=seconds, elsewhere=0.03)


def report(*measured: Measured) -> Report:
    return Report(
        stack=STACK,
        environment=MACHINE,
        command="python -m benchmarks.overhead",
        measured_at="2026-01-01T00:00:00+00:00",
        measured=measured,
    )


def test_what_is_added_is_a_ratio_of_medians() -> None:
    added = Added.of([2.02, 9.0, 1.0], [2.0, 2.0, 1.0])
    assert added.value == pytest.approx(0.01)
    assert added.low == pytest.approx(0.0)
    assert added.high == pytest.approx(3.5)


def test_rounds_are_drawn_together() -> None:
    # A slow spell that meets both sides of a round is no difference between them.
    bare = [1.0, 3.0, 2.0, 10.0]
    added = Added.of([1.01 * s for s in bare], bare)
    assert (added.low, added.high) == (pytest.approx(0.01), pytest.approx(0.01))


def test_a_side_that_was_not_run_adds_nothing_known() -> None:
    assert timed(bare=[1.0], measured=[1.0]).added("trial") is None
    assert timed(bare=[1.0], trial=[1.0]).added("trial", over="fit") is None


def test_sides_take_turns() -> None:
    ran: list[str] = []

    def side(name: str) -> Callable[[], float]:
        def run() -> float:
            ran.append(name)
            return float(len(ran))

        return run

    found = overhead.in_turns({name: side(name) for name in "abc"}, 2)
    assert ran == list("abcabc")
    assert found == {"a": (1.0, 4.0), "b": (2.0, 5.0), "c": (3.0, 6.0)}


@pytest.mark.parametrize(("measured", "within"), [(1.019, True), (1.021, False), (0.97, False)])
def test_the_limit_holds_above_and_below(measured: float, within: bool) -> None:
    near = timed(bare=[1.0, 1.0], measured=[1.001, 1.001])
    far = timed(TRAINING, bare=[1.0, 1.0], measured=[measured, measured])
    found = report(near, far)
    assert found.within is within
    said = overhead.sentence(found)
    assert f"step: {'yes' if within else 'no'}, {measured - 1:+.1%} (" in said
    assert "MobileNetV2, phase 2 top_blocks=2" in said


def test_a_table_shows_every_side() -> None:
    sides = {"bare": [0.02], "measured": [0.0201], "fit": [0.022], "trial": [0.0231]}
    shown = overhead.table(report(timed(bare=[0.01], measured=[0.01]), timed(TRAINING, **sides)))
    inference, training = shown.splitlines()[2:4]
    assert inference.count("–") == 3
    for cell in ("20", "+0.5%", "+10.0%", "+15.5%", "+5.0%"):
        assert cell in training
    assert "At 16 px, batch 32, in percent over the bare loop (ours: a trial's fit" in shown
    assert f"on {STACK.id}, Abacus, 2 cores. Other work used up to 3% of the cores" in shown


def test_show_prints_a_file_and_its_exit_code_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "o.json"
    for measured, code in ((1.0, 0), (1.1, 1)):
        found = report(timed(bare=[1.0], measured=[measured]))
        file.write_text(found.model_dump_json(), encoding="utf-8")
        assert overhead.main(["--show", str(file)]) == code
        assert capsys.readouterr().out.startswith(overhead.sentence(found))
        assert overhead.read(file) == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--show", "absent.json"], "absent.json: expected a file of benchmarks.overhead"),
        (["--rounds", "0"], "--rounds 0 --batch-size 32 --seconds 3.0: expected numbers above 0"),
        (["--backbone", "MobilNet"], "'MobilNet': expected a suite or a backbone"),
    ],
)
def test_wrong_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert overhead.main(words) == 2
    assert said in capsys.readouterr().err


def test_an_older_file_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "o.json"
    file.write_text('{"measured": []}', encoding="utf-8")
    with pytest.raises(BenchError, match=r"o\.json: expected a file of benchmarks\.overhead"):
        overhead.read(file)


@pytest.mark.parametrize("spec", [INFERENCE, TRAINING], ids=["inference", "training"])
def test_every_side_runs(
    spec: CostSpec, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tiny

    from bench.training.model import PinnedBackbone, build

    def load(spec: CostSpec, place: Workplace) -> Subject:
        trial = build(
            tiny.backbone(),
            "minus_one_to_one",
            spec.head,
            image_size=tiny.SIZE,
            classes=spec.classes,
            pin=PinnedBackbone,
        )
        return Subject(spec, trial, Rewrite())

    monkeypatch.setattr(subject, "load", load)
    place = Workplace(settings, Path(), STACK, MACHINE)
    small = spec.model_copy(update={"batch_size": 4})
    found = overhead.measure(small, place, rounds=2, seconds=0.01)
    sides = {"bare", "measured"} | ({"fit", "trial"} if spec is TRAINING else set())
    assert set(found.seconds) == sides
    assert {len(rounds) for rounds in found.seconds.values()} == {2}
    # A step of the tiny model takes milliseconds; a clock never stopped would read NaN or none.
    assert all(0 < s < 60 for rounds in found.seconds.values() for s in rounds)
    assert found.steps >= overhead.FEWEST_STEPS
