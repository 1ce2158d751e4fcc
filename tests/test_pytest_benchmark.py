"""Measurements as pytest-benchmark's JSON, and back; and the cases under benchmarks/."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import STACK, make_cost, make_rate, make_result
from hypothesis import given
from hypothesis import strategies as st
from pytest_benchmark.stats import Stats

from bench import cli
from bench.costs import CostResult, CostSpec, Rate
from bench.errors import BenchError, StoreError
from bench.records import Backbone, Environment, Freeze, TrialResult
from bench.reporting import pytest_benchmark
from bench.running.store import writing
from benchmarks.conftest import Paced

ROOT = Path(__file__).parents[1]
MACHINE = Environment(
    bench_version="0.1.0",
    python_version="3.12.0",
    platform="Linux x86_64",
    processor="Abacus",
    cores=2,
    memory_gib=8.0,
    packages={},
)
NEWER = STACK.model_copy(update={"backend_version": "2.99.0"})


def compared(*files: Path) -> str:
    """What pytest-benchmark's own command says of these files."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", *(str(f) for f in files)],
        cwd=files[0].parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Failed to load" not in done.stderr
    return done.stdout


@given(st.lists(st.floats(1e-4, 10), min_size=1, max_size=40))
def test_statistics_are_those_of_pytest_benchmark(seconds: list[float]) -> None:
    theirs = Stats()
    for each in seconds:
        theirs.update(each)
    ours = pytest_benchmark.statistics_of(seconds, 4)
    # A datum that lies on a bound may fall on either side of it by rounding.
    edge = ("outliers", "iqr_outliers", "stddev_outliers", "ld15iqr", "hd15iqr")
    expected = {k: v for k, v in theirs.as_dict().items() if k not in edge}
    found = {k: ours[k] for k in expected}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert set(ours) == {*theirs.as_dict(), "data", "iterations"}


@pytest.mark.parametrize("count", range(1, 9))
def test_outliers_are_those_of_pytest_benchmark(count: int) -> None:
    seconds = [1.0, 1.25, 1.5, 1.125, 9.0, 1.375, 0.01, 1.0625][:count]
    theirs = Stats()
    for each in seconds:
        theirs.update(each)
    ours = pytest_benchmark.statistics_of(seconds, 1)
    for field in ("outliers", "iqr_outliers", "stddev_outliers", "ld15iqr", "hd15iqr"):
        assert ours[field] == theirs.as_dict()[field]


def test_times_are_of_steps() -> None:
    row = make_cost(device=Rate.of([320.0, 640.0], steps=5), environment=MACHINE)
    content = pytest_benchmark.content([row])
    (entry,) = content["benchmarks"]
    assert entry["stats"]["data"] == [0.1, 0.05]
    assert (entry["stats"]["rounds"], entry["stats"]["iterations"]) == (2, 5)
    assert entry["name"] == entry["group"] == row.spec.label
    assert content["machine_info"]["cpu"] == {"brand_raw": "Abacus", "count": 2}


def test_stacks_are_told_apart_where_there_are_several() -> None:
    rows = [make_cost(), make_cost(stack=NEWER)]
    one, other = pytest_benchmark.content(rows)["benchmarks"]
    assert one["group"] == other["group"]
    assert STACK.id in one["name"]
    assert NEWER.id in other["name"]


def test_a_row_survives_as_far_as_the_format_goes(tmp_path: Path) -> None:
    freeze = Freeze(strategy="top_blocks", amount=2)
    spec = CostSpec(backbone=Backbone(name="ResNet50"), workload="phase 2", freeze=freeze)
    row = make_cost(spec, device=Rate.of([90.0, 100.0, 110.0], steps=3))
    file = tmp_path / "a.json"
    file.write_text(pytest_benchmark.document([row]), encoding="utf-8")
    (again,) = pytest_benchmark.read(file)
    assert again.device == row.device
    kept = {"key", "spec", "stack", "status", "batch_size", "execution", "compile_seconds"}
    assert again.model_dump(include=kept) == row.model_dump(include=kept)
    assert again.started_at == row.started_at
    assert again.memory is None


def test_a_median_alone_is_a_rate(tmp_path: Path) -> None:
    content = pytest_benchmark.content([make_cost(device=make_rate(100, 98, 102))])
    del content["benchmarks"][0]["stats"]["data"]
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    (row,) = pytest_benchmark.read(file)
    assert row.device is not None
    assert row.device.samples == (100.0,)


def test_what_others_put_into_extra_info_is_left_alone(tmp_path: Path) -> None:
    content = pytest_benchmark.content([make_cost()])
    content["benchmarks"][0]["extra_info"]["weather"] = "rain"
    file = tmp_path / "a.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    assert pytest_benchmark.read(file)[0].spec == make_cost().spec


def test_failures_are_left_out_and_nothing_else_is_an_error() -> None:
    failed = make_cost(status="failed", reason="no room", device=None)
    assert len(pytest_benchmark.content([failed, make_cost()])["benchmarks"]) == 1
    with pytest.raises(BenchError, match="none of 1 has one"):
        pytest_benchmark.content([failed])
    with pytest.raises(BenchError, match="there are none"):
        pytest_benchmark.content([])


