"""What jobs should take, held against what real ones took."""

import random
import statistics
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import pytest
from conftest import (
    STACK,
    make_cost,
    make_dataset,
    make_phase,
    make_probe,
    make_rate,
    make_result,
    make_spec,
)
from scipy import stats

from bench.costs import CostSpec
from bench.records import Backbone, Data, Dataset, Freeze, Phase, TrialResult, TrialSpec
from bench.running import expected, jobs, lines, store
from bench.running.expected import Expected
from bench.running.jobs import Job
from bench.tasks import Row, Spec

REAL = Path(__file__).parents[1] / "results" / "reference"
MOST_REST = 5.0
"""Seconds that a real shared trial may have left beside its phases: more is work for others."""


def job(spec: Spec) -> Job:
    return Job(spec.key, spec, "ground")


def jobs_of(*specs: TrialSpec) -> dict[str, Job]:
    """By stage and split."""
    return {
        " ".join((j.stage, getattr(j.work, "split", None) or "")).strip(): j for j in jobs.of(specs)
    }


# --------------------------------------------------------------------------------- on real rows


def real(folder: str) -> tuple[list[Row], list[TrialResult]]:
    """Every row, and those of trials that did nothing for others."""
    seen = store.read(REAL / folder)
    return [*seen.rows, *seen.costs], [
        r for r in seen.rows if r.way == "literal" or _rest(r) < MOST_REST
    ]


def _rest(row: TrialResult) -> float:
    return row.seconds - sum(p.seconds for p in (row.phase1, row.phase2) if p)


def took(row: TrialResult) -> float:
    """Of a trial whose shared steps others did."""
    return row.seconds - (row.phase1.seconds if row.phase1 and row.way == "shared" else 0.0)


def predicted(folder: str, left_out: Callable[[TrialResult], Hashable]) -> list[list[float]]:
    """Real and expected seconds of each trial, by rows of which equal ones are left out."""
    every, trials = real(folder)
    literal = trials[0].way == "literal"
    pairs = []
    for group in dict.fromkeys(map(left_out, trials)):
        others = [r for r in every if not isinstance(r, TrialResult) or left_out(r) != group]
        told = Expected(others, literal)
        for row in (r for r in trials if left_out(r) == group):
            seconds = told.seconds(job(row.spec))
            if seconds is not None:
                pairs.append([took(row), seconds])
    assert len(pairs) == len(trials)
    return pairs


CELL, TASK = (lambda row: row.spec.seedless), (lambda row: (row.spec.backbone, row.spec.data))


@pytest.mark.parametrize(
    ("folder", "left_out", "factor"),
    [
        ("small_zoo", lambda row: row.key, 1.6),
        ("small_zoo", CELL, 1.8),
        ("small_zoo", TASK, 1.8),
        ("real_small", lambda row: row.key, 1.8),
        ("real_small", TASK, 2.0),
    ],
)
def test_a_real_trial_takes_what_the_others_lead_to_expect(
    folder: str, left_out: Callable[[TrialResult], Hashable], factor: float
) -> None:
    pairs = predicted(folder, left_out)
    ratios = sorted(seconds / real for real, seconds in pairs)
    assert 0.8 < statistics.median(ratios) < 1.25
    within = sum(1 / factor < ratio < factor for ratio in ratios)
    assert within >= 0.9 * len(ratios)
    assert stats.spearmanr(*zip(*pairs, strict=True)).statistic > 0.85, "their order is what counts"


def test_measurements_of_cost_tell_the_order_of_trials_before_any_ran() -> None:
    every, trials = real("real_small")
    told = Expected([row for row in every if not isinstance(row, TrialResult)], literal=True)
    counted = [r.spec.model_copy(update={"data": _counted(r)}) for r in trials]
    pairs = [(took(r), told.seconds(job(s))) for r, s in zip(trials, counted, strict=True)]
    assert all(seconds for _, seconds in pairs)
    assert stats.spearmanr(*zip(*pairs, strict=True)).statistic > 0.85


def _counted(row: TrialResult) -> Data:
    """The same data, where the suite file says how many pictures."""
    assert row.dataset is not None
    return row.spec.data.model_copy(update={"train_examples": row.dataset.train})


