"""What to take fingerprints of: a suite, or backbones alone -> the distinct specs behind them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.numerics import Numbers, NumericsResult, NumericsSpec
from bench.records import Backbone, TrialSpec
from bench.running import cases
from bench.running.cases import Asked
from bench.suite import Suite
from bench.tasks import Row
from bench.zoo import backbones

NAME = "fingerprint"
"""Of the results folder, where fingerprints are taken without a suite."""

SIZE = 96
"""Side of the pictures there, in pixels: what a layer does shows at any size."""

DEFAULT: tuple[Numbers, ...] = ("float32",)

_STATED: Mapping[str, Numbers] = {
    "mixed_bfloat16": "mixed_bfloat16",
    "mixed_float16": "mixed_float16",
}


def of_suite(suite: Suite, precisions: Sequence[Numbers] = ()) -> Asked[NumericsSpec]:
    """Backbones and picture sizes of a suite's trials, with their weights.

    Args:
        suite: which.
        precisions: instead of float32 and whatever other precision the suite states.
    """
    optimizers = tuple(sorted({o for trial in suite.trials for o in _optimizers(trial)}))
    found = [
        NumericsSpec(
            backbone=trial.backbone,
            image_size=trial.data.image_size,
            precision=precision,
            optimizers=optimizers,
        )
        for trial in suite.trials
        for precision in precisions or _precisions(trial)
    ]
    names = dict.fromkeys(spec.backbone.name for spec in found)
    together = (spec for name in names for spec in found if spec.backbone.name == name)
    minutes = suite.trial_minutes or cases.MINUTES
    return Asked(suite.name, suite.folder, suite.backend, minutes, tuple(dict.fromkeys(together)))


def of_backbones(names: Sequence[str], precisions: Sequence[Numbers] = ()) -> Asked[NumericsSpec]:
    """Backbones of the table, with random weights that are the same on every stack.

    Args:
        names: theirs, or ``all`` alone.
        precisions: each for itself; float32 where there are none.

    Raises:
        BenchError: a name is not in the table.
    """
    found = tuple(
        NumericsSpec(
            backbone=Backbone(name=name, weights="random"),
            image_size=max(SIZE, backbones.row(name).min_size),
            precision=precision,
        )
        for name in dict.fromkeys(cases.named(names))
        for precision in precisions or DEFAULT
    )
    return Asked(NAME, Path.cwd(), None, cases.MINUTES, found)


def stands(row: Row, packages: Mapping[str, str]) -> bool:
    """Whether an earlier fingerprint need not be taken again.

    The name of a stack holds framework versions only; Pillow's or NumPy's may have changed since.

    Args:
        row: that has a result.
        packages: versions that are installed now.
    """
    if not isinstance(row, NumericsResult) or row.environment is None:
        return False
    return row.environment.packages == dict(packages)


def _optimizers(trial: TrialSpec) -> list[str]:
    return [phase.optimizer for phase in (trial.phase1, trial.phase2) if phase]


def _precisions(trial: TrialSpec) -> tuple[Numbers, ...]:
    """float32, and what the suite states beside it. ``auto`` is the device's choice, not ours."""
    stated = _STATED.get(trial.execution.precision)
    return (*DEFAULT, stated) if stated else DEFAULT
