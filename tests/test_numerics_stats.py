"""Identical, rounding or different: fingerprints made up by hand."""

import math

import pytest
from conftest import STACK, make_numerics

from bench.analysis import numerics_stats
from bench.analysis.numerics_stats import FACTOR
from bench.numerics import SKETCH, NumericsResult
from bench.records import Backbone, WeightsUsed

TORCH = STACK.model_copy(update={"backend": "torch", "backend_version": "2.13.0"})


def moved(row: NumericsResult, probe: str, distance: float, *modes: str) -> NumericsResult:
    """The same, one probe moved by so much of its norm; in every mode, or in these."""
    place = row.probes.index(probe)
    ways = []
    for way in row.passes:
        sketches = list(way.sketches)
        sketches[SKETCH * place] += distance * way.norms[place]
        untouched = modes and way.mode not in modes
        ways.append(way if untouched else way.model_copy(update={"sketches": tuple(sketches)}))
    return row.model_copy(update={"passes": tuple(ways)})


def test_equal_numbers_are_identical() -> None:
    change = numerics_stats.compare(make_numerics(), make_numerics())
    assert (change.kind, change.text, len(change.passes)) == ("identical", "identical", 2)


def test_within_the_tolerance_it_is_rounding() -> None:
    row = make_numerics()
    other = moved(row, "layer bn", 0.5 * FACTOR * 1e-6)
    change = numerics_stats.compare(row, other)
    assert change.kind == "rounding"
    assert change.text == "rounding: at most 0.5 of the tolerance (layer bn)"
    (first, _) = change.passes
    assert (first.first, first.differing, first.probes) == (None, 0, 4)


def test_the_first_probe_beyond_it_is_named_not_the_largest() -> None:
    row = make_numerics()
    other = moved(moved(row, "layer bn", 8e-3), "gradient conv/kernel", 0.5)
    change = numerics_stats.compare(row, other)
    assert change.kind == "different"
    assert change.text == "different from layer bn on: 0.8% where rounding is 0.0001%"
    (graph, _) = change.passes
    assert graph.differing == 2
    assert graph.worst.probe == "gradient conv/kernel"  # 50,000 times its rounding, not 8,000
    assert graph.worst.ratio == pytest.approx(50_000 / FACTOR)


def test_the_larger_rounding_of_the_two_is_allowed() -> None:
    row = make_numerics()
    rough = row.model_copy(
        update={
            "passes": tuple(
                way.model_copy(update={"roundings": (6e-8, 1e-3, 1e-3, 1e-3)}) for way in row.passes
            )
        }
    )
    other = moved(rough, "layer bn", 8e-3)
    assert numerics_stats.compare(row, other).kind == "rounding"
    assert numerics_stats.compare(other, row).kind == "rounding"


def test_modes_are_compared_each_with_its_own() -> None:
    row = make_numerics()
    change = numerics_stats.compare(row, moved(row, "layer conv", 0.1, "xla"))
    assert [p.kind for p in change.passes] == ["identical", "different"]
    assert change.kind == "different"
    assert change.text.startswith("xla: different from layer conv on: 10%")


def test_across_backends_the_defaults_are_compared() -> None:
    row = make_numerics()
    eager = row.passes[0].model_copy(update={"mode": "eager"})
    torch = row.model_copy(update={"stack": TORCH, "passes": (eager,)})
    (one,) = numerics_stats.compare(row, torch).passes
    assert (one.modes, one.kind) == (("graph", "eager"), "identical")