# --------------------------------------------------------------------------------- rule by rule

SPEC = make_spec()
"""Two blocks of MobileNetV2 at 96 px: 2 epochs of the head, 1 of the blocks."""
COST = CostSpec(backbone=SPEC.backbone, image_size=96, workload="inference")


def a_row(spec: TrialSpec = SPEC, **changes: object) -> TrialResult:
    """12 s: heads found, phase 2 of one epoch of 600 train pictures, and 2 s of all else."""
    fields: dict[str, object] = {
        "way": "shared",
        "dataset": make_dataset(),
        "phase1": make_phase(0.9).model_copy(update={"seconds": 0.0}),
        "phase2": make_phase(0.9).model_copy(update={"seconds": 10.0}),
        "seconds": 12.0,
    }
    return make_result(spec, **(fields | changes))


def changed(spec: TrialSpec = SPEC, **data: object) -> TrialSpec:
    return spec.model_copy(update={"data": spec.data.model_copy(update=data)})


def longer(spec: TrialSpec, epochs: int) -> TrialSpec:
    return spec.model_copy(update={"phase2": Phase(epochs=epochs, learning_rate=1e-5)})


def test_nothing_is_made_up_where_no_row_tells() -> None:
    of_failed = Expected([a_row(status="failed"), a_row(make_spec(seed=1), status="timeout")])
    for told in (Expected(), of_failed):
        for each in (*jobs.of([SPEC]), job(COST)):
            assert told.seconds(each) is None, each.label
    other = SPEC.model_copy(update={"backbone": Backbone(name="ResNet50")})
    assert Expected([a_row()]).seconds(job(other)) is None, "of a backbone that nobody ran"
    assert Expected([a_row()]).seconds(job(changed(dataset=Dataset(name="unseen")))) is None


def test_other_seeds_tell_of_a_trial_without_what_it_did_for_others() -> None:
    first = a_row(make_spec(seed=1), seconds=62.0)  # a pass of 50 s
    told = Expected([first, a_row(make_spec(seed=2)), a_row(make_spec(seed=3))])
    assert told.seconds(job(SPEC)) == pytest.approx(12)


def test_epochs_pictures_and_size_scale_what_is_known() -> None:
    told = Expected([a_row()])
    assert told.seconds(job(longer(SPEC, 3))) == pytest.approx(3 * 10 + 2)
    assert told.seconds(job(changed(train_examples=300))) == pytest.approx(10 / 2 + 2)
    assert told.seconds(job(changed(train_examples=600, image_size=192))) == pytest.approx(42)


def test_a_strategy_is_known_from_another_backbone() -> None:
    ran = a_row(), make_cost(COST, end_to_end=make_rate(120.0, 119.0, 121.0))
    slow = Backbone(name="ResNet50")
    speed = make_cost(
        COST.model_copy(update={"backbone": slow}), end_to_end=make_rate(12.0, 11.9, 12.1)
    )
    told = Expected([*ran, speed])
    assert told.seconds(job(SPEC.model_copy(update={"backbone": slow}))) == pytest.approx(102)


def test_a_forward_pass_tells_of_training_where_nothing_else_does() -> None:
    speed = make_cost(COST, end_to_end=make_rate(100.0, 99.0, 101.0))
    told, data = Expected([speed]), {"train_examples": 1000}
    half = changed(make_spec(Freeze(strategy="top_fraction", amount=0.5)), **data)
    assert told.seconds(job(half)) == pytest.approx(1000 / 100 * 2)
    whole = changed(make_spec(Freeze(strategy="all")), **data)
    assert told.seconds(job(whole)) == pytest.approx(1000 / 100 * 3)
    literally = Expected([speed], literal=True)
    assert literally.seconds(job(whole)) == pytest.approx(1000 / 100 * (2 + 3)), "two of phase 1"


