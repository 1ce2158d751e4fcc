"""One trial in full: worked numbers, real rows, and folders that say what is not so."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import make_dataset, make_result, make_spec

from bench import marks
from bench.analysis import details, evidence
from bench.analysis.details import Detail, chosen_for_detail, detail, shown
from bench.analysis.stats import wilson
from bench.records import Backbone, Dataset, Environment, Freeze, Guard, TrialResult
from bench.running import store

REAL = Path("results/reference/real_small")
NAMES = ("rose", "tulip", "daisy")
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2], np.int32)
FIRST = (0, 0, 0, 1, 1, 1, 1, 2, 2, 1)
SECOND = (0, 0, 1, 1, 1, 1, 1, 2, 2, 2)
SURE = 0.8


def stored(
    folder: Path, predicted: tuple[int, ...], seed: int = 0, sure: float = SURE, **changes: object
) -> TrialResult:
    """A row in a store, with predictions beside it."""
    spec = make_spec(seed=seed, dataset="flowers")
    probabilities = np.full((len(LABELS), 3), (1 - sure) / 2, np.float32)
    probabilities[np.arange(len(LABELS)), predicted] = sure
    row = make_result(
        spec,
        dataset=make_dataset(class_names=NAMES, test=len(LABELS)),
        test_correct=marks.packed(np.array(predicted) == LABELS),
        predictions=f"predictions/{spec.key}.npz",
        **changes,
    )
    place = folder / row.stack.id / "predictions"
    place.mkdir(parents=True, exist_ok=True)
    hashes = np.array([f"{i:016x}" for i in range(len(LABELS))], "S16")
    np.savez(place / f"{row.key}.npz", probabilities=probabilities, labels=LABELS, pictures=hashes)
    with (folder / row.stack.id / store.TRIALS).open("ab") as file:
        file.write(store.line(row))
    return row


def read(folder: Path) -> Detail:
    found = evidence.read([folder])
    (line,) = found.lines
    return detail(found.sources[0], line)


def of(*rows: TrialResult, folder: Path = Path("nowhere")) -> list[Detail]:
    source = evidence.Source("nowhere", folder, rows)
    return [detail(source, line) for line in evidence.of([source]).lines]


def test_the_confusion_matrix_is_summed_over_seeds_with_the_truth_in_rows(tmp_path: Path) -> None:
    stored(tmp_path, FIRST, seed=0)
    stored(tmp_path, SECOND, seed=1)
    found = read(tmp_path)
    assert found.confusion is not None
    assert found.confusion.tolist() == [[5, 3, 0], [0, 6, 0], [0, 1, 5]]
    assert found.class_names == NAMES


def test_classes_of_one_seed_have_wilsons_interval_worst_first(tmp_path: Path) -> None:
    stored(tmp_path, FIRST)
    worst, middle, best = read(tmp_path).classes
    assert [c.name for c in (worst, middle, best)] == ["daisy", "rose", "tulip"]
    assert (worst.pictures, worst.accuracy) == (3, pytest.approx(2 / 3))
    assert worst.interval == wilson(2, 3)
    assert worst.interval.low == pytest.approx(0.2077, abs=1e-4)
    assert worst.interval.high == pytest.approx(0.9385, abs=1e-4)
    assert worst.most_taken_for == ("tulip", pytest.approx(1 / 3))
    assert middle.most_taken_for == ("tulip", 0.25)
    assert best.most_taken_for is None


def test_a_class_without_test_pictures_has_no_accuracy(tmp_path: Path) -> None:
    row = stored(tmp_path, FIRST)
    file = next(tmp_path.rglob("*.npz"))
    with np.load(file) as content:
        arrays = dict(content)
    named = row.dataset.model_copy(update={"class_names": (*NAMES, "weed")})
    wider = np.pad(arrays["probabilities"], ((0, 0), (0, 1)))
    np.savez(file, **(arrays | {"probabilities": wider}))
    (found,) = of(row.model_copy(update={"dataset": named}), folder=tmp_path)
    assert [c.name for c in found.classes] == ["daisy", "rose", "tulip"]
    assert found.confusion is not None
    assert found.confusion.shape == (4, 4)


def test_mistakes_of_most_seeds_come_first_and_then_the_most_confident(tmp_path: Path) -> None:
    stored(tmp_path, FIRST, seed=0, sure=0.6)
    stored(tmp_path, SECOND, seed=1, sure=0.9)
    first, second, third = read(tmp_path).mistakes
    assert (first.picture, first.truth, first.predicted) == (f"{3:016x}", "rose", "tulip")
    assert (first.seeds_wrong, first.seeds) == (2, 2)
    assert first.probability == pytest.approx(0.75)
    assert (second.picture, second.probability) == (f"{2:016x}", pytest.approx(0.9))
    assert (third.picture, third.probability) == (f"{9:016x}", pytest.approx(0.6))


def test_real_rows_agree_with_their_own_accuracy() -> None:
    found = evidence.read([REAL])
    for line in found.lines:
        shown_line = detail(found.sources[0], line)
        assert shown_line.confusion is not None
        assert line.accuracy is not None
        share = np.trace(shown_line.confusion) / shown_line.confusion.sum()
        assert share == pytest.approx(line.accuracy.value)
        assert len(shown_line.mistakes) <= details.MOST_MISTAKES
        assert len(shown_line.seeds) == 2
    accuracies = [c.accuracy for c in shown_line.classes]
    assert accuracies == sorted(accuracies)
    assert dict(shown_line.settings)["image size"] == "160 x 160 pixels"
    assert dict(shown_line.environment)["backend"] == "tensorflow 2.21.0"


def test_the_command_runs_every_seed_of_the_line() -> None:
    found = evidence.read([REAL])
    assert detail(found.sources[0], found.lines[0]).command == (
        "bench run results/reference/real_small --only c470124e6728 --only c0878a3e083d "
        "--results again"
    )


def test_the_command_chooses_the_lines_own_rows_and_their_backend(tmp_path: Path) -> None:
    def on(backend: str, seed: int, pictures: str = "f" * 64) -> TrialResult:
        stack = make_result().stack.model_copy(update={"backend": backend})
        dataset = make_dataset(fingerprint=pictures)
        return make_result(make_spec(seed=seed), stack=stack, dataset=dataset)

    def commands(*rows: TrialResult) -> dict[tuple[int, ...], list[str]]:
        return {tuple(s.seed for s in d.seeds): shlex.split(d.command) for d in of(*rows)}

    apart = commands(on("tensorflow", 0), on("tensorflow", 1, "e" * 64))
    for seed in (0, 1):
        key = make_spec(seed=seed).key[:12]
        assert apart[(seed,)][:5] == ["bench", "run", "nowhere", "--only", key]
        assert apart[(seed,)].count("--only") == 1
    (jax,) = commands(on("jax", 0), on("jax", 1)).values()
    assert jax[:3] == ["KERAS_BACKEND=jax", "bench", "run"]
    mixed = commands(on("jax", 0), on("tensorflow", 1))
    assert {words[0] for words in mixed.values()} == {
        "KERAS_BACKEND=jax",
        "KERAS_BACKEND=tensorflow",
    }


def test_the_command_is_quoted_for_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("results") / "it's; rm -rf ~"
    (found,) = of(make_result(), folder=folder)
    assert shlex.split(found.command)[2] == "results/it's; rm -rf ~"
    assert shlex.split(found.command)[-2:] == ["--results", "again"]


def test_folders_are_named_without_this_machines_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert shown(Path("results/a")) == "results/a"
    assert shown(here / "results" / "a") == "results/a"
    assert shown(tmp_path / "elsewhere" / "a") == "a"
    assert shown(Path("../elsewhere/a")) == "a"
    assert shown(Path("-n")) == "./-n"
    assert shown(Path()) == "."


def test_what_is_not_stored_is_said() -> None:
    row = make_result(dataset=make_dataset())
    (found,) = of(row)
    assert found.confusion is None
    assert (found.classes, found.mistakes) == ((), ())
    assert found.notes == ("predictions of seed 0 are not stored",)


def test_predictions_of_some_seeds_are_used_and_the_others_named(tmp_path: Path) -> None:
    stored(tmp_path, FIRST, seed=0)
    lost = stored(tmp_path, SECOND, seed=1)
    (tmp_path / lost.stack.id / "predictions" / f"{lost.key}.npz").unlink()
    found = read(tmp_path)
    assert found.confusion is not None
    assert found.confusion.sum() == len(LABELS)
    assert "predictions of seed 1 are not stored" in found.notes


def damaged(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def no_class(file: Path) -> None:
    with np.load(file) as content:
        np.savez(file, **(dict(content) | {"labels": LABELS + 1}))


def another_trial(file: Path) -> None:
    with np.load(file) as content:
        np.savez(file, **(dict(content) | {"labels": LABELS[::-1].copy()}))


@pytest.mark.parametrize("broken", [damaged, no_class, another_trial])
def test_predictions_that_do_not_fit_are_left_out(tmp_path: Path, broken: object) -> None:
    row = stored(tmp_path, FIRST)
    broken(next(tmp_path.rglob("*.npz")))
    (found,) = of(row, folder=tmp_path)
    assert found.confusion is None
    assert found.notes == ("predictions of seed 0 cannot be read, or do not fit its row",)


def test_no_row_reaches_outside_its_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "results", tmp_path / "secret"
    row = stored(outside, FIRST)
    (folder / row.stack.id / "predictions").mkdir(parents=True)
    path = f"../../../secret/{row.stack.id}/predictions/{row.key}.npz"
    (found,) = of(row.model_copy(update={"predictions": path}), folder=folder)
    assert found.confusion is None
    link = folder / row.stack.id / "predictions" / f"{row.key}.npz"
    link.symlink_to(next(outside.rglob("*.npz")))
    (found,) = of(row, folder=folder)
    assert found.confusion is None


def test_of_two_files_of_one_key_the_one_with_the_rows_answers_is_taken(tmp_path: Path) -> None:
    row = stored(tmp_path / "b", FIRST)
    stored(tmp_path / "c", SECOND)
    stored(tmp_path / "a", SECOND)
    (found,) = of(row, folder=tmp_path)
    assert found.confusion is not None
    assert found.confusion.tolist() == [[3, 1, 0], [0, 3, 0], [0, 1, 2]]


def test_failures_guards_and_caveats_are_noted() -> None:
    guard = Guard(name="no_cliff", passed=False, evidence="0.9 before, 0.5 after")
    ok = make_result(guards=(guard,), dataset=make_dataset(caveats=("tiny",), notes=("2 twice",)))
    lost = make_result(make_spec(seed=1), status="timeout", reason="2 h", test_accuracy=None)
    (found,) = of(ok, lost)
    assert found.notes == (
        "seed 0: guard no_cliff failed: 0.9 before, 0.5 after",
        "seed 1: timeout: 2 h",
        "tiny",
        "2 twice",
        "predictions of seed 0 are not stored",
    )
    assert [s.status for s in found.seeds] == ["ok", "timeout"]


def test_only_failures_give_a_detail_without_numbers() -> None:
    row = make_result(status="failed", reason="<script>", phase1=None, phase2=None)
    (found,) = of(row)
    assert found.seeds[0].phase1_epochs == ()
    assert "nothing was predicted: no seed finished" in found.notes


def test_random_weights_and_seeds_of_different_machines_are_noted() -> None:
    def machine(cores: int) -> Environment:
        return Environment(
            bench_version="0.1.0",
            python_version="3.11",
            platform="Linux",
            processor="x",
            cores=cores,
            memory_gib=8,
            packages={"numpy": "2.0"},
        )

    def row(seed: int) -> TrialResult:
        spec = make_spec(Freeze(strategy="head_only"), seed=seed)
        spec = spec.model_copy(update={"backbone": Backbone(name="X", weights="random")})
        return make_result(spec, environment=machine(2 + seed))

    (found,) = of(row(0), row(1))
    assert "random weights: accuracy is meaningless" in found.notes
    assert "seeds ran in different environments; the last one is shown" in found.notes
    assert ("processor", "x, 3 cores") in found.environment
    assert ("numpy", "2.0") in found.environment


def test_settings_name_no_folder_of_this_machine() -> None:
    spec = make_spec()
    changes = {
        "backbone": Backbone(
            name="own", file="/home/me/own.keras", weights="/home/me/w.weights.h5"
        ),
        "data": spec.data.model_copy(update={"dataset": Dataset(name="f", folder="/home/me/pics")}),
    }
    (found,) = of(make_result(spec.model_copy(update=changes)))
    said = dict(found.settings)
    assert said["backbone"] == "own (own.keras)"
    assert said["dataset"] == "f (pics)"
    assert "/home" not in str(found.settings)
    assert said["phase 1"] == "2 epochs, adam at 0.001"


def test_a_trap_is_explained() -> None:
    spec = make_spec().model_copy(update={"trap": "unpinned"})
    (found,) = of(make_result(spec))
    assert dict(found.settings)["trap"].startswith("unpinned: base(x, training=False)")


def test_a_trap_without_phase_1_is_shown_with_the_phases_it_ran() -> None:
    spec = make_spec().model_copy(update={"trap": "no_phase1"})
    (found,) = of(make_result(spec, phase1=None))
    said = dict(found.settings)
    assert (said["phase 1"], said["phase 2"]) == ("none", "3 epochs, adam at 0.001")


def test_the_best_ties_and_failures_are_shown_before_others() -> None:
    found = evidence.read([REAL])
    chosen, left_out = chosen_for_detail(found, limit=18)
    assert left_out == 6
    assert [line.number for line in chosen] == sorted(line.number for line in chosen)
    assert all(line.standing for line in chosen)
    assert chosen_for_detail(found) == (found.lines, 0)
    failed = make_result(make_spec(seed=0), status="failed", reason="x")
    others = [make_result(make_spec(Freeze(strategy="top_blocks", amount=n))) for n in range(3, 6)]
    mixed = evidence.of([evidence.Source("x", Path(), (*others, failed))])
    chosen, left_out = chosen_for_detail(mixed, limit=1)
    assert [line.group.status for line in chosen] == ["1 failed"]
    assert left_out == 3
