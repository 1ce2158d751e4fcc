"""What is made of a run that was watched: growth, bounds, words."""

from pathlib import Path

import numpy as np
import pytest
from conftest import NOWHERE, STACK

from bench import suite
from bench.errors import BenchError
from benchmarks import soak
from benchmarks.soak import Report, Sample, Slope


def seen(each: float, noise: float = 0.0, rows: int = 500) -> list[tuple[int, int]]:
    """Looks at a runner that grows by so many bytes a row."""
    chance = np.random.default_rng(0)
    return [(r, int(7e7 + each * r + noise * chance.standard_normal())) for r in range(rows)]


def test_growth_is_bytes_for_each_row() -> None:
    assert soak.growth(seen(0)) == Slope(value=0, low=0, high=0)
    exact = soak.growth(seen(25_000))
    assert exact.value == pytest.approx(25_000, rel=1e-3)
    noisy = soak.growth(seen(25_000, noise=2e5))
    assert noisy.low < 25_000 < noisy.high
    assert noisy.high - noisy.low < 2_000


def test_start_and_end_of_a_run_are_no_growth() -> None:
    """Imports while there is no row yet, and what the table takes when all are there."""
    start = [(0, int(1e7 * i)) for i in range(7)]
    end = [(500, int(7e7 + 2e7 * i)) for i in range(5)]
    assert soak.growth([*start, *seen(1_000), *end]) == soak.growth([*seen(1_000), *end])
    assert soak.growth([*start, *seen(1_000), *end]).value == pytest.approx(1_000, rel=0.01)


def test_too_few_looks_tell_nothing() -> None:
    with pytest.raises(BenchError, match="3 rows in 4 looks: expected more"):
        soak.growth([(0, 1), (1, 1), (2, 1), (3, 1)])


def test_thinned_samples_keep_both_ends() -> None:
    samples = [sample(i) for i in range(1000)]
    kept = list(soak.thinned(samples, 120))
    assert (len(kept), kept[0], kept[-1]) == (120, samples[0], samples[-1])
    assert list(soak.thinned(samples[:50], 120)) == samples[:50]


def sample(second: int) -> Sample:
    return Sample(
        seconds=second,
        rows=second,
        runner=70_000_000,
        workers=900_000_000,
        handles=7,
        threads=3,
        results=9_000 * second,
        cache=1_700_000,
        temporary=0,
    )


def report(**changes: object) -> Report:
    made = Report(
        command="python -m benchmarks.soak",
        measured_at="2026-01-01T00:00:00+00:00",
        stack=STACK,
        environment=NOWHERE,
        rows={"ok": 500},
        seconds=420,
        runner_growth=Slope(value=5_500, low=3_500, high=7_600),
        workers=1,
        handles=11,
        threads=3,
        runner_peak=140 * 2**20,
        workers_peak=900 * 2**20,
        disk=38_000,
        left_over=0,
        samples=tuple(map(sample, range(5))),
    )
    return made.model_copy(update=changes)


def test_what_is_beyond_its_bound_is_named() -> None:
    assert report().beyond == []
    grown = report(runner_growth=Slope(value=10_000, low=1, high=16_000), handles=65, left_over=1)
    assert grown.beyond == [
        "runner_growth = 16,000, more than 8,000",
        "handles = 65, more than 64",
        "left_over = 1, more than 0",
    ]


def test_the_table_says_what_was_seen_beside_its_bound(tmp_path: Path) -> None:
    text = soak.document(report(), "github")
    assert "+5.5 kB (+3.5 to +7.6)" in text
    assert "at most 8 kB" in text
    assert "500 trials (500 ok) in one run of 7 minutes, one worker process;" in text
    file = tmp_path / "soak.json"
    file.write_text(report().model_dump_json())
    assert soak.read(file) == report()
    file.write_text("[]")
    with pytest.raises(BenchError, match=r"expected a file of benchmarks\.soak"):
        soak.read(file)


def test_the_suite_has_as_many_trials_as_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "soak.toml"
    file.write_text(soak.suite_text(500))
    trials = suite.load(file).trials
    assert len({t.key for t in trials}) == len(trials) == 500