def test_a_mode_that_only_one_has_is_left_out() -> None:
    row = make_numerics()
    graph = row.model_copy(update={"passes": row.passes[:1]})
    assert [p.modes for p in numerics_stats.compare(row, graph).passes] == [("graph", "graph")]
    xla = row.model_copy(update={"passes": row.passes[1:]})
    change = numerics_stats.compare(graph, xla)
    assert (change.kind, change.comparable) == ("not comparable", False)
    assert change.text == "not comparable: they share no execution mode"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights": WeightsUsed(source="random", sha256="c" * 64)}, "weights are not the same"),
        ({"weights": None}, "weights are not the same"),
        ({"inputs": "c" * 64}, "pictures are not the same"),
        ({"protocol": 2}, "different versions (1 and 2)"),
    ],
)
def test_what_says_nothing_of_each_other_is_not_compared(
    changes: dict[str, object], reason: str
) -> None:
    row = make_numerics()
    change = numerics_stats.compare(row, row.model_copy(update=changes))
    assert (change.kind, change.comparable) == ("not comparable", False)
    assert reason in change.text


def test_nothing_is_compared_with_a_fingerprint_that_failed() -> None:
    failed = make_numerics(status="failed", reason="no weights", passes=())
    change = numerics_stats.compare(failed, make_numerics())
    assert (change.kind, change.verdict) == ("not comparable", "unclear")
    assert "failed on tensorflow-2.21" in change.text


def test_weights_from_another_place_are_the_same_numbers() -> None:
    downloaded = WeightsUsed(source="keras.applications imagenet", sha256="a" * 64)
    change = numerics_stats.compare(make_numerics(), make_numerics(weights=downloaded))
    assert change.kind == "identical"


def test_specs_that_differ_are_named() -> None:
    row = make_numerics()
    spec = row.spec.model_copy(update={"precision": "mixed_float16", "image_size": 128})
    text = numerics_stats.compare(row, make_numerics(spec)).text
    assert text == "not comparable: they differ in image_size, precision"
    other = row.spec.model_copy(update={"backbone": Backbone(name="VGG16")})
    assert "differ in backbone" in numerics_stats.compare(row, make_numerics(other)).text


def test_new_names_alone_are_no_change() -> None:
    renamed = ("preprocessing", "layer conv_1", "layer bn_1", "gradient conv_1/kernel")
    change = numerics_stats.compare(make_numerics(), make_numerics(probes=renamed))
    assert change.kind == "identical"


def without(row: NumericsResult, place: int) -> NumericsResult:
    """A fingerprint that lacks a probe."""

    def cut(values: tuple[float, ...], width: int = 1) -> tuple[float, ...]:
        return values[: width * place] + values[width * (place + 1) :]

    ways = [
        way.model_copy(
            update={
                "norms": cut(way.norms),
                "roundings": cut(way.roundings),
                "sketches": cut(way.sketches, SKETCH),
            }
        )
        for way in row.passes
    ]
    names = row.probes[:place] + row.probes[place + 1 :]
    return make_numerics(probes=names, sizes=cut(row.sizes), passes=tuple(ways))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_layer_that_only_one_has_is_a_difference(swapped: bool) -> None:
    row = make_numerics()
    pair = (without(row, 2), row) if swapped else (row, without(row, 2))
    change = numerics_stats.compare(*pair)
    (graph, _) = change.passes
    assert (graph.kind, graph.differing, graph.probes) == ("different", 1, 4)
    assert graph.first is not None
    assert graph.first.probe == "layer bn"
    assert change.text == "different from layer bn on: in one of both only, or not finite"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_a_number_on_one_side_is_a_difference(value: float) -> None:
    row = make_numerics()
    broken = moved(row, "gradient conv/kernel", value)
    assert numerics_stats.compare(row, broken).kind == "different"
    assert numerics_stats.compare(broken, row).kind == "different"
    assert numerics_stats.compare(broken, broken).kind == "identical"


def test_zeros_on_both_sides_are_equal() -> None:
    row = make_numerics()
    ways = tuple(
        way.model_copy(update={"norms": (0.0,) * 4, "sketches": (0.0,) * 16}) for way in row.passes
    )
    zeros = make_numerics(passes=ways)
    assert numerics_stats.compare(zeros, zeros).kind == "identical"
    assert numerics_stats.compare(zeros, row).kind == "different"
