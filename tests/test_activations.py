"""Activations: computed once for each split and view, and kept for the next process."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tiny

from bench import cache
from bench.progress import Progress
from bench.records import Augmentation
from bench.settings import Settings
from bench.steps import View
from bench.training import activations, frontier, views
from bench.training.activations import Activations, Cut, Found, Source
from bench.zoo import preprocessing

FLIP = (Augmentation(kind="flip", amount="horizontal"),)
POOLED, LOW, HIGH = "pooled avg", "frontier 5", "frontier 9"
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
"""Chunks and batches of other sizes round differently."""

Make = Callable[..., Activations]


@pytest.fixture(scope="module")
def model() -> Any:
    """Used by every test, changed by none."""
    return tiny.backbone()


@pytest.fixture
def make(settings: Settings, model: Any) -> Make:
    """Activations of the tiny backbone at three cuts, on this test's own cache."""

    def made(**changes: Any) -> Activations:
        given = tiny.ingredients(tiny.spec(), model)
        fields: dict[str, Any] = {
            "backbone": model,
            "contract": given.contract,
            "splits": {"train": given.train, "val": given.val, "test": given.test},
            "identity": {"weights": "a" * 64, "image_size": tiny.SIZE},
            "about": {"ground": "tiny"},
            "label": "tiny pictures",
            "settings": settings,
            "jit": False,
            "machine": {"stack": "tiny"},
            "untrained": contextlib.nullcontext,
        }
        pooled = keras.layers.GlobalAveragePooling2D()(model.outputs[0])
        cuts = [Cut(POOLED, (pooled,))]
        cuts += [Cut(n, tuple(frontier.crossing(model, int(n.split()[1])))) for n in (LOW, HIGH)]
        return Activations(Source(**fields | changes), cuts)

    return made


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, View | None]]:
    """Every pass that begins: how many pictures, and how they are shown."""
    begun: list[tuple[int, View | None]] = []
    chunks = views.chunks

    def counting(pictures: Any, view: View | None) -> Any:
        begun.append((len(pictures), view))
        return chunks(pictures, view)

    monkeypatch.setattr(views, "chunks", counting)
    return begun


def get(
    made: Activations, cut: str = POOLED, split: Any = "val", view: View | None = None, *along: str
) -> Found:
    return made.get(cut, split, view, along, lambda _: None)


def expected(model: Any, made: Activations, cut: str, split: Any) -> np.ndarray:
    """The plain way: the contract in NumPy, then Keras' predict."""
    pictures = made._source.splits[split]
    pixels = preprocessing.reference("minus_one_to_one", pictures[np.arange(len(pictures))])
    (tensor,) = made.cuts[cut].tensors
    return keras.Model(model.input, tensor).predict(pixels.astype("float32"), verbose=0)


@pytest.mark.parametrize("cut", [POOLED, LOW, HIGH])
@pytest.mark.parametrize("chunk", [20, 13, 64])
def test_numbers_are_those_of_the_stock_model(
    make: Make, model: Any, monkeypatch: pytest.MonkeyPatch, cut: str, chunk: int
) -> None:
    """Also where the last chunk is a partial one: 20 pictures in chunks of 13."""
    monkeypatch.setattr(views, "CHUNK", chunk)
    made = make()
    (found,) = get(made, cut)
    wanted = expected(model, made, cut, "val")
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    assert wanted.std() > 0.01
    np.testing.assert_allclose(found, wanted, **CLOSE)


def test_a_split_is_passed_once(make: Make, passes: list[Any]) -> None:
    made = make()
    first, second = get(made), get(made)
    assert passes == [(20, None)]
    assert first is second
    get(made, split="train")
    assert passes == [(20, None), (48, None)]


def test_one_pass_gives_every_cut_that_is_asked_for_along(
    make: Make, model: Any, passes: list[Any]
) -> None:
    made = make()
    get(made, LOW, "val", None, POOLED, HIGH)
    for cut in (POOLED, LOW, HIGH):
        np.testing.assert_allclose(get(made, cut)[0], expected(model, made, cut, "val"), **CLOSE)
    assert len(passes) == 1


def test_what_nobody_asked_for_is_not_kept(make: Make, passes: list[Any]) -> None:
    made = make()
    get(made, POOLED, "val", None, LOW)
    get(made, HIGH)
    assert len(passes) == 2


