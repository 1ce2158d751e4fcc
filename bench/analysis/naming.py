"""What people call stacks, weights and trials: what tells them from others, and no more.

A file is called by its name alone, so that no page or table holds a path of the machine that
measured. Frames and stores keep it, to be found again.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.analysis.evidence import Evidence, Line
from bench.analysis.summary import Group
from bench.records import Backbone, Phase, Stack
from bench.zoo.traps import NONE

Value = str | int | None
Namer = Callable[[Line], str]

KEY_SHOWN = 12
"""Digits of a trial's key, where nothing else tells two trials apart, and in commands."""

MEANINGLESS = "random weights: accuracy is meaningless"
"""Said wherever an accuracy stands that a frozen backbone of random weights reached."""

BY_THEMSELVES = ("stack", "results")
"""Traits whose values say what they are."""


# ------------------------------------------------------------------------------ stacks and weights


def stack(found: Stack) -> str:
    """All of it: ``tensorflow 2.21.0, Keras 3.15.1, cpu, float32``."""
    return ", ".join(_parts(found))


def stacks(found: Iterable[Stack]) -> dict[str, str]:
    """By id what they differ in: ``tensorflow 2.21.0``; all of one that is alone."""
    parts = {s.id: _parts(s) for s in found}
    differ = [len(set(column)) > 1 for column in zip(*parts.values(), strict=True)]
    if not any(differ):
        return {key: ", ".join(said) for key, said in parts.items()}
    return {
        key: ", ".join(part for part, told in zip(said, differ, strict=True) if told)
        for key, said in parts.items()
    }


def _parts(found: Stack) -> tuple[str, ...]:
    backend = f"{found.backend} {found.backend_version}"
    return backend, f"Keras {found.keras_version}", found.device, found.precision


def sides(of: Iterable[tuple[str, Stack]]) -> dict[tuple[str, str], str]:
    """What tells pairs of a folder's name and a stack apart, by both; empty of a single pair."""
    stacks_of = {(source, one.id): one for source, one in of}
    sources = {source for source, _ in stacks_of}
    short = stacks(stacks_of.values())
    return {
        (source, id_): " · ".join(
            [*([source] if len(sources) > 1 else []), *([short[id_]] if len(short) > 1 else [])]
        )
        for source, id_ in stacks_of
    }


def weights(backbone: Backbone) -> str:
    """``imagenet``, ``random``, or the name of a file."""
    return file_name(backbone.weights)


def file_name(path: str) -> str:
    """Without its folders, of whichever system."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or path


# ------------------------------------------------------------------------------------------ traits


@dataclass(frozen=True)
class Trait:
    """What trials may differ in: its name, and a group's value; None where there is no choice."""

    name: str
    of: Callable[[Group], Value]


def freeze(group: Group) -> str:
    """The strategy, and what ``auto`` came to: ``auto → top_blocks=2``."""
    label = group.spec.freeze.label
    found = dict.fromkeys(r.freeze_resolved.label for r in group.rows if r.freeze_resolved)
    resolved = " or ".join(found)
    return label if resolved in ("", label) else f"{label} → {resolved}"


def views(group: Group) -> str | None:
    """None where there is no choice: without augmentation."""
    return str(group.spec.views) if group.spec.augmentation else None


def train_pictures(group: Group) -> str:
    """How many train pictures the trial asked for: ``all``, ``1,000``, ``20 a class``."""
    data = group.spec.data
    if data.train_per_class:
        return f"{data.train_per_class:,} a class"
    return f"{data.train_examples:,}" if data.train_examples else "all"


def _weights(group: Group) -> str | None:
    """None from scratch, which means random weights by itself."""
    return None if group.spec.freeze.strategy == "scratch" else weights(group.spec.backbone)


def _batch_norm(group: Group) -> str | None:
    """None where there is no choice: without a phase 2, and from scratch."""
    chosen = group.spec.phase2 and group.spec.freeze.strategy != "scratch"
    return group.spec.batch_norm if chosen else None


def _augmentation(group: Group) -> str:
    return ", ".join(f"{a.kind} {a.amount}" for a in group.spec.augmentation) or "none"


def _training(phase: Phase | None) -> str | None:
    """How a phase trains: ``5 x adam 0.001``."""
    return f"{phase.epochs} x {phase.optimizer} {phase.learning_rate:g}" if phase else None


