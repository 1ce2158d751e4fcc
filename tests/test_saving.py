"""Taking a trial's model away: whole or not at all, nothing overwritten, and checked."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import make_card, make_result, make_spec

from bench import model_card
from bench.errors import BenchError
from bench.progress import Progress
from bench.records import Backbone, Data, Dataset, Freeze, Phase, TrialSpec
from bench.running import reload, saving
from bench.running.isolation import LocalEngine
from bench.running.messages import Finished, Setup, Written
from bench.running.reload import Reloaded
from bench.settings import Settings
from bench.tasks import Spec

CARD = make_card()


class Engine:
    """Trains nothing, and writes as it is told."""

    def __init__(self, folder: Path, *, status: str = "ok", reason: str = "") -> None:
        self.sample = folder / "scratch.npz"
        self.status, self.reason = status, reason

    def execute(
        self,
        spec: Spec,
        report: Callable[[Progress], None],
        turn: object = None,
        save: Path | None = None,
    ) -> Finished:
        assert isinstance(spec, TrialSpec)
        assert save is not None
        row = make_result(spec, status=self.status, test_correct="ff")
        if self.status != "ok":
            return Finished(result=row.model_copy(update={"reason": "no memory"}))
        save.write_bytes(b"half")
        if self.reason:
            return Finished(result=row, model=Written(reason=self.reason))
        self.sample.write_bytes(b"sample")
        save.write_bytes(b"model")
        return Finished(result=row, model=Written(card=CARD, sample=self.sample))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the model; the check of it finds what is in ``outcome``."""

    def check(path: Path, sample: Path, allowed: float, **_: object) -> tuple[Reloaded, ...]:
        assert path.read_bytes() == b"model"
        assert sample.read_bytes() == b"sample"
        ok = not (tmp_path / "wrong").exists()
        return (Reloaded(backend="jax", ok=ok, pictures=32, tolerance=allowed),)

    monkeypatch.setattr(reload, "check", check)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_model_is_there_and_nothing_beside_it(place: Path, tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    saved = saving.save(engine, make_spec(), place / "m.keras")
    assert (place / "m.keras").read_bytes() == b"model"
    assert names(place) == ["m.keras"]
    assert not engine.sample.exists()
    assert saved.checked
    assert (saved.card, saved.test_accuracy, saved.path) == (CARD, 0.9, place / "m.keras")
    assert saved.reloaded[0].tolerance == reload.CLOSE


def test_a_failed_check_is_said_and_the_model_is_left(place: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong").touch()
    saved = saving.save(Engine(tmp_path), make_spec(), place / "m.keras")
    assert not saved.checked
    assert names(place) == ["m.keras"]


def test_nobody_having_tried_it_is_no_success(place: Path, tmp_path: Path) -> None:
    saved = saving.save(Engine(tmp_path), make_spec(), place / "m.keras")
    assert not saving.Saved(saved.path, CARD, None, saved.row, ()).checked


def test_a_stored_row_tells_whether_it_is_the_same_model(place: Path, tmp_path: Path) -> None:
    saved = saving.save(Engine(tmp_path), make_spec(), place / "m.keras")
    assert saved.is_of(make_result(make_spec(), test_correct="ff"))
    assert not saved.is_of(make_result(make_spec(), test_correct="fe"))
    assert not saved.is_of(make_result(make_spec(seed=1), test_correct="ff"))


def test_a_trial_that_fails_leaves_nothing(place: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"m\.keras: its trial ended as out_of_memory: no memory"):
        saving.save(Engine(tmp_path, status="out_of_memory"), make_spec(), place / "m.keras")
    assert names(place) == []


def test_half_a_model_is_removed(place: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="cannot be written: disk full"):
        saving.save(Engine(tmp_path, reason="disk full"), make_spec(), place / "m.keras")
    assert names(place) == []


# ----------------------------------------------------------------------- what is there already


def test_what_is_there_is_replaced_only_if_told(place: Path, tmp_path: Path) -> None:
    path = place / "m.keras"
    path.write_bytes(b"somebody's")
    with pytest.raises(BenchError, match="exists already: expected a new name, or --force"):
        saving.save(Engine(tmp_path), make_spec(), path)
    assert path.read_bytes() == b"somebody's"
    assert names(place) == ["m.keras"]
    saving.save(Engine(tmp_path), make_spec(), path, force=True)
    assert path.read_bytes() == b"model"


def test_it_is_known_beforehand(place: Path) -> None:
    saving.check(place / "m.keras", "torch")
    saving.check(place / "m", "tensorflow")
    with pytest.raises(BenchError, match="only the TensorFlow backend"):
        saving.check(place / "m", "torch")
    with pytest.raises(BenchError, match="no folder"):
        saving.check(place / "none" / "m.keras", "torch")
    with pytest.raises(BenchError, match=r"expected \.keras"):
        saving.check(place / "m.h5", "torch")


def test_a_folder_that_is_no_model_of_ours_is_never_replaced(place: Path) -> None:
    folder = place / "pictures"
    folder.mkdir()
    (folder / "holiday.jpg").touch()
    with pytest.raises(BenchError, match="left alone"):
        saving.check(folder, "tensorflow", force=True)
    (folder / model_card.FOLDER).mkdir()
    (folder / model_card.FOLDER / model_card.NAME).write_text(CARD.model_dump_json())
    saving.check(folder, "tensorflow", force=True)


# ------------------------------------------------------------------------------------ end to end


MISSING = [n for n in ("TFDS_DATA_DIR", "BENCH_WEIGHTS_DIR") if not os.environ.get(n)]


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not set: no real pictures")
def test_a_real_trial_is_taken_away_and_predicts_files(tmp_path: Path) -> None:
    """Phase 2 of MobileNetV2 on flowers, its file loaded alone, and pictures predicted by it."""
    from PIL import Image

    from bench.training import predicting

    spec = TrialSpec(
        backbone=Backbone(name="MobileNetV2"),
        data=Data(
            dataset=Dataset(name="tf_flowers", tfds="tf_flowers"),
            image_size=96,
            train_examples=64,
            val_examples=32,
            test_examples=48,
        ),
        head=make_spec().head,
        freeze=Freeze(strategy="last_layers", amount=20),
        phase1=Phase(epochs=2, learning_rate=1e-3),
        phase2=Phase(epochs=1, learning_rate=1e-4),
    )
    scratch, path = tmp_path / "scratch", tmp_path / "flowers.keras"
    scratch.mkdir()
    setup = Setup(
        settings=Settings.from_environment(),
        folder=tmp_path,
        scratch=scratch,
        execution=spec.execution,
        trials=(spec,),
    )
    engine = LocalEngine(setup)
    try:
        saved = saving.save(engine, spec, path)
    finally:
        engine.close()
    assert saved.checked, saved.reloaded
    assert saved.row.way == "shared"
    assert zipfile.is_zipfile(path)
    assert saved.card.test_accuracy == saved.row.test_accuracy
    noise = Image.effect_noise((300, 200), 90).convert("RGB")
    noise.save(tmp_path / "noise.jpg")
    (guess,) = predicting.guesses(predicting.load(path), [tmp_path / "noise.jpg"], top=5)
    assert guess.classes is not None
    assert {name for name, _ in guess.classes} == set(saved.card.class_names)
    assert sum(value for _, value in guess.classes) == pytest.approx(1, abs=1e-4)
