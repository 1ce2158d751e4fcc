"""Settings: read once from the environment."""

import os
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.settings import Settings


def test_nothing_set_gives_a_cache_of_the_user_and_no_folders() -> None:
    settings = Settings.from_environment({})
    assert settings.cache.is_absolute()
    assert settings.cache.name == "keras-zoo-bench"
    assert settings.weights == ()
    assert settings.tfds is None
    assert settings.cache_bytes == 20 * 2**30


def test_every_setting_is_read(tmp_path: Path) -> None:
    weights = os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")])
    settings = Settings.from_environment(
        {
            "BENCH_CACHE_DIR": str(tmp_path / "cache"),
            "BENCH_WEIGHTS_DIR": weights,
            "TFDS_DATA_DIR": str(tmp_path / "tfds"),
            "BENCH_CACHE_GIB": "0.5",
        }
    )
    assert settings == Settings(
        cache=tmp_path / "cache",
        weights=(tmp_path / "a", tmp_path / "b"),
        tfds=tmp_path / "tfds",
        cache_bytes=2**29,
    )


@pytest.mark.parametrize(
    "name", ["BENCH_CACHE_DIR", "BENCH_WEIGHTS_DIR", "TFDS_DATA_DIR", "BENCH_CACHE_GIB"]
)
def test_an_empty_variable_counts_as_none(name: str) -> None:
    assert Settings.from_environment({name: ""}) == Settings.from_environment({})


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "20 GiB", "plenty"])
def test_a_cap_that_is_no_positive_number(value: str) -> None:
    said = rf"BENCH_CACHE_GIB = '{value}': expected a positive number of GiB"
    with pytest.raises(BenchError, match=said):
        Settings.from_environment({"BENCH_CACHE_GIB": value})


def test_relative_and_home_paths_become_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = Settings.from_environment(
        {"BENCH_CACHE_DIR": "cache", "BENCH_WEIGHTS_DIR": "~/weights", "TFDS_DATA_DIR": "~/tfds"}
    )
    assert settings.cache == tmp_path / "cache"
    assert settings.weights == (tmp_path / "home" / "weights",)
    assert settings.tfds == tmp_path / "home" / "tfds"


def test_the_process_environment_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    assert Settings.from_environment().cache == tmp_path


def test_settings_survive_json(tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path, weights=(tmp_path / "w",), cache_bytes=5)
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
