"""A results folder's trials, to be run again."""

from pathlib import Path

import pytest

from bench.errors import BenchError, StoreError
from bench.running import again, store

REAL = Path("results/reference/real_small")


def test_the_trials_of_a_folder_are_its_rows_own() -> None:
    suite = again.suite_of(REAL)
    assert suite.name == "real_small"
    assert {t.key for t in suite.trials} == {r.key for r in store.read(REAL).rows}


def test_a_folder_without_trials_is_said() -> None:
    with pytest.raises(BenchError, match="expected results of trials"):
        again.suite_of(Path("results/reference/measure"))
    with pytest.raises(StoreError, match="nothing is there"):
        again.suite_of(Path("results/none"))
