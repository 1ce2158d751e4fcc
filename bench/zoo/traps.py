"""Traps: the classic mistakes of transfer learning, each a trial with one wrong step.

A suite names them (``traps = ["none", "unpinned"]``), so that a mistake runs beside the right
protocol, with which it has everything else in common. The wrong steps themselves are
`bench.training.trapped`'s part: nothing here needs Keras. Adding a trap is a row here and a step
there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bench.errors import UnknownNameError
from bench.records import Phase, TrialSpec
from bench.zoo.backbones import BACKBONES

NONE = "none"
"""What a suite and a table write for a trial without a trap."""

CONSEQUENCES = frozenset({"no_cliff"})
"""Guards that look at what training came to. They do not name a mistake, but any may fail them."""


@dataclass(frozen=True)
class TrapRow:
    """A classic mistake.

    Attributes:
        name: as written in a suite.
        description: one line for ``bench list traps``.
        guards: names of those that should notice it; at least one of them does.
        between_phases: whether the mistake lies between the two phases, and so needs both.
    """

    name: str
    description: str
    guards: tuple[str, ...]
    between_phases: bool = False


_ROWS = (
    TrapRow(
        "preprocessing_skipped",
        "pixels go into the backbone as they are",
        ("preprocessing",),
    ),
    TrapRow(
        "preprocessing_twice",
        "pixels are preprocessed twice (by hand, where the backbone rescales inside)",
        ("preprocessing",),
    ),
    TrapRow(
        "unpinned",
        "base(x, training=False) as scripts have it: under Keras 3, fit runs it in training mode",
        ("backbone_deterministic", "batchnorm_statistics"),
    ),
    TrapRow(
        "phase2_rate",
        "phase 2 trains at phase 1's learning rate",
        ("learning_rate",),
        between_phases=True,
    ),
    TrapRow(
        "no_phase1",
        "head and top train together from the start, for all epochs at phase 1's rate",
        ("head_trained",),
        between_phases=True,
    ),
    TrapRow(
        "no_recompile",
        "phase 2 unfreezes and fits on without compiling again",
        ("weights_moved", "learning_rate"),
        between_phases=True,
    ),
)

TRAPS: Mapping[str, TrapRow] = {r.name: r for r in _ROWS}
if len(TRAPS) != len(_ROWS):
    raise ValueError("two traps of the table share a name")


def row(name: str) -> TrapRow:
    """The trap of this name.

    Raises:
        UnknownNameError: the table has no such trap.
    """
    if name not in TRAPS:
        raise UnknownNameError("trap", name, TRAPS)
    return TRAPS[name]


def impossible(spec: TrialSpec) -> str | None:
    """Why a trial's trap is no mistake in it, as the end of "left out, since ..."; None if it is.

    Raises:
        UnknownNameError: the table has no such trap.
    """
    if spec.trap is None:
        return None
    if row(spec.trap).between_phases and not (spec.phase1 and spec.phase2):
        return f"{spec.freeze.label} has one phase only"
    if spec.trap == "phase2_rate" and (rate := _common_rate(spec)) is not None:
        return f"both phases have the learning rate {rate:g} anyway"
    if spec.trap == "unpinned" and spec.batch_norm == "train":
        return "the backbone trains in training mode anyway (batch_norm = train)"
    if spec.trap == "preprocessing_skipped" and _contract(spec) == "raw":
        return f"{spec.backbone.name} takes pixels as they are"
    return None


def as_expected(trap: str | None, failed: Collection[str]) -> bool:
    """Whether a trial's guards say what they should: all pass, or some notice its trap.

    Beside those that should notice, only `CONSEQUENCES` may fail.

    Args:
        trap: of the trial.
        failed: names of its guards that did not hold.
    """
    if trap is None:
        return not failed
    others = set(failed) - noticing(trap)
    return len(others) < len(set(failed)) and others <= CONSEQUENCES


def noticing(trap: str | None) -> frozenset[str]:
    """Names of the guards that should notice a trap; none for a trap that is not known here."""
    known = TRAPS.get(trap) if trap else None
    return frozenset(known.guards) if known else frozenset()


def _common_rate(spec: TrialSpec) -> float | None:
    """Of both phases; None where they differ, or where there is one only."""
    rates = {phase.learning_rate for phase in (spec.phase1, spec.phase2) if phase}
    return rates.pop() if len(rates) == 1 and spec.phase1 and spec.phase2 else None


def _contract(spec: TrialSpec) -> str | None:
    known = BACKBONES.get(spec.backbone.name)
    return spec.backbone.preprocessing or (known.preprocessing if known else None)


def phases(spec: TrialSpec) -> tuple[Phase | None, Phase | None]:
    """Phases 1 and 2 as the trial runs them."""
    without = spec.trap == "no_phase1" and spec.phase1 and spec.phase2
    return (None, together(spec)) if without else (spec.phase1, spec.phase2)


def together(spec: TrialSpec) -> Phase:
    """The one phase of a trial whose phase 1 is left out.

    A script that knows no feature extraction trains head and top together, for as long as the two
    phases would have taken, at phase 1's rate and with its optimizer. Early stopping, and a rate
    that falls, are as planned for phase 2.
    """
    assert spec.phase1 is not None
    assert spec.phase2 is not None
    whole = {
        "epochs": spec.phase1.epochs + spec.phase2.epochs,
        "learning_rate": spec.phase1.learning_rate,
        "optimizer": spec.phase1.optimizer,
    }
    return spec.phase2.model_copy(update=whole)
