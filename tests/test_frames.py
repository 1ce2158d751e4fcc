"""A store as DataFrames: what is in them, of which type, whatever the store holds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import (
    ROOT,
    STACK,
    make_cost,
    make_dataset,
    make_phase,
    make_result,
    make_spec,
)

import bench
from bench.analysis import columns, frames
from bench.analysis.stats import wilson
from bench.costs import CostSpec
from bench.errors import BenchError
from bench.records import Augmentation, Backbone, Freeze, Guard, TrialResult, WeightsUsed
from bench.running import store

REFERENCE = ROOT / "results" / "reference"
REAL = REFERENCE / "real_small"
TABLES = {"trials": columns.TRIALS, "epochs": columns.EPOCHS, "costs": columns.COSTS}
TYPES = {"time": "datetime64[us, UTC]"}

FAILED = make_result(
    make_spec(seed=1),
    status="failed",
    reason="ValueError: odd",
    phase1=None,
    phase2=None,
    test_accuracy=None,
    test_loss=None,
    total_parameters=None,
    guards=(),
)


def written(folder: Path, *rows: TrialResult) -> Path:
    file = folder / STACK.id / store.TRIALS
    file.parent.mkdir(parents=True)
    file.write_bytes(b"".join(map(store.line, rows)))
    return folder


def only(frame: pd.DataFrame) -> pd.Series:
    (line,) = [line for _, line in frame.iterrows()]
    return line


# ------------------------------------------------------------------------------ trials


def test_a_trial_is_a_line_with_what_it_was_and_came_to() -> None:
    spec = make_spec(seed=3).model_copy(
        update={
            "augmentation": (
                Augmentation(kind="flip", amount="horizontal"),
                Augmentation(kind="rotation", amount=0.1),
            ),
            "views": 4,
        }
    )
    row = make_result(
        spec,
        dataset=make_dataset(),
        weights=WeightsUsed(source="file", sha256="a" * 64),
        freeze_resolved=Freeze(strategy="last_layers", amount=30),
        guards=(
            Guard(name="no_cliff", passed=False, evidence=""),
            Guard(name="loss_finite", passed=True, evidence=""),
            Guard(name="frozen_weights", passed=False, evidence=""),
        ),
    )
    line = only(frames.trials([row], "results/mine"))
    interval = wilson(0.94 * 179, 179)
    expected = {
        "results": "results/mine",
        "trial": row.key,
        "group": spec.model_copy(update={"seed": 0}).key,
        "stack": STACK.id,
        "backend": "tensorflow",
        "backend_version": "2.21.0",
        "keras_version": "3.15.1",
        "device": "cpu",
        "precision": "float32",
        "backbone": "MobileNetV2",
        "weights": "imagenet",
        "dataset": "digits",
        "image_size": 96,
        "head": "linear",
        "freeze": "top_blocks=2",
        "freeze_resolved": "last_layers=30",
        "batch_norm": "frozen",
        "augmentation": "flip horizontal, rotation 0.1",
        "views": "4",
        "batch_size": 32,
        "seed": 3,
        "phase1_epochs": 2,
        "phase1_epochs_run": 1,
        "phase2_learning_rate": 1e-5,
        "phase2_optimizer": "adam",
        "phase1_val_accuracy": 0.9,
        "phase2_val_accuracy": 0.95,
        "phase2_trainable_parameters": 1_200_000,
        "phase1_images_per_second": 300.0,
        "phase1_seconds": 2.5,
        "status": "ok",
        "test_accuracy": 0.94,
        "test_accuracy_low": interval.low,
        "test_accuracy_high": interval.high,
        "test_loss": 0.2,
        "total_parameters": 2_270_794,
        "guards_failed": "no_cliff, frozen_weights",
        "way": "literal",
        "train_pictures": 600,
        "val_pictures": 180,
        "test_pictures": 179,
        "fingerprint": "f" * 64,
        "weights_sha256": "a" * 64,
        "started_at": pd.Timestamp("2026-01-01", tz="UTC"),
        "seconds": 5.0,
    }
    assert {name: line[name] for name in expected} == expected
    assert line["test_accuracy_low"] < 0.94 < line["test_accuracy_high"]
    assert line[["trap", "phase1_input_wait"]].isna().all()


def test_seeds_of_one_trial_are_one_group_and_other_trials_are_not() -> None:
    rows = [make_result(make_spec(seed=s)) for s in range(3)]
    other = make_result(make_spec(Freeze(strategy="all")))
    trapped = make_result(make_spec().model_copy(update={"trap": "unpinned"}))
    frame = frames.trials([*rows, other, trapped])
    assert frame["trial"].nunique() == 5
    assert list(frame.groupby("group", sort=False).size()) == [3, 1, 1]
    assert list(frame["trap"].dropna()) == ["unpinned"]


def test_a_line_is_what_may_be_averaged(tmp_path: Path) -> None:
    def row(seed: int, version: str = "2.21.0", pictures: str = "f" * 64) -> TrialResult:
        stack = STACK.model_copy(update={"backend_version": version})
        dataset = make_dataset(fingerprint=pictures)
        return make_result(make_spec(seed=seed), stack=stack, dataset=dataset)

    failed = make_result(make_spec(seed=2), status="failed", reason="x", test_accuracy=None)
    rows = [row(0), row(1), failed, row(0, "2.20.0"), row(3, pictures="e" * 64)]
    frame = frames.trials(rows)
    assert frame["group"].nunique() == 1
    assert list(frame.groupby("line", sort=False)["seed"].apply(list)) == [[0, 1, 2], [0], [3]]
    assert set(frames.epochs(rows)["line"]) <= set(frame["line"])
    assert not set(frames.trials(rows, "elsewhere")["line"]) & set(frame["line"])


def test_a_trap_without_phase_1_has_the_phases_it_ran() -> None:
    spec = make_spec().model_copy(update={"trap": "no_phase1"})
    line = only(frames.trials([make_result(spec, phase1=None)]))
    assert line[["phase1_epochs", "phase1_learning_rate", "phase1_optimizer"]].isna().all()
    assert (line["phase2_epochs"], line["phase2_learning_rate"]) == (3, 1e-3)


def test_a_trial_without_a_result_keeps_its_line_and_its_reason() -> None:
    line = only(frames.trials([FAILED]))
    assert (line["status"], line["reason"]) == ("failed", "ValueError: odd")
    empty = ["test_accuracy", "test_accuracy_low", "guards_failed", "phase2_epochs_run"]
    assert line[[*empty, "total_parameters", "train_pictures", "weights_sha256"]].isna().all()


def test_a_row_that_says_nonsense_is_no_error() -> None:
    row = make_result(test_accuracy=1.5, started_at="yesterday", dataset=make_dataset())
    line = only(frames.trials([row]))
    assert line[["test_accuracy_low", "test_accuracy_high", "started_at"]].isna().all()
    assert line["test_accuracy"] == 1.5


# ------------------------------------------------------------------------------ epochs


def test_epochs_go_on_from_phase_1_into_phase_2() -> None:
    rows = [make_result(make_spec(seed=s)) for s in (0, 1)]
    frame = frames.epochs([*rows, FAILED])
    assert list(zip(frame["seed"], frame["phase"], frame["epoch"], strict=True)) == [
        *((0, 1, 0), (0, 2, 1)),
        *((1, 1, 0), (1, 2, 1)),
    ]
    assert list(frame["val_accuracy"]) == [0.9, 0.95, 0.9, 0.95]
    assert set(frame["learning_rate"]) == {1e-3}
    assert set(frame["trial"]) == {row.key for row in rows}


def test_a_loss_that_is_no_number_stays_one() -> None:
    phase = make_phase(0.1)
    broken = phase.epochs[0].model_copy(update={"loss": float("nan"), "val_loss": float("inf")})
    row = make_result(phase1=phase.model_copy(update={"epochs": (broken,)}), phase2=None)
    line = only(frames.epochs([row]))
    assert np.isnan(line["loss"])
    assert line["val_loss"] == np.inf


# ------------------------------------------------------------------------------ costs


def test_a_measurement_is_a_line() -> None:
    spec = CostSpec(
        backbone=Backbone(name="ResNet50", weights="random"),
        workload="phase 2",
        freeze=Freeze(strategy="all"),
        batch_size=None,
    )
    line = only(frames.costs([make_cost(spec, joules_per_image=0.5, elsewhere=0.5)]))
    expected = {
        "case": spec.key,
        "backbone": "ResNet50",
        "workload": "phase 2",
        "freeze": "all",
        "mode": "default",
        "batch_size": 32,
        "device_images_per_second": 100.0,
        "device_images_per_second_low": 98.0,
        "end_to_end_images_per_second_high": 102.0,
        "latency_ms": 8.0,
        "latency_ms_p90": 9.0,
        "latency_ms_p99": 12.0,
        "memory_peak_bytes": 1_000_000_000,
        "memory_kind": "resident",
        "parameters": 2_270_794,
        "trainable_parameters": 0,
        "forward_macs": 300_000_000,
        "disk_bytes": 9_700_000,
        "joules_per_image": 0.5,
        "doubtful": True,
        "input_bound": False,
        "runs": 1,
    }
    assert {name: line[name] for name in expected} == expected
    assert line["mfu"] == pytest.approx(0.15)
    assert pd.isna(line["batch_size_asked"])


def test_a_measurement_that_failed_has_a_reason_and_no_numbers() -> None:
    row = make_cost(status="out_of_memory", reason="too large", device=None, end_to_end=None)
    row = row.model_copy(update={"latency": None, "memory": None, "size": None})
    line = only(frames.costs([row]))
    assert line["reason"] == "too large"
    assert line[["device_images_per_second", "latency_ms", "memory_peak_bytes"]].isna().all()


# ------------------------------------------------------------------------------ every frame


@pytest.mark.parametrize("what", TABLES)
def test_types_are_the_same_with_lines_and_without(what: str) -> None:
    table = TABLES[what]
    row = make_cost() if what == "costs" else make_result()
    for rows in ([], [row], [make_cost(device=None) if what == "costs" else FAILED]):
        frame = getattr(frames, what)(rows)
        assert list(frame.columns) == [c.name for c in table]
        found = {name: str(kind) for name, kind in frame.dtypes.items()}
        assert found == {c.name: TYPES.get(c.kind, c.kind) for c in table}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_column_says_what_it_is_and_in_which_unit(table: tuple) -> None:
    names = [column.name for column in table]
    assert len(names) == len(set(names))
    assert all(column.meaning for column in table)
    named_after = {"seconds": "s", "bytes": "bytes", "accuracy": "share", "per_second": "images/s"}
    for column in table:
        for end, unit in named_after.items():
            if column.name.endswith(end) and "flops" not in column.name:
                assert column.unit == unit, column.name


def test_a_frame_carries_its_units() -> None:
    frame = frames.costs([])
    assert frame.attrs["units"]["latency_ms"] == "ms"
    assert "backbone" not in frame.attrs["units"]
    assert set(frame.attrs["meaning"]) == set(frame.columns)


# ------------------------------------------------------------------------------ bench.load


def test_load_reads_a_real_folder() -> None:
    trials, epochs = bench.load(REAL), bench.load(str(REAL), "epochs")
    rows = store.read(REAL).rows
    assert len(trials) == len(rows) == 48
    assert trials["test_accuracy"].mean() == pytest.approx(np.mean([r.test_accuracy for r in rows]))
    assert trials.groupby("group").size().eq(2).all()
    last = epochs.sort_values("epoch").groupby("trial").last()["val_accuracy"]
    of_phase = trials.set_index("trial")
    ended = of_phase["phase2_val_accuracy"].fillna(of_phase["phase1_val_accuracy"])
    assert np.allclose(last.sort_index(), ended.sort_index(), atol=1e-6)


def test_load_says_which_of_several_folders_a_line_is_from(tmp_path: Path) -> None:
    a, b = written(tmp_path / "a", make_result()), written(tmp_path / "b", make_result(), FAILED)
    frame = bench.load([a, str(b)])
    assert list(frame["results"]) == [a.as_posix(), b.as_posix(), b.as_posix()]
    assert frame["group"].nunique() == 1


def test_load_warns_of_lines_that_it_cannot_read(tmp_path: Path) -> None:
    folder = written(tmp_path, make_result())
    with (folder / STACK.id / store.TRIALS).open("ab") as stream:
        stream.write(b'{"format": 1}\n')
    with pytest.warns(UserWarning, match=r"trials\.jsonl:2: left out"):
        assert len(bench.load(folder)) == 1


def test_load_says_what_there_is() -> None:
    with pytest.raises(BenchError, match="'runs': expected one of trials, epochs, costs"):
        bench.load(REAL, "runs")  # type: ignore[arg-type]
    with pytest.raises(BenchError, match="nowhere"):
        bench.load("nowhere")


def test_importing_bench_imports_neither_pandas_nor_a_framework() -> None:
    code = (
        "import sys, bench; heavy = {'pandas', 'numpy', 'keras', 'tensorflow', 'pydantic'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        f"assert len(bench.load({str(REAL)!r})) == 48;"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        bench.lode  # noqa: B018
    assert bench.load is frames.load
