"""The shared path against the literal one: equal numbers, whatever was computed once."""

import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tiny
from conftest import STACK

from bench import cache
from bench.cache import checksums
from bench.cache.folders import MANIFEST
from bench.records import (
    Augmentation,
    Backbone,
    Dataset,
    EarlyStopping,
    Execution,
    Freeze,
    Head,
    HeadLayer,
    Phase,
    TrialSpec,
)
from bench.settings import Settings
from bench.training import activations, execution, frontier, modes, protocol, stacking
from bench.training.batches import Pictures
from bench.training.grounds import Workplace
from bench.training.trial import run_trial
from bench.zoo import backbones, preprocessing, rewriting

NEEDS = ("TFDS_DATA_DIR", "BENCH_WEIGHTS_DIR")
missing = [name for name in NEEDS if not os.environ.get(name)]

REAL_WITHIN, REAL_MOVED = 5e-3, 1e-5
"""As `tiny.WITHIN` and `tiny.MOVED`, for real backbones: hundreds of layers, lower rates."""

FLIP = (Augmentation(kind="flip", amount="horizontal"),)
DROPOUT = Head(name="dropout", layers=(HeadLayer(dropout=0.3),))
MLP = Head(name="mlp", layers=(HeadLayer(dense=7), HeadLayer(dropout=0.3)))
MAXIMUM = Head(name="max", pooling="max", layers=(HeadLayer(dropout=0.3),), output="probabilities")


def spec(strategy: str, amount: Any = None, **changes: Any) -> TrialSpec:
    """Two epochs of phase 1 and two of phase 2, at rates that move weights."""
    phases = {
        "phase1": Phase(epochs=2, learning_rate=0.02),
        "phase2": Phase(epochs=2, learning_rate=3e-3),
    }
    if strategy == "head_only":
        phases["phase2"] = None
    fields = {"head": DROPOUT} | phases | changes
    return tiny.spec(Freeze(strategy=strategy, amount=amount), **fields)


TRIALS = {
    "two blocks": spec("top_blocks", 2),
    "head only, after two blocks trained": spec("head_only", seed=1),
    "through a block, affine, two views": spec(
        "from_layer", 6, seed=1, batch_norm="affine", head=MLP, augmentation=FLIP, views=2
    ),
    "training mode": spec("top_blocks", 1, seed=1, batch_norm="train"),
    "everything, in training mode": spec("all", batch_norm="train"),
    "two blocks, another seed, at last": spec("top_blocks", 2, seed=1),
}
"""In the order in which they run on one workbench: what one leaves behind, the next one meets."""

SLOW_TRIALS = {
    "one block, another seed": spec("top_blocks", 1, seed=1),
    "per-seed views, another pooling": spec(
        "top_blocks", 1, augmentation=FLIP, views="per-seed", head=MAXIMUM
    ),
    "one view an epoch": spec("from_layer", "block2_conv", augmentation=FLIP, views="per-epoch"),
    "head only, one view an epoch": spec(
        "head_only", seed=2, augmentation=FLIP, views="per-epoch", head=MLP
    ),
    "everything": spec("all", seed=1),
    "no block left to share": spec("last_layers", 2),
    "affine": spec("top_blocks", 2, seed=3, batch_norm="affine", augmentation=FLIP, views=2),
    "stops early": spec(
        "top_blocks",
        1,
        seed=1,
        phase1=Phase(epochs=9, learning_rate=0.3, early_stopping=EarlyStopping(patience=1)),
        phase2=Phase(epochs=9, learning_rate=0.1, early_stopping=EarlyStopping(patience=1)),
        augmentation=FLIP,
        views="per-epoch",
    ),
    "other optimizers": spec(
        "top_blocks",
        1,
        phase1=Phase(epochs=2, learning_rate=0.02, optimizer="sgd"),
        phase2=Phase(epochs=2, learning_rate=3e-3, optimizer="rmsprop"),
    ),
    "two blocks, per-seed views": spec(
        "top_blocks", 2, seed=2, augmentation=FLIP, views="per-seed"
    ),
}
AGAIN = ("everything, in training mode", "head only, after two blocks trained", "two blocks")
"""Of the quick trials those that also run last, the other way round: most training comes first."""


