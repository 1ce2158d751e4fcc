"""Which weights a results folder was measured with: later rows must be of the same."""

from collections.abc import Iterable
from pathlib import Path

from bench.records import TrialSpec
from bench.running import store
from bench.zoo.same_weights import name_of


def read(folder: Path, trials: Iterable[TrialSpec]) -> dict[str, str]:
    """SHA-256 of the weights that earlier rows name, by `bench.zoo.same_weights.name_of`.

    Reads rows only until each backbone has been met.

    Args:
        folder: of a suite's results; there may be none yet.
        trials: whose backbones are asked for.

    Raises:
        StoreError: a newer Bench wrote a row.
    """
    backbones = {t.backbone for t in trials}
    names = {b: name_of(b) for b in backbones if b.weights != "random"}
    found: dict[str, str] = {}
    for row in store.trials(folder):
        if len(found) == len(names):
            break
        if row.status == "ok" and row.weights is not None and row.weights.source != "random":
            name = names.get(row.spec.backbone)
            if name is not None:
                found.setdefault(name, row.weights.sha256)
    return found
