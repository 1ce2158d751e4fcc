"""How a plan is printed, for ``bench run --dry-run``."""

from collections.abc import Callable, Sequence

from tabulate import tabulate

from bench.reporting.listings import size
from bench.running.plan import KINDS, Cost, Kind, Plan, Step, total
from bench.running.room import Features, Frontier
from bench.steps import POOLED

NAMED = 5
"""Frontiers, and features, that are too large, named at most."""


def listing(plan: Plan) -> str:
    """The trials, the steps that they share, and what sharing saves; ends without a line break."""
    return "\n".join([*_trials(plan), *_steps(plan), *_savings(plan)])


def _trials(plan: Plan) -> list[str]:
    lines = []
    for number, trial in enumerate(plan.trials, start=1):
        before = "  (measured before)" if trial.key in plan.measured else ""
        lines.append(f"{number:4d}  {trial.key[:12]}  {trial.label}{before}")
    count = _count(len(plan.trials), "trial")
    if plan.measured:
        stacks = ", ".join(dict.fromkeys(plan.measured.values()))
        count += f", {len(plan.measured)} measured before: {stacks}"
    return [*lines, count]


def _steps(plan: Plan) -> list[str]:
    if not plan.pending:
        return ["nothing left to run"]
    rows = [_row(plan, kind) for kind in KINDS if plan.of_kind(kind)]
    titles = ["step", "distinct", "for trials", "cached"]
    aligned = ("left", "right", "right", "right")
    return ["", *tabulate(rows, titles, tablefmt="simple", colalign=aligned).splitlines(), ""]


def _row(plan: Plan, kind: Kind) -> list[str]:
    found = plan.of_kind(kind)
    trials = {key for step in found for key in step.trials}
    cached = sum(step.cached for step in found)
    keeps = kind in ("images", "activations") or (kind == "heads" and not plan.literal)
    return [kind, f"{len(found):,}", f"{len(trials):,}", f"{cached:,}" if keeps else "–"]


# --------------------------------------------------------------------------------------- saving


def _savings(plan: Plan) -> list[str]:
    if not plan.pending:
        return []
    lines = [
        *_forward(plan),
        *_tuning(plan),
        *_evaluation(plan),
        *([] if plan.literal else [*_stacks(plan), *_activations(plan)]),
        *_assumptions(plan),
    ]
    return [f"* {line}" for line in lines]


def _forward(plan: Plan) -> list[str]:
    text = "forward passes of the train pictures through the whole backbone: "
    return _compared(plan, text, lambda c: c.forward, pictures=True)


def _evaluation(plan: Plan) -> list[str]:
    text = "passes of the val and test pictures through the whole backbone: "
    return _compared(plan, text, lambda c: c.evaluation, pictures=False)


def _compared(plan: Plan, text: str, passes: Callable[[Cost], int], pictures: bool) -> list[str]:
    """One line: so many where nothing is shared, so many as planned."""
    before, after = passes(total(plan.literally)), passes(total(plan.steps))
    if not before and not after:
        return []
    literally = _passes(plan.literally, passes, pictures)
    if plan.literal:
        return [f"{text}{literally}, nothing shared"]
    line = f"{text}{literally} literally, {_passes(plan.steps, passes, pictures)} shared"
    line += f" ({_times(before, after)})"
    if cached := passes(total(s for s in plan.steps if s.cached)):
        line += f"; {cached:,} of these in the cache already"
    return [line]


def _times(before: int, after: int) -> str:
    """``44 times fewer``."""
    if after == before:
        return "as many"
    if after > before:
        return f"{after - before:,} more"
    if not after:
        return "none"
    ratio = before / after
    return f"{ratio:.0f} times fewer" if ratio >= 10 else f"{ratio:.1f} times fewer"


def _passes(steps: Sequence[Step], passes: Callable[[Cost], int], pictures: bool) -> str:
    """``132``; with the pictures that pass where every train split is counted."""
    count = f"{passes(total(steps)):,}"
    used = [(passes(s.cost), s.pictures) for s in steps if passes(s.cost)]
    if not pictures or not used or any(p is None for _, p in used):
        return count
    return f"{count} ({sum(n * (p or 0) for n, p in used):,} pictures)"