# -------------------------------------------------------------------------------- the contract


@dataclasses.dataclass
class Session:
    """What trials left, that ran one after another on one workbench."""

    settings: Settings
    ran: dict[str, tiny.Ran]


def session(trials: dict[str, TrialSpec], folder: Path) -> Session:
    settings = Settings(cache=folder / "cache")
    bench = tiny.bench_for(list(trials.values()), settings)
    return Session(settings, {name: tiny.by_sharing(t, bench) for name, t in trials.items()})


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return session(TRIALS, tmp_path_factory.mktemp("sharing"))


@pytest.fixture(scope="module")
def literal() -> Callable[[str], tiny.Ran]:
    """The literal path's outcome of a trial by name, computed once."""
    return functools.cache(lambda name: tiny.literally(TRIALS[name]))


@pytest.mark.parametrize("name", TRIALS)
def test_the_shared_path_equals_the_literal_one(
    name: str, together: Session, literal: Callable[[str], tiny.Ran]
) -> None:
    tiny.assert_equal(together.ran[name], literal(name))
    assert together.ran[name].guards["shared_work"].passed
    assert together.ran[name].failing == set()


@pytest.mark.slow
def test_the_shared_path_equals_the_literal_one_in_any_order(tmp_path: Path) -> None:
    """One test, for they share a workbench, and processes that share the tests would not."""
    backwards = {name: TRIALS[name] for name in reversed(TRIALS) if name in AGAIN}
    trials = SLOW_TRIALS | backwards
    assert len(backwards) == len(AGAIN)
    for name, found in session(trials, tmp_path).ran.items():
        print(name)  # shown if it fails
        tiny.assert_equal(found, tiny.literally(trials[name]))
        assert found.guards["shared_work"].passed
        assert "shared_work" not in found.failing


@pytest.mark.parametrize("name", ["training mode", "everything, in training mode"])
def test_what_has_no_constant_part_trains_whole(name: str, together: Session) -> None:
    evidence = together.ran[name].guards["shared_work"].evidence
    assert "phase 2: nothing shared" in evidence
    assert "phase 1: pooled features" in evidence


def test_a_frontier_without_room_is_not_shared(
    settings: Settings, literal: Callable[[str], tiny.Ran]
) -> None:
    name = "two blocks"
    bench = tiny.bench_for([TRIALS[name]], settings, activations_bytes=0)
    found = tiny.by_sharing(TRIALS[name], bench)
    tiny.assert_equal(found, literal(name))
    assert "phase 2: nothing shared" in found.guards["shared_work"].evidence
    assert all("frontier" not in e.name for e in cache.entries(settings))


def test_finding_out_whether_xla_is_faster_leaves_no_trace(
    settings: Settings, literal: Callable[[str], tiny.Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measuring a step trains the model: it must come out as it went in."""

    def choose(identity: Any, step: Callable[[bool], Any], *_: Any) -> modes.Mode:
        run = step(False)
        run(), run()
        return modes.Mode("graph", "measured")

    monkeypatch.setattr(modes, "choose", choose)
    found = tiny.by_sharing(TRIALS["two blocks"], tiny.bench_for([TRIALS["two blocks"]], settings))
    assert "measured" in found.phases[1].execution
    tiny.assert_equal(found, literal("two blocks"))


def test_the_next_process_does_nothing_twice(
    together: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a single bit differently."""
    monkeypatch.setattr(activations, "_predict", lambda *_: pytest.fail("a pass"))
    monkeypatch.setattr(stacking, "train", lambda *_: pytest.fail("a stack"))
    before = together.ran["two blocks"]
    bench = tiny.bench_for(list(TRIALS.values()), together.settings)
    again = tiny.by_sharing(TRIALS["two blocks"], bench)
    for path, value in before.weights.items():
        np.testing.assert_array_equal(again.weights[path], value)
    np.testing.assert_array_equal(again.states, before.states)
    assert again.phases[0].epochs == before.phases[0].epochs
    assert tiny.measured(again.phases[1]) == tiny.measured(before.phases[1])
    np.testing.assert_array_equal(
        again.outcome.test.probabilities, before.outcome.test.probabilities
    )


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("head only, after two blocks trained", "pooled avg val"),
        ("two blocks", "frontier 5 val"),
    ],
)
def test_activations_that_are_wrong_fail_their_guard_alone(
    name: str, entry: str, together: Session, tmp_path: Path
) -> None:
    settings = Settings(cache=tmp_path / "cache")
    shutil.copytree(together.settings.cache, settings.cache)
    (found,) = (e for e in cache.entries(settings, ["activations"]) if e.name.endswith(entry))
    numbers = np.load(found.path / "tensor0.npy", mmap_mode="r+")
    numbers[:] *= 1.002
    numbers.flush()
    content = json.loads((found.path / MANIFEST).read_bytes())["entry"]
    (found.path / MANIFEST).write_text(json.dumps(content))
    checksums.seal(found.path)  # else it would be told as damaged, and made again
    again = tiny.by_sharing(TRIALS[name], tiny.bench_for(list(TRIALS.values()), settings))
    assert again.failing == {"shared_work"}