def _phase2(group: Group) -> str | None:
    """None from scratch, whose one long phase follows from the other trials' two."""
    return _training(None if group.spec.freeze.strategy == "scratch" else group.spec.phase2)


STACK = Trait("stack", lambda g: g.stack.id)
TRAITS = (
    STACK,
    Trait("head", lambda g: g.spec.head.name),
    Trait("pixels", lambda g: g.spec.data.image_size),
    Trait("train pictures", train_pictures),
    Trait("batch norm", _batch_norm),
    Trait("weights", _weights),
    Trait("augmentation", _augmentation),
    Trait("views", views),
    Trait("phase 1", lambda g: _training(g.spec.phase1)),
    Trait("phase 2", _phase2),
    Trait("trap", lambda g: g.spec.trap or NONE),
    Trait("batch", lambda g: g.spec.execution.batch_size),
    Trait("measured on", lambda g: g.apart),
)
"""Beside backbone, dataset and freeze strategy."""


def traits(groups: Sequence[Group]) -> list[Trait]:
    """Those that some of these differ in; a trap is never left unsaid."""

    def needed(trait: Trait) -> bool:
        values = {trait.of(g) for g in groups} - {None}
        return len(values) > 1 or (trait.name == "trap" and bool(values - {NONE}))

    return [trait for trait in TRAITS if needed(trait)]


# ------------------------------------------------------------------------------------------ trials


def differing(lines: Iterable[Line]) -> dict[int, dict[str, str]]:
    """What tells lines of one backbone, dataset and freeze strategy from each other.

    Returns:
        By number of each line that shares those with another: trait -> value. The folder is the
        trait ``results``; where nothing else tells two apart, ``trial`` is the key.
    """
    alike: dict[object, list[Line]] = {}
    for line in lines:
        same = (line.backbone, line.dataset, line.group.spec.freeze.label)
        alike.setdefault(same, []).append(line)
    found: dict[int, dict[str, str]] = {}
    for same_kind in alike.values():
        if len(same_kind) > 1:
            found |= _told_apart(same_kind)
    return found


def _told_apart(lines: Sequence[Line]) -> dict[int, dict[str, str]]:
    telling = traits([line.group for line in lines])
    short = stacks(line.group.stack for line in lines)
    several = len({line.source for line in lines}) > 1
    found: dict[int, dict[str, str]] = {}
    for line in lines:
        values = {trait.name: trait.of(line.group) for trait in telling}
        if STACK.name in values:
            values[STACK.name] = short[line.stack]
        values |= {"results": line.source} if several else {}
        found[line.number] = {n: str(v) for n, v in values.items() if v not in (None, NONE)}
    if len({tuple(told.items()) for told in found.values()}) < len(lines):
        for line in lines:
            found[line.number]["trial"] = line.group.spec.key[:KEY_SHOWN]
    return found


def said(told: Mapping[str, Value]) -> list[str]:
    """Traits in words: ``head mlp``; what says by itself what it is has its value alone."""
    return [
        str(value) if name in BY_THEMSELVES else f"{name} {value}"
        for name, value in told.items()
        if value not in (None, NONE)
    ]


def namer(lines: Sequence[Line], short: bool = False) -> Namer:
    """Calls each of these lines by its backbone, its freeze strategy, and what else differs.

    Args:
        lines: that names must tell apart.
        short: leave the backbone out where there is only one.
    """
    others = differing(lines)
    one = short and len({line.backbone for line in lines}) == 1

    def name(line: Line) -> str:
        label = line.group.spec.freeze.label
        more = said(others.get(line.number, {}))
        return ", ".join([label if one else f"{line.backbone} {label}", *more])

    return name


def titles(evidence: Evidence) -> dict[int, str]:
    """By number what each line is: backbone, dataset, strategy, and all that any two differ in."""
    groups = [line.group for line in evidence.lines]
    telling, short = traits(groups), stacks(g.stack for g in groups)

    def title(line: Line) -> str:
        values = {trait.name: trait.of(line.group) for trait in telling}
        if STACK.name in values:
            values[STACK.name] = short[line.stack]
        values |= {"results": line.source} if evidence.several_sources else {}
        return " · ".join([line.backbone, line.dataset, freeze(line.group), *said(values)])

    found = {line.number: title(line) for line in evidence.lines}
    if len(set(found.values())) == len(found):
        return found
    keys = {line.number: line.group.spec.key[:KEY_SHOWN] for line in evidence.lines}
    return {number: f"{text} · trial {keys[number]}" for number, text in found.items()}