WRONG = {
    "nothing": None,
    "no JSON": "images/s",
    "no object": "[]",
    "another object": "{}",
    "no benchmark": '{"benchmarks": []}',
    "no time": '{"benchmarks": [{"name": "a", "stats": {"median": 0}}]}',
    "not ours": '{"benchmarks": [{"name": "a", "stats": {"median": 1}}]}',
    "too little": '{"benchmarks": [{"name": "a", "stats": {"median": 1}, '
    '"extra_info": {"batch_size": 8}}]}',
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_file_that_is_none(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "wrong.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=r"wrong\.json: (expected|cannot be read|a: expected)"):
        pytest_benchmark.read(file)


def test_pytest_benchmark_compares_two_files(tmp_path: Path) -> None:
    files = [tmp_path / "old.json", tmp_path / "new.json"]
    for file, stack, speed in zip(files, (STACK, NEWER), (100.0, 200.0), strict=True):
        rate = Rate.of([speed, 1.01 * speed, 0.99 * speed], steps=2)
        row = make_cost(device=rate, stack=stack, environment=MACHINE)
        file.write_text(pytest_benchmark.document([row]), encoding="utf-8")
    shown = compared(*files)
    assert shown.count(make_cost().spec.label) == 3  # the group's heading, and a line of each file
    assert "(2.00)" in shown  # twice as fast


Shown = Callable[..., tuple[int, str, str]]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shown:
    """Run `bench show` in this process: exit code, output, errors."""
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "show", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def results(folder: Path, *rows: TrialResult | CostResult) -> Path:
    """A results folder of these rows."""
    with writing(folder) as held:
        for row in rows:
            held.append(row, None)
    return folder


def test_bench_show_writes_it_and_reads_it(tmp_path: Path, show: Shown) -> None:
    spec = CostSpec(backbone=Backbone(name="VGG16"), workload="phase 1")
    failed = make_cost(spec, status="failed", reason="no room", device=None)
    folder = results(tmp_path / "r", make_result(), make_cost(), failed)
    code, out, err = show(folder, "--format", "pytest-benchmark")
    assert code == 0
    assert "2 other rows not shown" in err
    file = tmp_path / "a.json"
    file.write_text(out, encoding="utf-8")
    code, out, err = show(file)
    assert (code, err) == (0, "")
    assert "MobileNetV2" in out
    assert "100 (98.1–102)" in out  # of three bursts
    assert "VGG16" not in out


def test_bench_show_says_what_it_cannot(tmp_path: Path, show: Shown) -> None:
    folder = results(tmp_path / "r", make_result())
    code, out, err = show(folder, "--format", "pytest-benchmark")
    assert (code, out) == (2, "")
    assert "expected measurements of cost with a throughput, and there are none" in err
    code, out, err = show(tmp_path / "absent.json")
    assert (code, out) == (2, "")
    assert "absent.json: cannot be read: No such file" in err


def run_cases(*options: str) -> subprocess.CompletedProcess[str]:
    """The cases under benchmarks/, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-p", "no:cacheprovider"]
    # pytest-benchmark measures nothing where it finds itself among parallel test processes.
    alone = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [*command, *options], cwd=ROOT, env=alone, capture_output=True, text=True, check=False
    )


def test_cases_of_every_backbone_and_workload_are_there() -> None:
    done = run_cases("--collect-only")
    named = [line for line in done.stdout.splitlines() if "::" in line]
    assert len(named) == 4 * 4
    assert "benchmarks/test_throughput_training.py::test_phase_2[all-ResNet50]" in named


def test_sizes_that_are_none_are_refused() -> None:
    done = run_cases("--collect-only", "--batch-size", "none")
    assert done.returncode == 4
    assert "--batch-size: 'none': expected a whole number from 1 on" in done.stderr


def test_the_device_is_awaited_once_a_round() -> None:
    done: list[str] = []

    class Step:
        def run(self, batch: tuple[str, str]) -> None:
            done.append(f"run {batch[0]}")

        def wait(self) -> None:
            done.append("wait")

        def close(self) -> None:
            done.append("close")

    paced = Paced(Step(), ("pictures", "targets"), 2)
    for _ in range(5):
        paced()
    assert done == [*["run pictures", "run pictures", "wait"] * 2, "run pictures"]


@pytest.mark.slow
def test_a_case_becomes_a_row(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    done = run_cases(
        *("-k", "test_phase_1 and MobileNetV2", "--image-size", "32", "--batch-size", "4"),
        *("--benchmark-json", str(file), "--benchmark-max-time", "0.2"),
    )
    assert done.returncode == 0, done.stdout
    (row,) = pytest_benchmark.read(file)
    assert row.spec.label == "MobileNetV2 · 32 px · phase 1 · batch 4 · default"
    assert row.device is not None
    assert len(row.device.samples) >= 5
    assert row.device.steps > 1
    assert "test_phase_1[MobileNetV2]" in compared(file)
