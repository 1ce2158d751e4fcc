"""Two stacks' results -> what changed, quantity by quantity, each with a verdict.

Trials are paired by key and seed, and their accuracy picture by picture; measurements of cost round
by round, where both stacks were measured in turns. What is tested is tested together
(`bench.analysis.judging`), so that a false alarm anywhere in a comparison has a chance of at most
1 - level.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bench.analysis import cost_changes, numerics_stats, trial_changes
from bench.analysis.comparison import Comparison, Finding, SideOf
from bench.analysis.judging import Draft, judged
from bench.analysis.margins import QUANTITIES, Rules
from bench.analysis.results import Results
from bench.errors import BenchError
from bench.numerics import NumericsResult
from bench.records import Environment


def compare(a: Results, b: Results, rules: Rules, names: tuple[str, str]) -> Comparison:
    """Hold B against A.

    Args:
        a: the reference.
        b: of another stack, or of the same once more.
        rules: margins, level and gate.
        names: of the sides, for people.

    Raises:
        BenchError: they have nothing in common.
    """
    if not (
        a.trials.keys() & b.trials.keys()
        or a.costs.keys() & b.costs.keys()
        or a.numerics.keys() & b.numerics.keys()
    ):
        raise BenchError(
            f"{names[0]} and {names[1]} have no trial, measurement or fingerprint in common: "
            "expected results of one suite on two stacks"
        )
    changes = list(_changes(a, b))
    findings = [c for c in changes if isinstance(c, Finding)]
    findings += judged([c for c in changes if isinstance(c, Draft)], rules)
    findings.sort(key=lambda f: QUANTITIES.index(f.quantity))
    return Comparison(
        a=_side(a, names[0]),
        b=_side(b, names[1]),
        rules=rules,
        findings=tuple(findings),
        notes=tuple(_notes(a, b)),
    )


def _changes(a: Results, b: Results) -> Iterator[Finding | Draft]:
    for key, seeds in a.trials.items():
        if key in b.trials:
            yield from trial_changes.changes(key, seeds, b.trials[key])
    yield from cost_changes.changes(a.costs, b.costs)
    for key, fingerprint in a.numerics.items():
        if key in b.numerics:
            yield _numerics(fingerprint, b.numerics[key])
    yield from _absent(a, b)


def _absent(a: Results, b: Results) -> Iterator[Finding]:
    """What B has no row of: nobody knows."""
    blank = Finding("trial", "", "", "status", "unclear", text="not in B")
    for key, seeds in a.trials.items():
        if key not in b.trials:
            yield replace(blank, subject=seeds.label, key=key)
    for key, runs in a.costs.items():
        if key not in b.costs:
            yield replace(blank, kind="workload", subject=runs[-1].spec.label, key=key)
    for key, fingerprint in a.numerics.items():
        if key not in b.numerics:
            yield replace(blank, kind="backbone", subject=fingerprint.spec.label, key=key)


def _numerics(a: NumericsResult, b: NumericsResult) -> Finding:
    change = numerics_stats.compare(a, b)
    return Finding("backbone", a.spec.label, a.key, "numerics", change.verdict, text=change.text)


def _side(results: Results, name: str) -> SideOf:
    environment = results.environment
    return SideOf(
        name=name,
        stack=results.stack,
        packages=dict(environment.packages) if environment else {},
        machine=_machine(environment),
        trials=sum(len(seeds.tried) for seeds in results.trials.values()),
        measurements=sum(map(len, results.costs.values())),
    )


def _machine(environment: Environment | None) -> str:
    if environment is None:
        return "unknown"
    return f"{environment.processor}, {environment.cores} cores, {environment.memory_gib:g} GiB"


def _notes(a: Results, b: Results) -> Iterator[str]:
    """What a reader must know about all of it."""
    machines = _machine(a.environment), _machine(b.environment)
    if machines[0] != machines[1]:
        yield f"A ran on {machines[0]}, B on {machines[1]}: costs compare machines, too"
    more = [len(theirs.keys() - ours.keys()) for ours, theirs in _kinds(a, b)]
    if any(more):
        words = ("trials", "measurements", "fingerprints")
        said = ", ".join(f"{n} {w}" for n, w in zip(more, words, strict=True) if n)
        yield f"only in B, and not compared: {said}"
    yield from a.problems
    yield from (p for p in b.problems if p not in a.problems)


def _kinds(a: Results, b: Results) -> tuple[tuple[Mapping[str, object], Mapping[str, object]], ...]:
    return (a.trials, b.trials), (a.costs, b.costs), (a.numerics, b.numerics)
