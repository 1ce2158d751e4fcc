"""Weights that changed between two runs into one results folder."""

from pathlib import Path

import pytest
from conftest import make_result, make_spec

from bench.errors import WeightsError
from bench.records import Backbone, TrialResult, WeightsUsed
from bench.running import earlier_weights, store
from bench.zoo import same_weights

MOBILENET, RESNET = Backbone(name="MobileNetV2"), Backbone(name="ResNet50")


def row(backbone: Backbone, sha256: str, seed: int = 0, **changes: object) -> TrialResult:
    spec = make_spec(seed=seed).model_copy(update={"backbone": backbone})
    source = "random" if backbone.weights == "random" else "a.h5"
    used = WeightsUsed(source=source, sha256=sha256 * 64)
    return make_result(spec, weights=used, **changes)


def kept(folder: Path, *rows: TrialResult) -> Path:
    with store.writing(folder) as held:
        for one in rows:
            held.append(one, None)
    return folder


def test_what_rows_were_measured_with(tmp_path: Path) -> None:
    random = Backbone(name="MobileNetV2", weights="random")
    kept(
        tmp_path,
        row(RESNET, "f", status="failed"),
        row(random, "c"),
        row(MOBILENET, "a"),
        row(MOBILENET, "b", seed=1),
    )
    trials = [make_spec().model_copy(update={"backbone": b}) for b in (MOBILENET, RESNET, random)]
    assert earlier_weights.read(tmp_path, trials) == {same_weights.name_of(MOBILENET): "a" * 64}


def test_no_rows_ask_for_nothing(tmp_path: Path) -> None:
    assert earlier_weights.read(tmp_path, [make_spec()]) == {}
    assert earlier_weights.read(tmp_path / "none", [make_spec()]) == {}


def test_other_weights_are_an_error_that_says_what_to_do() -> None:
    used = WeightsUsed(source="a.h5", sha256="b" * 64)
    with pytest.raises(WeightsError, match=r"a\.h5 are not those .*(a{12}) there, b{12} now.*put"):
        same_weights.check(MOBILENET, used, {same_weights.name_of(MOBILENET): "a" * 64})


@pytest.mark.parametrize(
    "earlier",
    [{}, {same_weights.name_of(RESNET): "a" * 64}, {same_weights.name_of(MOBILENET): "b" * 64}],
    ids=["none", "another backbone", "the same"],
)
def test_the_same_weights_pass(earlier: dict[str, str]) -> None:
    same_weights.check(MOBILENET, WeightsUsed(source="a.h5", sha256="b" * 64), earlier)
    random = WeightsUsed(source="random", sha256="9" * 64)
    same_weights.check(MOBILENET, random, {same_weights.name_of(MOBILENET): "a" * 64})
