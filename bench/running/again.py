"""A results folder's trials as a suite, to be run again: on another machine, or by a reader."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from bench.errors import BenchError, UnknownNameError
from bench.records import TrialResult
from bench.running import devices, plan, store
from bench.running.backends import BACKENDS, VARIABLE
from bench.suite import Suite
from bench.suite_file import Backend


def suite_of(
    folder: Path, only: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> Suite:
    """The trials of rows at or below a results folder, word for word, on the rows' own backend.

    Relative paths of weights and pictures start in the working directory.

    Args:
        folder: of results.
        only: words that choose among its trials (`plan.select`).
        environ: that workers inherit; its ``KERAS_BACKEND`` chooses between rows of several
            backends.

    Raises:
        StoreError: it is no results folder.
        BenchError: it holds no trial, or none that the words choose; or the chosen rows ran on
            several backends, or on another than the environment's.
        UnknownNameError: they ran on a backend that is not known here.
    """
    rows = store.read(folder).rows
    trials = tuple(dict.fromkeys(row.spec for row in rows))
    if not trials:
        raise BenchError(f"{folder}: expected results of trials, but there is none in it")
    keys = {t.key for t in (plan.select(trials, only) if only else trials)}
    chosen = [row for row in rows if row.key in keys]
    backend = _backend(folder, chosen, environ.get(VARIABLE))
    return Suite(
        name=folder.absolute().name,
        description=f"the trials of {folder} again",
        folder=Path.cwd(),
        trials=tuple(dict.fromkeys(r.spec for r in chosen if r.stack.backend == backend)),
        backend=backend,
        devices=_devices(folder, chosen),
    )


def _devices(folder: Path, rows: Sequence[TrialResult]) -> int:
    """Over how many devices the rows' trials spread their batches."""
    counts = sorted({devices.of_stack(row.stack.device) for row in rows})
    if len(counts) > 1:
        ran = " and ".join(map(str, counts))
        raise BenchError(
            f"{folder}: these rows ran on {ran} devices each; choose rows of one number by --only, "
            "or run their suite file"
        )
    return counts[0]


def _backend(folder: Path, rows: Sequence[TrialResult], asked: str | None) -> Backend:
    """The one that the rows ran on; of several, the one that the environment asks for."""
    counts = Counter(row.stack.backend for row in rows)
    ran = " and ".join(f"{name} ({n:,} rows)" for name, n in sorted(counts.items()))
    if asked and asked not in counts:
        raise BenchError(
            f"{folder}: these rows ran on {ran}, but {VARIABLE} is {asked!r}: unset it to run them "
            "again, or run their suite file to compare backends"
        )
    if not asked and len(counts) > 1:
        raise BenchError(
            f"{folder}: these rows ran on {ran}; set {VARIABLE} to one of them, or choose rows of "
            "one backend by --only"
        )
    name = asked or next(iter(counts))
    if name not in BACKENDS:
        raise UnknownNameError("backend", name, BACKENDS)
    return cast(Backend, name)
