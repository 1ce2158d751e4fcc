"""A results folder's trials, to be run again."""

from pathlib import Path

import pytest
from conftest import STACK, make_result, make_spec

from bench.errors import BenchError, StoreError, UnknownNameError
from bench.records import TrialResult
from bench.running import again, store

REAL = Path("results/reference/real_small")


def test_the_trials_of_a_folder_are_its_rows_own() -> None:
    suite = again.suite_of(REAL)
    assert suite.name == "real_small"
    assert {t.key for t in suite.trials} == {r.key for r in store.read(REAL).rows}
    assert suite.backend == "tensorflow"


def on(backend: str, seed: int = 0) -> TrialResult:
    return make_result(make_spec(seed=seed), stack=STACK.model_copy(update={"backend": backend}))


def kept(folder: Path, *rows: TrialResult) -> Path:
    for row in rows:
        file = folder / row.stack.id / store.TRIALS
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as lines:
            lines.write(store.line(row))
    return folder


def test_rows_run_again_on_their_own_backend(tmp_path: Path) -> None:
    folder = kept(tmp_path / "r", on("jax"), on("jax", seed=1))
    suite = again.suite_of(folder, environ={})
    assert (suite.backend, len(suite.trials)) == ("jax", 2)
    assert again.suite_of(folder, environ={"KERAS_BACKEND": "jax"}) == suite
    with pytest.raises(BenchError, match=r"ran on jax \(2 rows\), but KERAS_BACKEND is 'torch'"):
        again.suite_of(folder, environ={"KERAS_BACKEND": "torch"})


def test_rows_of_several_backends_are_chosen_by_key_or_by_the_environment(tmp_path: Path) -> None:
    rows = (on("jax"), on("tensorflow"), on("tensorflow", seed=1))
    folder = kept(tmp_path / "r", *rows)
    both = r"ran on jax \(1 rows\) and tensorflow \([12] rows\); set KERAS_BACKEND"
    for only in ((), (rows[0].key,)):
        with pytest.raises(BenchError, match=both):
            again.suite_of(folder, only, environ={})
    alone = again.suite_of(folder, [rows[2].key[:12]], environ={})
    assert (alone.backend, alone.trials) == ("tensorflow", (rows[2].spec,))
    jax = again.suite_of(folder, environ={"KERAS_BACKEND": "jax"})
    assert (jax.backend, jax.trials) == ("jax", (rows[0].spec,))


def test_a_backend_that_is_not_known_here_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown backend 'mlx'"):
        again.suite_of(kept(tmp_path / "r", on("mlx")), environ={})


def test_a_folder_without_trials_is_said() -> None:
    with pytest.raises(BenchError, match="expected results of trials"):
        again.suite_of(Path("results/reference/measure"))
    with pytest.raises(StoreError, match="nothing is there"):
        again.suite_of(Path("results/none"))
