"""Which backend workers get: the suite's word, the environment's, and what is installed."""

import importlib.util
from pathlib import Path

import pytest
from conftest import make_spec

from bench.errors import BenchError, UnknownNameError
from bench.running import backends, plan
from bench.running.messages import Setup
from bench.settings import Settings
from bench.suite import Suite


@pytest.fixture(autouse=True)
def _no_backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


@pytest.mark.parametrize(
    ("stated", "environ", "expected"),
    [
        (None, {}, "tensorflow"),
        ("jax", {}, "jax"),
        (None, {"KERAS_BACKEND": "torch"}, "torch"),
        ("jax", {"KERAS_BACKEND": "jax"}, "jax"),
        ("jax", {"KERAS_BACKEND": ""}, "jax"),
    ],
)
def test_one_word_is_enough(
    tmp_path: Path, stated: str | None, environ: dict[str, str], expected: str
) -> None:
    assert backends.chosen(stated, {"KERAS_HOME": str(tmp_path)} | environ) == expected


def test_where_nobody_says_keras_own_file_does(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    environ = {"KERAS_HOME": str(tmp_path)}
    assert backends.chosen(None, environ) == "jax"
    assert backends.chosen("torch", environ) == "torch"
    assert backends.chosen(None, environ | {"KERAS_BACKEND": "torch"}) == "torch"
    for broken in ("{", "[]", ""):
        (tmp_path / "keras.json").write_text(broken)
        assert backends.chosen(None, environ) == "tensorflow"


def test_a_contradiction_names_both_and_what_to_change() -> None:
    with pytest.raises(BenchError) as caught:
        backends.chosen("jax", {"KERAS_BACKEND": "torch"})
    for word in ("execution.backend = 'jax'", "KERAS_BACKEND is 'torch'", "unset KERAS_BACKEND"):
        assert word in str(caught.value)


def test_a_backend_that_bench_does_not_know() -> None:
    with pytest.raises(UnknownNameError, match=r"KERAS_BACKEND.*'numpy': known: tensorflow, jax"):
        backends.chosen(None, {"KERAS_BACKEND": "numpy"})


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("tensorflow", "pip install -e ."),
        ("jax", "pip install -e '.[jax]'"),
        ("torch", "pip install -e '.[torch]'"),
    ],
)
def test_a_backend_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, name: str, command: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    said = f"backend {name!r} is not installed: {command}"
    assert backends.problem(name, {}) == said
    assert backends.problem(None, {"KERAS_BACKEND": name}) == said


def test_installed_is_asked_without_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(backends.metadata, "version", lambda name: f"{name}-version")
    assert backends.version("jax") == "jax-version"
    assert backends.problem("jax", {}) is None


def suite(folder: Path, **changes: object) -> Suite:
    fields = {"name": "s", "description": "", "folder": folder, "trials": (make_spec(),)}
    return Suite.model_validate(fields | changes)


def test_a_plan_names_a_backend_that_is_missing(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "version", lambda name: "1" if name == "torch" else None)
    assert plan.problems(suite(tmp_path, backend="torch"), settings) == []
    (problem,) = plan.problems(suite(tmp_path, backend="jax"), settings)
    assert problem == "backend 'jax' is not installed: pip install -e '.[jax]'"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    (problem,) = plan.problems(suite(tmp_path, backend="torch"), settings)
    assert "unset KERAS_BACKEND" in problem


def test_workers_are_told_the_suites_backend(tmp_path: Path, settings: Settings) -> None:
    assert Setup.of(suite(tmp_path, backend="jax"), settings, tmp_path).backend == "jax"
    assert Setup.of(suite(tmp_path), settings, tmp_path).backend is None
