"""Two folders of results against each other, each quantity with its verdict. No framework."""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import (
    STACK,
    Bench,
    make_cost,
    make_dataset,
    make_numerics,
    make_phase,
    make_rate,
    make_result,
    make_spec,
    refused,
)

from bench import marks
from bench.analysis import results
from bench.analysis.compare import compare
from bench.analysis.comparison import Comparison, Finding
from bench.analysis.margins import Quantity, Rules
from bench.costs import CostResult, Memory
from bench.errors import BenchError, FileError
from bench.numerics import NumericsResult
from bench.records import Environment, Freeze, Guard, Stack, TrialResult
from bench.running import store
from bench.tasks import Row

NEW = STACK.model_copy(update={"backend_version": "2.22.0"})
PICTURES = 400
HERE = Environment(
    bench_version="0",
    python_version="3.11",
    platform="Linux",
    processor="a processor",
    cores=2,
    memory_gib=24,
    packages={"tensorflow": "2.21.0"},
)

Correct = marks.Correct
Write = Callable[[str, Sequence[Row]], Path]


def right(accuracy: float, seed: int, course: int = 0) -> Correct:
    """Which pictures one seed gets right: the same hard ones for each, and some by chance."""
    hard = np.random.default_rng(99).random(PICTURES)
    chance = 0.1 * np.random.default_rng([seed, course]).standard_normal(PICTURES)
    return np.asarray(hard + chance < accuracy)


def trial(seed: int, correct: Correct, stack: Stack = STACK, **changes: object) -> TrialResult:
    """A finished trial with these answers."""
    fields: dict[str, object] = {
        "stack": stack,
        "environment": HERE,
        "dataset": make_dataset(test=PICTURES),
        "test_accuracy": float(correct.mean()),
        "test_correct": marks.packed(correct),
    }
    return make_result(make_spec(seed=seed), **(fields | changes))


def trials(accuracy: float, stack: Stack = STACK, count: int = 5, course: int = 0) -> list[Row]:
    return [trial(s, right(accuracy, s, course), stack) for s in range(count)]


def cost(level: float, round_: int, stack: Stack = STACK, **changes: object) -> CostResult:
    """One process' measurement; ``level`` 1 is 100 images/s."""
    rng = np.random.default_rng([round_, int(1000 * level), len(stack.id)])
    drift = np.exp(0.1 * np.random.default_rng(round_).standard_normal())
    bursts = 100 * level * drift * np.exp(0.02 * rng.standard_normal(20))
    rate = make_rate(1, 1, 1).of(bursts.tolist())
    fields: dict[str, object] = {
        "stack": stack,
        "environment": HERE,
        "device": rate,
        "end_to_end": rate,
        "latency": None,
        "together": f"round {round_}",
    }
    return make_cost(**(fields | changes))