def test_another_process_reads_them_without_a_pass(
    make: Make, passes: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = get(make())[0]
    monkeypatch.setattr(activations, "_predict", lambda *_: pytest.fail("a pass"))
    again = get(make())[0]
    assert len(passes) == 1
    np.testing.assert_array_equal(again, first)


def test_a_pass_skips_cuts_that_are_there_already(make: Make, settings: Settings) -> None:
    made = make()
    get(made, LOW)
    (entry,) = cache.entries(settings, ["activations"])
    before = (entry.path / "tensor0.npy").stat().st_mtime_ns
    get(make(), POOLED, "val", None, LOW)
    assert len(cache.entries(settings, ["activations"])) == 2
    assert (entry.path / "tensor0.npy").stat().st_mtime_ns == before


def test_they_are_mapped_from_disk_and_read_only(make: Make) -> None:
    (found,) = get(make())
    assert isinstance(found, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0.0


def test_the_identity_names_all_that_the_numbers_depend_on(make: Make) -> None:
    made = make()
    fewer = tiny.ingredients(tiny.spec()).train
    other = {"train": fewer, "val": fewer, "test": fewer}
    one = View(augmentation=FLIP, number=1)
    identities = [
        made.identity(POOLED, "val", None),
        made.identity(LOW, "val", None),
        made.identity(POOLED, "test", None),
        made.identity(POOLED, "train", None),
        made.identity(POOLED, "train", one),
        made.identity(POOLED, "train", one.model_copy(update={"number": 2})),
        made.identity(POOLED, "train", one.model_copy(update={"seed": 0})),
        made.identity(POOLED, "train", one.model_copy(update={"augmentation": FLIP * 2})),
        make(identity={"weights": "b" * 64, "image_size": tiny.SIZE}).identity(POOLED, "val", None),
    ]
    keys = {cache.key(i) for i in identities}
    assert len(keys) == len(identities)
    same_pictures = make(splits=other)
    assert cache.key(same_pictures.identity(POOLED, "val", None)) in keys  # those of train


def test_other_weights_are_not_found(make: Make, passes: list[Any]) -> None:
    get(make())
    get(make(identity={"weights": "b" * 64}))
    assert len(passes) == 2


def test_a_pass_that_is_killed_leaves_nothing(
    make: Make, settings: Settings, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "CHUNK", 8)
    predict = activations._predict
    done = 0

    def dying(*given: Any) -> Any:
        nonlocal done
        done += 1
        if done == 3:
            raise KeyboardInterrupt
        return predict(*given)

    monkeypatch.setattr(activations, "_predict", dying)
    with pytest.raises(KeyboardInterrupt):
        get(make(), POOLED, "val", None, LOW)
    assert cache.entries(settings) == []
    folder = settings.cache / "activations"
    assert [p for p in folder.iterdir() if p.is_dir()] == []
    made = make()
    np.testing.assert_allclose(get(made)[0], expected(model, made, POOLED, "val"), **CLOSE)


def test_views_differ_and_an_equal_view_is_equal(
    make: Make, passes: list[Any], settings: Settings
) -> None:
    shown = [
        None,
        View(augmentation=FLIP, number=0),
        View(augmentation=FLIP, number=1),
        View(augmentation=FLIP, number=1, seed=0),
    ]
    made = make()
    found = [np.array(get(made, POOLED, "train", view)[0]) for view in shown]
    for i, one in enumerate(found):
        assert not any(np.allclose(one, other, atol=1e-4) for other in found[i + 1 :])
    assert passes == [(48, view) for view in shown]
    cache.clear(settings)
    np.testing.assert_array_equal(get(make(), POOLED, "train", shown[2])[0], found[2])


def test_a_view_is_what_the_literal_path_trains_on(make: Make, model: Any, tmp_path: Any) -> None:
    spec = tiny.spec(augmentation=FLIP, views=2)
    made = make()
    pictures = made._source.splits["train"]
    epochs = views.EpochViews(spec, pictures, tmp_path)
    rows = np.arange(48)
    plain, first, second, third = pictures[rows], *(np.array(epochs(e)[0][rows]) for e in (0, 1, 2))
    assert (first != plain).any()
    assert (first != second).any()
    np.testing.assert_array_equal(first, third)
    inside = keras.Model(model.input, made.cuts[POOLED].tensors[0])
    prepared = preprocessing.reference("minus_one_to_one", second).astype("float32")
    (found,) = get(made, POOLED, "train", View(augmentation=FLIP, number=1))
    np.testing.assert_allclose(found, inside.predict(prepared, verbose=0), **CLOSE)


def test_progress_counts_pictures(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "CHUNK", 8)
    said: list[Progress] = []
    make().get(POOLED, "val", None, (), said.append)
    assert [(p.stage, p.step, p.steps) for p in said] == [
        ("activations", step, 20) for step in (8, 16, 20)
    ]


def test_a_cache_that_is_cleared_behind_our_back_is_filled_again(
    make: Make, settings: Settings, passes: list[Any]
) -> None:
    made = make()
    first = np.array(get(made)[0])
    cache.clear(settings)
    np.testing.assert_array_equal(get(made)[0], first)  # still mapped
    assert len(passes) == 1
    np.testing.assert_array_equal(get(make())[0], first)
    assert len(passes) == 2


def test_entries_say_what_they_are(make: Make, settings: Settings) -> None:
    get(make(), LOW, "train", View(augmentation=FLIP, number=3))
    ((identity, content, size),) = cache.manifests(settings, "activations")
    (entry,) = cache.entries(settings)
    assert entry.name == "tiny pictures frontier 5 train view 3"
    assert content["ground"] == "tiny"
    assert content["numbers"] == 7 * 7 * 4
    assert size == 48 * content["numbers"] * 4
    assert identity["cut"] == LOW
