"""Can the verdicts of `bench compare` be trusted? False alarms, and mistakes made on purpose.

    python -m benchmarks.calibration trials      trains: 20 seeds, and 5 under each mistake
    python -m benchmarks.calibration costs       measures in turns: the same stack twice, and slowed
    python -m benchmarks.calibration report      prints the tables, writes calibration.json
    python -m benchmarks.calibration show        prints them from that file

Both kinds of rows go to results/reference/calibration; a command that was stopped goes on.

**A against A.** Nothing differs, so every ``worse`` is a false alarm. Training is deterministic:
equal seeds give equal answers, and nothing would be tested by them. So A and B are five seeds each,
drawn from 20 without any in both, and each is a training of its own. Of costs, 8 rounds were
measured with the same stack on both sides; a comparison takes 5 of them, and in each it is drawn
which process is A's. Everything is then compared as `bench compare` does, trials and costs at once,
with its default rules. Comparisons that share seeds and rounds are not independent of each other:
their share of false alarms is right on average, but no more certain than the rows behind it.

**Mistakes.** `benchmarks.faults` makes them in a worker; five seeds are held against the same five
of the reference, five rounds against what ran in turns with them. A slower step is also made out of
honest rounds, by any factor.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from bench.analysis import cost_changes, results
from bench.analysis.compare import compare
from bench.analysis.comparison import Comparison, Finding
from bench.analysis.judging import Draft
from bench.analysis.margins import QUANTITIES, Rules
from bench.analysis.results import Results
from bench.costs import CostResult, Rate
from bench.progress import Progress
from bench.records import Execution
from bench.reporting.live import LiveReport
from bench.reporting.live_sides import SidesReport
from bench.running import cases, lockstep, process, runner, store
from bench.running.isolation import LocalEngine
from bench.running.lockstep import Side
from bench.running.messages import Finished, Setup
from bench.settings import Settings
from bench.suite import Suite, load
from bench.tasks import Spec
from benchmarks.calibrated import Alarms, Caught, Power, Report, Sides, document, read, size
from benchmarks.faults import FAULTS, command

SUITE = Path("suites/regression.toml")
FOLDER = Path("results/reference/calibration")
OUTPUT = Path("results/reference/calibration.json")
SEEDS, SIDE_SEEDS = 20, 5
ROUNDS, SIDE_ROUNDS, SECONDS = 8, 5, 2.0
COMPARISONS = 200
SLOWER = (0.02, 0.05, 0.1, 0.15, 0.2)
HONEST, SLOWED = "same", "sleep"


# ------------------------------------------------------------------------------------- measuring


def measure_trials(folder: Path) -> None:
    """Train every seed honestly, and the first under each mistake of a recipe."""
    whole = load(SUITE)
    first = whole.trials[0].seed
    many = [
        trial.model_copy(update={"seed": seed})
        for trial in whole.trials
        if trial.seed == first
        for seed in range(SEEDS)
    ]
    _train(whole.model_copy(update={"trials": tuple(many)}), folder / HONEST, process.COMMAND)
    for name, fault in FAULTS.items():
        if fault.change:
            _train(whole, folder / name, command(name))


class _Brief(LocalEngine):
    """Keeps no predictions: rows say themselves which pictures were right."""

    def execute(
        self,
        spec: Spec,
        report: Callable[[Progress], None],
        turn: Callable[[], int] | None = None,
        save: Path | None = None,
    ) -> Finished:
        finished = super().execute(spec, report, turn, save)
        return finished.model_copy(update={"predictions": None})


def _train(suite: Suite, folder: Path, worker: tuple[str, ...]) -> None:
    settings = Settings.from_environment()
    console = Console(highlight=False)
    with store.writing(folder, settings.names(suite.folder)) as held, held.scratch() as scratch:
        setup = Setup.of(suite, settings, scratch)
        engine = _Brief(setup, None, worker)
        try:
            with LiveReport(console, folder.name) as live:
                runner.run(suite.trials, held, engine, live)
        finally:
            engine.close()


def measure_costs(folder: Path) -> None:
    """Measure in turns: the stack against itself, and against itself slowed down."""
    _in_turns(folder / HONEST, process.COMMAND, ROUNDS)
    _in_turns(folder / SLOWED, command(SLOWED), SIDE_ROUNDS)


def _in_turns(folder: Path, worker: tuple[str, ...], rounds: int) -> None:
    suite, settings = load(SUITE), Settings.from_environment()
    asked = cases.of_suite(suite, cases.Choice()).cases
    console = Console(highlight=False)
    with ExitStack() as opened:
        sides = []
        for name, start in (("A", process.COMMAND), ("B", worker)):
            held = opened.enter_context(store.writing(folder / name, settings.names(suite.folder)))
            scratch = opened.enter_context(held.scratch())
            setup = Setup.of(suite, settings, scratch).model_copy(
                update={
                    "execution": Execution(deterministic=False),
                    "timed_seconds": SECONDS,
                }
            )
            engine = LocalEngine(setup, None, start)
            opened.callback(engine.close)
            sides.append(Side(name, held, engine))
        with SidesReport(console, folder.name, "measurement") as live:
            lockstep.measure(asked, sides, rounds, live)


# ------------------------------------------------------------------------------------- comparing


def report(folder: Path) -> Report:
    """Everything that the rows say."""
    trained, costs = folder / "trials", folder / "costs"
    honest = _read(trained / HONEST)
    pairs = _rounds(_read(costs / HONEST / "A"), _read(costs / HONEST / "B"))
    compared = list(_same(honest, pairs, 1.0))
    faults = [*_recipes(trained, honest), _slowed(costs)]
    environment = honest.environment
    machine = f"{environment.processor}, {environment.cores} cores" if environment else ""
    return Report(
        command="python -m benchmarks.calibration report",
        drawn=f"{SIDE_SEEDS} of {SEEDS} seeds and {SIDE_ROUNDS} of {ROUNDS} rounds on each side",
        stack=honest.stack,
        machine=machine,
        alarms=_alarms(compared),
        sides=_as_they_ran(pairs),
        faults=tuple(faults),
        power=tuple(_power(honest, pairs, slower) for slower in SLOWER),
    )


def _read(folder: Path) -> Results:
    return results.chosen(results.read(folder), folder, None, "none")


Rounds = Mapping[str, Sequence[tuple[CostResult, CostResult]]]


def _rounds(a: Results, b: Results) -> Rounds:
    """The two rows of each round, case by case."""
    return {
        key: [
            (row, other)
            for row in a.costs[key]
            for other in b.costs[key]
            if row.together == other.together
        ]
        for key in a.costs
    }


def _same(honest: Results, pairs: Rounds, slowed: float) -> Iterator[Comparison]:
    """Comparisons of the stack with itself; B is made so many times as fast as it was."""
    rng = np.random.default_rng(0)
    for _ in range(COMPARISONS):
        seeds = rng.permutation(SEEDS).tolist()
        sides = (
            _part(honest, seeds[:SIDE_SEEDS]),
            _part(honest, seeds[SIDE_SEEDS : 2 * SIDE_SEEDS]),
        )
        for key, rows in pairs.items():
            drawn = rng.choice(len(rows), SIDE_ROUNDS, replace=False)
            for number in sorted(drawn):
                pair = rows[number] if rng.random() < 0.5 else rows[number][::-1]
                sides[0].costs.setdefault(key, []).append(pair[0])
                sides[1].costs.setdefault(key, []).append(_times(pair[1], slowed))
        yield compare(*sides, Rules(), ("A", "B"))


def _part(whole: Results, seeds: Sequence[int]) -> Results:
    """Some of the seeds, and no costs."""
    trials = {
        key: replace(trial, tried={int(s): trial.tried[int(s)] for s in seeds})
        for key, trial in whole.trials.items()
    }
    return Results(whole.folder, whole.stack, whole.environment, trials)


def _times(row: CostResult, factor: float) -> CostResult:
    """The row of a machine that runs so many times as fast."""

    def rate(found: Rate | None) -> Rate | None:
        return found and Rate.of([factor * s for s in found.samples], found.steps)

    latency = row.latency and row.latency.model_copy(update={"median": row.latency.median / factor})
    changes = {
        "device": rate(row.device),
        "end_to_end": rate(row.end_to_end),
        "latency": latency,
    }
    return row if factor == 1 else row.model_copy(update=changes)


def _as_they_ran(pairs: Rounds) -> Sides:
    """Nothing drawn and nothing turned: whoever was B stays B."""
    sides = [{key: [pair[i] for pair in rows] for key, rows in pairs.items()} for i in (0, 1)]
    (whole,) = [
        draft
        for draft in cost_changes.changes(sides[0], sides[1])
        if isinstance(draft, Draft) and draft.finding.quantity == "throughput"
        if draft.finding.kind == "overall" or len(pairs) == 1
    ]
    effect = whole.effect_at(Rules().level)
    return Sides(throughput=effect.estimate, low=effect.interval.low, high=effect.interval.high)


def _alarms(compared: Sequence[Comparison]) -> Alarms:
    counts: dict[str, Counter[str]] = {}
    for comparison in compared:
        for quantity, verdicts in comparison.counts().items():
            counts.setdefault(quantity, Counter()).update(verdicts)
    return Alarms(
        comparisons=len(compared),
        alarmed=sum(c.verdict == "worse" for c in compared),
        by_quantity={q: dict(counts[q]) for q in QUANTITIES if q in counts},
    )


def _recipes(folder: Path, honest: Results) -> Iterator[Caught]:
    """Mistakes in a recipe, five seeds against the same five."""
    reference = _part(honest, range(SIDE_SEEDS))
    for name, fault in FAULTS.items():
        if fault.change:
            found = compare(reference, _read(folder / name), Rules(), ("honest", name))
            yield _caught(name, found)


def _slowed(folder: Path) -> Caught:
    sides = [_read(folder / SLOWED / name) for name in ("A", "B")]
    return _caught(SLOWED, compare(sides[0], sides[1], Rules(), ("honest", SLOWED)))


def _caught(name: str, found: Comparison) -> Caught:
    """Told by what is worse, if anything is: the largest effect against what could be seen."""
    weighed = [f for f in found.findings if f.effect]
    telling = max(weighed, key=lambda f: (f.verdict == "worse", _standing_out(f)))
    effect = telling.effect
    assert effect is not None
    return Caught(
        name=name,
        text=FAULTS[name].text,
        quantity=telling.quantity,
        subject=telling.subject,
        effect=effect.estimate,
        low=effect.interval.low,
        high=effect.interval.high,
        detectable=effect.detectable,
        verdict=found.verdict,
        worse=tuple(dict.fromkeys(f.quantity for f in found.findings if f.verdict == "worse")),
    )


def _standing_out(finding: Finding) -> float:
    effect = finding.effect
    if effect is None:
        return 0.0
    seen = size(finding.quantity, effect.detectable)
    return size(finding.quantity, effect.estimate) / seen if seen else 0.0


def _power(honest: Results, pairs: Rounds, slower: float) -> Power:
    compared = list(_same(honest, pairs, 1 / (1 + slower)))
    caught = [
        any(f.quantity == "throughput" and f.verdict == "worse" for f in c.findings)
        for c in compared
    ]
    seen = [
        f.effect.detectable
        for c in compared
        for f in c.findings
        if f.quantity == "throughput" and f.effect and (f.kind == "overall" or len(pairs) == 1)
    ]
    return Power(
        slower=slower,
        comparisons=len(compared),
        caught=sum(caught),
        detectable=float(np.median(seen)),
    )


def main() -> None:
    """Do one of the four."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("trials", "costs", "report", "show"))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    asked = parser.parse_args()
    if asked.what == "trials":
        measure_trials(asked.folder / "trials")
    elif asked.what == "costs":
        measure_costs(asked.folder / "costs")
    elif asked.what == "report":
        found = report(asked.folder)
        asked.output.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        print(document(found))
    else:
        print(document(read(asked.output)))


if __name__ == "__main__":
    main()