@pytest.mark.parametrize(
    "row",
    [
        make_cost(COST, end_to_end=make_rate(200.0, 199.0, 201.0)),
        make_probe(seconds=9.0, features_seconds=0.005),
        a_row(
            make_spec(seed=1),
            way="literal",
            phase1=make_phase(0.9).model_copy(update={"images_per_second": 200.0}),
        ),
    ],
    ids=["cost", "probe", "literal phase 1"],
)
def test_a_pass_takes_its_pictures_at_the_speed_that_a_row_tells(row: Row) -> None:
    steps = jobs_of(changed(train_examples=600, val_examples=180, test_examples=90))
    told = Expected([row])
    assert told.seconds(steps["activations train"]) == pytest.approx(600 / 200)
    assert told.seconds(steps["activations val"]) == pytest.approx(180 / 200)


def test_what_is_left_of_the_trial_that_made_a_pass_tells_of_it() -> None:
    first = a_row(make_spec(seed=1), seconds=62.0)
    rows = [first, *(a_row(make_spec(seed=seed)) for seed in (2, 3))]
    seconds = Expected(rows).seconds(jobs_of(SPEC)["activations train"])
    assert seconds == pytest.approx((52 - 2) * 600 / (600 + 180 + 179))


def test_heads_and_pictures_take_what_they_took_in_trials() -> None:
    trained = make_phase(0.9).model_copy(update={"seconds": 3.0})
    told = Expected([a_row(phase1=trained, pictures_seconds=7.0), a_row(make_spec(seed=1))])
    steps = jobs_of(SPEC)
    assert told.seconds(steps["heads"]) == pytest.approx(3.0 * 2), "one epoch took it, of two now"
    assert told.seconds(steps["images"]) == 7.0


def test_measurements_take_what_their_like_took() -> None:
    told = Expected([make_cost(COST, seconds=40.0), make_probe(seconds=9.0)])
    assert told.seconds(job(COST)) == 40.0
    assert told.seconds(job(COST.model_copy(update={"workload": "phase 1"}))) == 40.0
    assert told.seconds(job(make_probe().spec)) == 9.0


# ----------------------------------------------------------------------------------- of a store


def write(folder: Path, rows: Sequence[Row], device: str = "cpu", version: str = "1") -> None:
    stack = STACK.model_copy(update={"device": device, "backend_version": version})
    file = folder / stack.id / lines.TRIALS
    file.parent.mkdir(parents=True)
    made = (lines.line(row.model_copy(update={"stack": stack})) for row in rows)
    file.write_bytes(b"".join(made))


def test_rows_of_the_stack_count_else_those_of_its_device(tmp_path: Path) -> None:
    write(tmp_path, [a_row(make_spec(seed=1), phase2=make_phase(0.9))], device="gpu")
    write(tmp_path, [a_row(make_spec(seed=1))], version="1")
    other = STACK.model_copy(update={"backend_version": "2"})
    told = expected.of_store(tmp_path, other)
    assert told.seconds(job(SPEC)) == pytest.approx(12)
    slower = make_phase(0.9).model_copy(update={"seconds": 20.0})
    write(tmp_path, [a_row(make_spec(seed=1), seconds=22.0, phase2=slower)], version="2")
    told = expected.of_store(tmp_path, other)
    assert told.seconds(job(SPEC)) == pytest.approx(22)


def test_a_large_file_is_sampled_and_torn_lines_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expected, "MOST_ROWS", 10)
    order = list(range(1, 41))
    random.Random(1).shuffle(order)
    write(tmp_path, [a_row(make_spec(seed=seed)) for seed in order], version="2.21.0")
    file = tmp_path / STACK.id / lines.TRIALS
    file.write_bytes(b"no row\n" + file.read_bytes() + b'{"format": 1, "ke')
    read: list[bytes] = []
    parse = lines.parse

    def counted(text: bytes, kind: type[Row]) -> Row:
        read.append(text)
        return parse(text, kind)

    monkeypatch.setattr(lines, "parse", counted)
    assert expected.of_store(tmp_path, STACK).seconds(job(SPEC)) == pytest.approx(12)
    assert 5 <= len(read) <= 10


def test_an_empty_store_tells_nothing(tmp_path: Path) -> None:
    assert expected.of_store(tmp_path / "none", STACK).seconds(job(SPEC)) is None