def _tuning(plan: Plan) -> list[str]:
    cost = total(plan.steps)
    count = cost.tuning + cost.top
    if not count:
        return []
    line = f"fine-tuning passes of the train pictures: {count:,}"
    if plan.literal:
        return [f"{line}, all through the whole backbone"]
    return [
        f"{line}, of which {cost.top:,} from the frontier, "
        f"{cost.tuning:,} through the whole backbone"
    ]


def _stacks(plan: Plan) -> list[str]:
    count = sum(not step.cost.forward for step in plan.of_kind("heads"))  # not those computed whole
    if count <= plan.stacks:
        return []
    return [f"{_count(count, 'head')} trained as {_count(plan.stacks, 'stack')}"]


# ---------------------------------------------------------------------------------- activations


def _activations(plan: Plan) -> list[str]:
    return [*_kept(plan), *_large_features(plan), *_large_frontiers(plan), *_unknown(plan)]


def _kept(plan: Plan) -> list[str]:
    """How much the activations of one ground take, where that is most."""
    sizes: dict[object, dict[str, int]] = {}
    for features in plan.features:
        if features.fit and features.bytes is not None:
            sizes.setdefault(features.ground, {})[features.cut] = features.bytes
    for frontier in plan.frontiers:
        if frontier.state == "kept" and frontier.cut and frontier.bytes is not None:
            sizes.setdefault(frontier.ground, {})[frontier.cut] = frontier.bytes
    if not sizes:
        return []
    most = max(sum(cuts.values()) for cuts in sizes.values())
    return [f"activations kept: {size(most)} at most for a backbone and dataset, of {_room(plan)}"]


def _large_features(plan: Plan) -> list[str]:
    large = [f for f in plan.features if not f.fit]
    lines = [
        f"{_where(f)}: {f.cut.removeprefix(POOLED)} features of {size(f.bytes or 0)} do not fit "
        f"the {_room(plan)} for activations: phase 1 goes through the whole backbone in every epoch"
        for f in large[:NAMED]
    ]
    return lines + _more(len(large), "features")


def _large_frontiers(plan: Plan) -> list[str]:
    large = [f for f in plan.frontiers if f.state == "too large"]
    lines = [
        f"{_where(f)}: a frontier of {size(f.bytes or 0)} does not fit the {_room(plan)} for "
        "activations: phase 2 goes through the whole backbone in every epoch"
        for f in large[:NAMED]
    ]
    return lines + _more(len(large), "frontiers")


def _more(number: int, things: str) -> list[str]:
    return [f"and {number - NAMED} more such {things}"] if number > NAMED else []


def _unknown(plan: Plan) -> list[str]:
    unknown = [f for f in plan.frontiers if f.state == "unknown"]
    if not unknown:
        return []
    count = _count(len(unknown), "frontier")
    return [
        f"{count} of a size known once a trial has run: planned as kept; "
        f"phase 2 computed whole where the {_room(plan)} for activations are too little"
    ]


def _where(found: Frontier | Features) -> str:
    ground = found.ground
    freeze = f" · {found.freeze}" if isinstance(found, Frontier) else ""
    seed = "" if ground.seed is None else f" · seed {ground.seed}"
    return f"{ground.backbone.name} · {ground.data.dataset.name}{freeze}{seed}"


def _room(plan: Plan) -> str:
    return f"{plan.activations_gib:g} GiB"


# ---------------------------------------------------------------------------------- assumptions


def _assumptions(plan: Plan) -> list[str]:
    phases = [p for t in plan.pending for p in (t.phase1, t.phase2) if p]
    lines = []
    if any(p.early_stopping for p in phases):
        lines.append("counted as if no phase stopped early")
    if plan.unresolved:
        lines.append("freeze strategy auto counts as fine-tuning until the pictures are counted")
    return [
        *lines,
        "these are counts, not times: backbones and datasets differ in what a pass costs",
    ]


def _count(number: int, thing: str) -> str:
    return f"1 {thing}" if number == 1 else f"{number:,} {thing}s"