def test_every_seeds_head_comes_from_one_stack(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    train = stacking.train

    def counting(stack: Any, *rest: Any) -> Any:
        sizes.append(len(stack))
        return train(stack, *rest)

    monkeypatch.setattr(stacking, "train", counting)
    seeds = [spec("head_only", seed=seed) for seed in range(3)]
    others = [spec("top_blocks", 1, seed=2), spec("head_only", head=MLP)]
    bench = tiny.bench_for([*seeds, *others], settings)
    for trial in [*seeds, others[0]]:
        assert len(bench.head(trial, lambda _: None).epochs) == 2
    assert sizes == [3]
    assert len(cache.entries(settings, ["heads"])) == 3


def test_heads_of_several_poolings_come_from_one_pass(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    poolings = ("avg", "max", "flatten")
    trials = [spec("head_only", head=Head(name=p, pooling=p)) for p in poolings]
    passes: list[int] = []
    predict = activations._predict
    monkeypatch.setattr(
        activations, "_predict", lambda *given: (passes.append(1), predict(*given))[1]
    )
    bench = tiny.bench_for(trials, settings)
    found = {p: bench.at(f"pooled {p}", "val", None, lambda _: None)[0] for p in poolings}
    assert passes == [1]
    assert [found[p].shape for p in poolings] == [(20, 8), (20, 8), (20, 8)]
    np.testing.assert_array_equal(found["avg"], found["flatten"])  # a map of one pixel


def test_an_impossible_sibling_stops_nobody(settings: Settings) -> None:
    good = spec("head_only")
    siblings = [
        spec("top_blocks", 9),
        spec("from_layer", "block9_conv"),
        spec("auto"),
        spec("head_only", head=Head(name="binary", loss="binary")),
        spec("scratch", phase1=None, batch_norm="train"),
    ]
    bench = tiny.bench_for([*siblings, good], settings)
    assert len(bench.head(good, lambda _: None).epochs) == 2


# ------------------------------------------------------------------------------ real backbones


def real_given(name: str, blocks: int, rewritten: bool) -> protocol.Ingredients:
    """A backbone's first blocks with random weights and pictures of 32 by 32: 16 train, 8, 8.

    Blocks behind them would repeat their operations; whole backbones are cut in `test_frontier`.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    row = backbones.row(name)
    whole = backbones.construct(row, REAL_SIZE, None)
    starts = backbones.block_starts(row.blocks, [layer.name for layer in whole.layers])
    (end,) = frontier.crossing(whole, starts[blocks])
    model = keras.Model(whole.input, end)
    pixels, labels = tiny.pictures(32)
    pixels = pixels.repeat(2, axis=1).repeat(2, axis=2)
    awaken(model, preprocessing.reference(row.preprocessing, pixels[:16]).astype("float32"))
    if rewritten:
        assert rewriting.depthwise(model).layers == (blocks if "ConvNeXt" in name else 0)

    def split(first: int, last: int) -> Pictures:
        indices = np.arange(first, last)
        return Pictures(pixels, indices, labels[indices], tuple(f"{i:064x}" for i in indices))

    return dataclasses.replace(
        tiny.ingredients(tiny.spec(), model),
        contract=row.preprocessing,
        block_starts=backbones.block_starts(row.blocks, [layer.name for layer in model.layers]),
        train=split(0, 16),
        val=split(16, 24),
        test=split(24, 32),
    )


def awaken(model: Any, pixels: np.ndarray) -> None:
    """Random weights whose features differ between pictures, as those of trained ones do.

    BatchNorm takes its statistics from some pictures, and ConvNeXt's layer scale, which begins at
    1e-6 and hides every block, is raised.
    """
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [x.momentum for x in norms]
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        model(pixels, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for weight in model.weights:
        if "layer_scale" in weight.path:
            weight.assign(keras.ops.full_like(weight, 0.5))


REAL_SIZE = 32
REAL = [
    ("MobileNetV2", 6, FLIP, 2e-3),  # residual additions
    ("EfficientNetV2B0", 8, (), 0.05),  # squeeze and excite, blocks left out at random
    ("ConvNeXtTiny", 5, (), 1e-3),  # depthwise convolutions that the rewrite replaces
]
"""With how many blocks: the last one, which trains, is of the kind that is named."""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "blocks", "augmentation", "rate"), REAL)
def test_real_backbones_train_equally_both_ways(
    name: str,
    blocks: int,
    augmentation: Any,
    rate: float,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stock operations on the literal side, the depthwise rewrite on the shared one.

    With SGD: Adam moves a weight whose gradient is all but zero by its full rate, in a direction
    that rounding decides.
    """
    monkeypatch.setattr(rewriting, "FASTER", 0.0)  # pictures so small, or a busy machine
    trial = spec(
        *("top_blocks", 1),
        phase1=Phase(epochs=2, learning_rate=rate, optimizer="sgd"),
        phase2=Phase(epochs=1, learning_rate=rate, optimizer="sgd"),
        execution=Execution(batch_size=8),
        augmentation=augmentation,
        views="per-epoch" if augmentation else "per-seed",
    )
    data = trial.data.model_copy(update={"image_size": REAL_SIZE})
    trial = trial.model_copy(update={"data": data})
    wanted = tiny.literally(trial, real_given(name, blocks, rewritten=False))
    bench = tiny.bench_for([trial], settings, real_given(name, blocks, rewritten=True))
    found = tiny.by_sharing(trial, bench)
    tiny.assert_equal(found, wanted, REAL_WITHIN, REAL_MOVED)
    assert "feature map from the frontier" in found.guards["shared_work"].evidence
    assert found.failing == set()


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not set: no real pictures")
def test_real_weights_and_pictures_measure_equally_both_ways(tmp_path: Path) -> None:
    data = tiny.spec().data.model_copy(
        update={
            "dataset": Dataset(name="tf_flowers"),
            "image_size": 96,
            "train_examples": 128,
            "val_examples": 64,
            "test_examples": 64,
        }
    )
    trial = spec("top_blocks", 2, phase2=Phase(epochs=1, learning_rate=1e-4))
    trial = trial.model_copy(update={"data": data, "backbone": Backbone(name="MobileNetV2")})
    settings = Settings.from_environment()
    decoded, fresh = settings.cache / "images", tmp_path / "cache"
    decoded.mkdir(parents=True, exist_ok=True)
    fresh.mkdir()
    (fresh / "images").symlink_to(decoded)  # of all that is cached, only what other tests decode
    settings = settings.model_copy(update={"cache": fresh})
    rows = []
    for literal in (True, False):
        place = Workplace(
            *(settings, tmp_path, STACK, execution.environment()), literal=literal, trials=[trial]
        )
        rows.append(run_trial(trial, place, lambda _: None))
    (wanted, expected), (found, given) = rows
    assert (wanted.status, found.status) == ("ok", "ok"), wanted.reason + found.reason
    assert (wanted.way, found.way) == ("literal", "shared")
    assert wanted.failed_guards == found.failed_guards == ()
    for mine, theirs in ((found.phase1, wanted.phase1), (found.phase2, wanted.phase2)):
        np.testing.assert_allclose(tiny.measured(mine), tiny.measured(theirs), rtol=1e-3, atol=1e-5)
    assert wanted.test_accuracy > 0.4  # chance is a fifth
    np.testing.assert_allclose(
        given.scores.probabilities, expected.scores.probabilities, rtol=1e-2, atol=1e-4
    )