def costs(level: float, stack: Stack = STACK, count: int = 6) -> list[Row]:
    return [cost(level, r, stack) for r in range(count)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Put rows into a results folder."""

    def into(name: str, rows: Sequence[Row]) -> Path:
        with store.writing(tmp_path / name) as held:
            for row in rows:
                held.append(row, None)
        return tmp_path / name

    return into


@pytest.fixture
def compared(write: Write) -> Callable[..., Comparison]:
    calls = itertools.count()

    def of(a: Sequence[Row], b: Sequence[Row], rules: Rules | None = None) -> Comparison:
        call = next(calls)
        folders = [write(f"{name}{call}", rows) for name, rows in (("A", a), ("B", b))]
        sides = [next(iter(results.read(folder).values())) for folder in folders]
        return compare(sides[0], sides[1], rules or Rules(), ("A", "B"))

    return of


Compared = Callable[..., Comparison]


def only(found: Comparison, quantity: Quantity, kind: str = "") -> Finding:
    (finding,) = [f for f in found.findings if f.quantity == quantity and f.kind.startswith(kind)]
    return finding


class TestTrials:
    def test_nothing_changed(self, compared: Compared) -> None:
        found = compared(trials(0.9), trials(0.9, NEW))
        assert {f.verdict for f in found.findings} == {"same"}
        assert {f.quantity for f in found.findings} == {"accuracy", "parameters", "guards"}
        assert only(found, "accuracy").text == "the same predictions but for rounding"
        assert found.verdict == "same"
        assert found.exit_code(strict=True) == 0

    def test_accuracy_lost(self, compared: Compared) -> None:
        found = compared(trials(0.9), trials(0.8, NEW, course=1))
        finding = only(found, "accuracy")
        assert finding.verdict == "worse"
        assert finding.effect is not None
        assert finding.effect.estimate == pytest.approx(-0.1, abs=0.03)
        assert finding.effect.interval.high < 0
        assert finding.a == pytest.approx(0.9, abs=0.05)
        assert (found.verdict, found.exit_code()) == ("worse", 1)

    def test_accuracy_won(self, compared: Compared) -> None:
        found = compared(trials(0.8), trials(0.9, NEW, course=1))
        assert only(found, "accuracy").verdict == "better"
        assert found.exit_code(strict=True) == 0

    def test_other_seeds_of_the_same_recipe_are_no_regression(self, compared: Compared) -> None:
        found = compared(trials(0.9), trials(0.9, NEW, course=1))
        assert only(found, "accuracy").verdict in ("same", "unclear")

    def test_unclear_says_what_would_settle_it(self, compared: Compared) -> None:
        rules = Rules.model_validate({"margins": {"accuracy": 0.001}})
        found = compared(trials(0.9), trials(0.9, NEW, count=2, course=1), rules)
        finding = only(found, "accuracy")
        assert finding.verdict == "unclear"
        assert any("settle it" in doubt for doubt in finding.doubts)
        assert found.exit_code() == 0
        assert found.exit_code(strict=True) == 3

    def test_one_seed_says_that_the_spread_is_assumed(self, compared: Compared) -> None:
        found = compared(trials(0.9, count=1), trials(0.85, NEW, count=1, course=1))
        assert any("assumed, not seen" in d for d in only(found, "accuracy").doubts)

    def test_seeds_are_paired(self, compared: Compared) -> None:
        few = trials(0.9, NEW)[3:]
        assert only(compared(trials(0.9), few), "accuracy").verdict == "same"

    def test_disjoint_seeds_are_compared_all_the_same(self, compared: Compared) -> None:
        later = [trial(s, right(0.9, s), NEW) for s in range(5, 10)]
        finding = only(compared(trials(0.9), later), "accuracy")
        assert finding.effect is not None
        assert finding.effect.repeats == 5

    def test_other_pictures_are_not_compared(self, compared: Compared) -> None:
        others = [
            trial(s, right(0.5, s), NEW, dataset=make_dataset("e" * 64, test=PICTURES))
            for s in range(5)
        ]
        finding = only(compared(trials(0.9), others), "accuracy")
        assert finding.verdict == "unclear"
        assert finding.text.startswith("not comparable: pictures eeee")
        assert finding.effect is None

    def test_predictions_beside_the_row_do_as_well(self, write: Write, tmp_path: Path) -> None:
        from bench.training.scoring import Predictions, Scores

        correct = right(0.9, 0)
        probabilities = np.stack([correct, ~correct], axis=1).astype(np.float64)
        file = tmp_path / "p.npz"
        Predictions(Scores(probabilities, np.zeros(PICTURES, int)), ["a"] * PICTURES).save(file)
        with store.writing(tmp_path / "old") as held:
            held.append(trial(0, correct, test_correct=None), file)
        (side,) = results.read(tmp_path / "old").values()
        (seeds,) = side.trials.values()
        assert np.array_equal(seeds.tried[0].correct, correct)  # type: ignore[arg-type]

    def test_lost_predictions_are_said(self, compared: Compared) -> None:
        lost = [trial(0, right(0.9, 0), test_correct=None, predictions="predictions/gone.npz")]
        finding = only(compared(lost, trials(0.9, NEW, count=1)), "accuracy")
        assert (finding.verdict, "missing" in finding.text) == ("unclear", True)

    def test_a_trial_that_fails_now(self, compared: Compared) -> None:
        failed = trial(4, right(0.9, 4), NEW, status="failed", reason="it broke")
        found = compared(trials(0.9), [*trials(0.9, NEW)[:4], failed])
        finding = only(found, "status")
        assert (finding.verdict, finding.a, finding.b) == ("worse", "5 of 5 ok", "4 of 5 ok")
        assert finding.text == "seed 4 failed: it broke"
        assert only(found, "accuracy").verdict == "same"

    def test_a_trial_that_works_again(self, compared: Compared) -> None:
        failed = trial(0, right(0.9, 0), status="timeout", reason="slow")
        found = compared([failed], trials(0.9, NEW, count=1))
        assert [f.verdict for f in found.findings] == ["better"]

    def test_failures_are_held_against_each_other_seed_by_seed(self, compared: Compared) -> None:
        def of(lost: int, stack: Stack) -> list[Row]:
            failed = trial(lost, right(0.9, lost), stack, status="failed", reason="it broke")
            return [failed if row.spec.seed == lost else row for row in trials(0.9, stack)]  # type: ignore[union-attr]

        finding = only(compared(of(0, STACK), of(1, NEW)), "status")
        assert (finding.verdict, finding.text) == ("worse", "seed 1 failed: it broke")
        assert only(compared(of(0, STACK), of(0, NEW)), "status").verdict == "same"

    def test_seeds_that_b_never_tried_are_said(self, compared: Compared) -> None:
        found = compared(trials(0.9), trials(0.9, NEW, count=3))
        assert only(found, "status").text == "seed 3, 4 not in B"
        assert found.exit_code(strict=True) == 3

    def test_a_guard_that_fails_more_often(self, compared: Compared) -> None:
        broken = (Guard(name="loss_finite", passed=False, evidence="nan"),)
        once = [trial(0, right(0.9, 0), guards=broken), *trials(0.9)[1:]]
        often = [trial(s, right(0.9, s), NEW, guards=broken) for s in range(5)]
        finding = only(compared(once, often), "guards")
        assert finding.verdict == "worse"
        assert (finding.a, finding.b) == ("fail: loss_finite 1 of 5", "fail: loss_finite 5 of 5")

    def test_few_pictures_do_not_show_that_nothing_changed(self, compared: Compared) -> None:
        some = make_dataset(test=16)
        rows = [
            trial(0, right(0.9, 0)[:16], stack, dataset=some, test_loss=loss)
            for stack, loss in ((STACK, 0.2), (NEW, 0.3))
        ]
        assert only(compared(rows[:1], rows[1:]), "accuracy").verdict == "unclear"

    def test_a_guard_that_fails_now(self, compared: Compared) -> None:
        broken = (Guard(name="frozen_weights", passed=False, evidence="moved"),)
        now = [trial(0, right(0.9, 0), NEW, guards=broken)]
        finding = only(compared(trials(0.9, count=1), now), "guards")
        assert (finding.verdict, finding.text) == ("worse", "frozen_weights fails now")
        again = only(compared(now, [trial(0, right(0.9, 0))]), "guards")
        assert (again.verdict, again.text) == ("better", "frozen_weights holds now")

    def test_a_guard_that_chance_may_fail_is_no_regression(self, compared: Compared) -> None:
        cliff = (Guard(name="no_cliff", passed=False, evidence="lower"),)
        now = [trial(0, right(0.9, 0), NEW, guards=cliff)]
        finding = only(compared(trials(0.9, count=1), now), "guards")
        assert (finding.verdict, finding.text) == ("unclear", "no_cliff fails now")

    def test_something_else_trains(self, compared: Compared) -> None:
        now = [trial(0, right(0.9, 0), NEW, phase2=make_phase(0.95, 1_200_001, 1))]
        finding = only(compared(trials(0.9, count=1), now), "parameters")
        assert finding.verdict == "worse"
        assert (finding.a, finding.b) == ("12,810 / 1,200,000", "12,810 / 1,200,001")

    def test_what_b_never_tried(self, compared: Compared) -> None:
        other = make_spec(Freeze(strategy="all"))
        rows = [*trials(0.9, count=1), make_result(other, environment=HERE)]
        found = compared(rows, trials(0.9, NEW, count=1))
        assert only(found, "status").text == "not in B"
        backwards = compared(
            trials(0.9, count=1), [r.model_copy(update={"stack": NEW}) for r in rows]
        )
        assert any("only in B" in note for note in backwards.notes)

    def test_nothing_in_common(self, compared: Compared) -> None:
        with pytest.raises(BenchError, match="no trial, measurement or fingerprint in common"):
            compared(trials(0.9), costs(1.0, NEW))


class TestCosts:
    def test_nothing_changed(self, compared: Compared) -> None:
        found = compared(costs(1.0), costs(1.0, NEW))
        assert {f.quantity for f in found.findings} == {"throughput", "end_to_end", "memory"}
        assert found.verdict == "same"

    def test_a_slower_step_in_spite_of_a_drifting_machine(self, compared: Compared) -> None:
        found = compared(costs(1.0), costs(0.9, NEW))
        finding = only(found, "throughput")
        assert finding.verdict == "worse"
        assert finding.effect is not None
        assert finding.effect.estimate == pytest.approx(0.9, abs=0.02)
        assert not finding.doubts

    def test_measured_apart_the_same_is_unclear(self, compared: Compared) -> None:
        alone = [cost(1.0, r, together=None) for r in range(6)]
        slower = [cost(0.9, r + 50, NEW, together=None) for r in range(6)]
        finding = only(compared(alone, slower), "throughput")
        assert finding.verdict == "unclear"
        assert any("bench stacks" in d for d in finding.doubts)

    def test_memory_and_latency_are_better_lower(self, compared: Compared) -> None:
        more = Memory(peak=1_200_000_000, before=0, kind="resident")
        now = [cost(1.0, r, NEW, memory=more) for r in range(6)]
        assert only(compared(costs(1.0), now), "memory").verdict == "worse"
        assert only(compared(now, costs(1.0)), "memory").verdict == "better"

    def test_disturbed_rounds_are_left_out_where_others_remain(self, compared: Compared) -> None:
        rows = [cost(0.5 if r == 0 else 1.0, r, NEW, elsewhere=0.5 * (r == 0)) for r in range(6)]
        finding = only(compared(costs(1.0), rows), "throughput")
        assert (finding.verdict, finding.doubts) == ("same", ())

    def test_a_busy_machine_is_said_and_nothing_is_worse_on_it(self, compared: Compared) -> None:
        rows = [cost(0.8, r, NEW, elsewhere=0.5) for r in range(6)]
        busy = [cost(1.0, r, elsewhere=0.5) for r in range(6)]
        finding = only(compared(busy, rows), "throughput")
        assert "12 of 12 measurements" in finding.doubts[0]
        assert finding.verdict == "unclear"

    def test_an_assumed_spread_makes_nothing_worse(self, compared: Compared) -> None:
        found = compared([cost(1.0, 0)], [cost(0.8, 0, NEW)])
        assert only(found, "throughput").verdict == "unclear"

    def test_sessions_differ_by_more_than_their_runs_show(self, compared: Compared) -> None:
        still = {"end_to_end": None, "together": None}
        alone = [cost(1.0, 0, **still) for _ in range(6)]
        slower = [cost(0.9, 0, NEW, **still) for _ in range(6)]
        assert only(compared(alone, slower), "throughput").verdict == "unclear"
        half = [cost(0.5, 0, NEW, **still) for _ in range(6)]
        assert only(compared(alone, half), "throughput").verdict == "worse"

    def test_another_machine_is_said(self, compared: Compared) -> None:
        there = HERE.model_copy(update={"processor": "another"})
        rows = [cost(1.0, r, NEW, environment=there) for r in range(6)]
        found = compared(costs(1.0), rows)
        finding = only(found, "throughput")
        assert (finding.verdict, finding.effect) == ("unclear", None)
        assert "not the same machine" in finding.text
        assert any("compare machines, too" in note for note in found.notes)

    def test_what_cannot_be_measured_any_more(self, compared: Compared) -> None:
        broken = [cost(1.0, 0, NEW, status="out_of_memory", reason="too large", device=None)]
        finding = only(compared(costs(1.0), broken), "status")
        assert (finding.verdict, finding.b) == ("worse", "0 of 1 ok")
        assert finding.text == "out_of_memory: too large"
        assert only(compared(costs(1.0), broken), "throughput").text == "not measured in B"

    def test_what_can_be_measured_less_often(self, compared: Compared) -> None:
        broken = [
            cost(1.0, r, NEW, status="out_of_memory", reason="too large", device=None)
            for r in range(1, 6)
        ]
        finding = only(compared(costs(1.0), [cost(1.0, 0, NEW), *broken]), "status")
        assert (finding.verdict, finding.a, finding.b) == ("worse", "6 of 6 ok", "1 of 6 ok")

    def test_several_workloads_are_also_taken_together(self, compared: Compared) -> None:
        def of(level: float, stack: Stack) -> list[Row]:
            spec = make_cost().spec.model_copy(update={"batch_size": 8})
            more = [
                row.model_copy(update={"spec": spec, "key": spec.key})
                for row in costs(level, stack)
                if isinstance(row, CostResult)
            ]
            return [*costs(level, stack), *more]

        found = compared(of(1.0, STACK), of(0.9, NEW))
        whole = only(found, "throughput", "overall")
        assert whole.verdict == "worse"
        assert whole.subject == "2 workloads"
        alone = [f for f in found.findings if f.quantity == "throughput" and f.kind == "workload"]
        widths = [f.effect.half_width for f in alone if f.effect]
        assert whole.effect is not None
        assert whole.effect.half_width < max(widths)


class TestNumerics:
    """Told in full by tests of `numerics_stats`; here what a comparison makes of it."""

    def test_nothing_changed(self, compared: Compared) -> None:
        found = compared([make_numerics()], [make_numerics(stack=NEW)])
        assert (only(found, "numerics").verdict, found.verdict) == ("same", "same")

    def test_one_that_fails_now_is_worse(self, compared: Compared) -> None:
        broken = make_numerics(stack=NEW, status="failed", reason="no such op", passes=())
        finding = only(compared([make_numerics()], [broken]), "numerics")
        assert (finding.verdict, finding.text) == ("worse", "failed now: no such op")

    def test_a_way_of_running_that_is_gone_is_worse(self, compared: Compared) -> None:
        whole = make_numerics()
        less = make_numerics(stack=NEW, passes=whole.passes[:1], skipped=("xla: cannot compile",))
        finding = only(compared([whole], [less]), "numerics")
        assert finding.verdict == "worse"
        assert finding.text == "does not run as xla any more (xla: cannot compile)"

    def test_other_pictures_cannot_be_compared(self, compared: Compared) -> None:
        other = make_numerics(stack=NEW, inputs="others")
        finding = only(compared([make_numerics()], [other]), "numerics")
        assert (finding.verdict, "not comparable" in finding.text) == ("unclear", True)

    def test_no_number_on_either_side_is_unclear(self, compared: Compared) -> None:
        def lost(stack: Stack) -> NumericsResult:
            passes = [
                p.model_copy(update={"norms": (float("nan"), *p.norms[1:])})
                for p in make_numerics().passes
            ]
            return make_numerics(stack=stack, passes=tuple(passes))

        finding = only(compared([lost(STACK)], [lost(NEW)]), "numerics")
        assert (finding.verdict, "no finite numbers" in finding.text) == ("unclear", True)


class TestJudging:
    def test_p_values_are_adjusted_for_all_that_was_tested(self, compared: Compared) -> None:
        alone = only(compared(costs(1.0), costs(0.97, NEW)), "throughput").effect
        many = only(
            compared(
                [*costs(1.0), *trials(0.9)], [*costs(0.97, NEW), *trials(0.88, NEW, course=3)]
            ),
            "throughput",
        ).effect
        assert alone is not None
        assert many is not None
        assert many.p_value > alone.p_value
        assert many.detectable >= alone.detectable
        assert many.interval == alone.interval

    def test_the_gate_decides_the_exit_code(self, compared: Compared) -> None:
        rules = Rules(gate=("accuracy",))
        found = compared([*costs(1.0), *trials(0.9)], [*costs(0.8, NEW), *trials(0.9, NEW)], rules)
        assert only(found, "throughput").verdict == "worse"
        assert (found.verdict, found.exit_code(strict=True)) == ("same", 0)

    def test_where_nothing_gates_nothing_is_known(self, compared: Compared) -> None:
        failed = trial(0, right(0.9, 0), NEW, status="failed", reason="it broke")
        rules = Rules(gate=("accuracy", "numerics"))
        found = compared(trials(0.9, count=1), [failed], rules)
        assert found.exit_code(strict=True) == 3
        memory = compared(trials(0.9), trials(0.9, NEW), Rules(gate=("memory",)))
        assert memory.exit_code(strict=True) == 3

    def test_what_could_be_seen_is_what_would_be_called_worse(self, compared: Compared) -> None:
        finding = only(compared(costs(1.0), costs(1.0, NEW)), "throughput")
        assert finding.effect is not None
        assert finding.effect.detectable >= 1 + (finding.margin or 0)

    def test_counts(self, compared: Compared) -> None:
        found = compared(trials(0.9), trials(0.8, NEW, course=1))
        assert found.counts()["accuracy"] == {"worse": 1}
        assert found.counts()["guards"] == {"same": 1}


class TestCommand:
    def test_two_folders(self, bench: Bench, write: Write) -> None:
        a, b = write("A", trials(0.9)), write("B", trials(0.8, NEW, course=1))
        answer = bench("compare", a, b, "--format", "json")
        assert answer.code == 1
        assert json.loads(answer.out)["verdict"] == "worse"
        assert bench("compare", a, a.parent / "B", "--strict").code == 1

    def test_one_folder_of_two_stacks(self, bench: Bench, write: Write) -> None:
        folder = write("both", [*trials(0.9), *trials(0.9, NEW)])
        assert bench("compare", folder).code == 0
        picked = bench("compare", folder, "--before", "2.22", "--after", "2.21")
        assert picked.code == 0
        assert "name the same stack" in refused(
            bench("compare", folder, "--before", "2.21", "--after", "2.21")
        )

    def test_which_stack_must_be_clear(self, bench: Bench, write: Write) -> None:
        both = write("both", [*trials(0.9), *trials(0.9, NEW)])
        one = write("one", trials(0.9))
        assert "choose by --after TEXT" in refused(bench("compare", one, both))
        assert "expected two, or a second folder" in refused(bench("compare", one))
        assert "none with 'nope'" in refused(bench("compare", one, both, "--after", "nope"))

    def test_margins_decide(self, bench: Bench, write: Write, tmp_path: Path) -> None:
        a, b = write("A", trials(0.9)), write("B", trials(0.8, NEW, course=1))
        file = tmp_path / "margins.toml"
        file.write_text("[margins]\naccuracy = 0.3\n")
        assert bench("compare", a, b, "--margins", file).code == 0

    def test_a_report_into_a_file(self, bench: Bench, write: Write, tmp_path: Path) -> None:
        a, b = write("A", trials(0.9)), write("B", trials(0.9, NEW))
        answer = bench("compare", a, b, "--format", "junit", "-o", tmp_path / "deep" / "x.xml")
        assert (answer.code, answer.out) == (0, "")
        assert (tmp_path / "deep" / "x.xml").read_text().startswith("<?xml")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("margin = 1", "margin = 1: expected a key that exists"),
            ("[margins]\nspeed = 1", "margins.speed = 1: expected a key that exists"),
            ("[margins]\naccuracy = 0", "margins.accuracy = 0"),
            ("[margins]\naccuracy = 1.0", "margins.accuracy = 1.0"),
            ("[margins]\nthroughput = 5", "0.05 is 5%"),
            ("gate = []", "at least one quantity"),
            ('[margins]\naccuracy = "1%"', "margins.accuracy = '1%': expected a number"),
            ('gate = ["acuracy"]', "did you mean accuracy?"),
            ("level = 1.0", "level = 1.0"),
            ("level =", "valid TOML"),
        ],
    )
    def test_wrong_margins(
        self, bench: Bench, write: Write, tmp_path: Path, text: str, message: str
    ) -> None:
        folder = write("both", [*trials(0.9, count=1), *trials(0.9, NEW, count=1)])
        file = tmp_path / "margins.toml"
        file.write_text(text)
        assert message in refused(bench("compare", folder, "--margins", file))

    def test_no_such_margins(self, tmp_path: Path) -> None:
        from bench.analysis import margins

        with pytest.raises(FileError, match="a file that exists"):
            margins.load(tmp_path / "gone.toml")
