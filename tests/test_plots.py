"""Plots: what is in the figures, what is said about them, and how they are written."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.dom import minidom

import numpy as np
import pytest
from conftest import STACK, make_cost, make_dataset, make_phase, make_rate, make_result, make_spec

from bench import marks
from bench.analysis import evidence, naming
from bench.analysis.accuracy_stats import accuracy_difference
from bench.analysis.evidence import Evidence, Source
from bench.costs import CostResult, CostSpec
from bench.errors import BenchError, UnknownNameError
from bench.records import (
    Backbone,
    Dataset,
    Epoch,
    Freeze,
    Guard,
    PhaseResult,
    TrialResult,
    WeightsUsed,
)
from bench.reporting.plots import chosen, clouds, gallery, history, style
from bench.reporting.plots.panel import Panel, stem
from bench.running.cases import of_trial

REAL = Path("results/reference/real_small")
STACKS = Path("results/reference/stacks")
HOSTILE = (
    "../../x",
    "<script>alert(1)</script>",
    "$\\frac{a}{$",
    "_u",
    "日本 \u202e\x00",
    "-->&]]>",
)
HEAD, TOP, ALL = Freeze(strategy="head_only"), Freeze(strategy="top_blocks", amount=2), Freeze(
    strategy="all"
)  # fmt: skip


def row(
    backbone: str = "MobileNetV2",
    freeze: Freeze = TOP,
    right: int = 150,
    seed: int = 0,
    dataset: str = "digits",
    **changes: Any,
) -> TrialResult:
    """A trial that has so many of 179 pictures right; ``trap``, ``weights`` go into its spec."""
    spec = make_spec(freeze, seed, dataset)
    weights = changes.pop("weights", "imagenet")
    update: dict[str, Any] = {
        "backbone": Backbone(name=backbone, weights=weights),
        "trap": changes.pop("trap", None),
    }
    if freeze == HEAD:
        update["phase2"] = None
        changes.setdefault("phase2", None)
    spec = spec.model_copy(update=update)
    correct = np.arange(179) < right
    fields = {
        "test_accuracy": right / 179,
        "test_correct": marks.packed(correct),
        "dataset": make_dataset(fingerprint=(dataset + "f" * 64)[:64]),
    }
    return make_result(spec, **(fields | changes))


def of(rows: Sequence[TrialResult], costs: Sequence[CostResult] = ()) -> Evidence:
    return evidence.of([Source("results", Path("results"), tuple(rows), tuple(costs))])


def only(found: Evidence, name: str) -> Panel:
    (panel,) = gallery.panels(found, [name])
    return panel


def drawn(panel: Panel, gid: str, axes: int = 0) -> list[Any]:
    """Artists of this kind on one of the figure's axes."""
    figure = panel.draw("light")
    return [a for a in figure.axes[axes].get_children() if a.get_gid() == gid]


def words(panel: Panel) -> set[str]:
    """Every text in the figure."""
    from matplotlib.text import Text

    return {str(t.get_text()).strip() for t in panel.draw("light").findobj(Text)}  # type: ignore[attr-defined]


def phase(values: Sequence[float], first: int = 0, parameters: int = 10_000) -> PhaseResult:
    """A phase with these val accuracies."""
    epochs = tuple(
        Epoch(index=first + i, loss=1, accuracy=v / 2, val_loss=1, val_accuracy=v,
              learning_rate=1e-3, seconds=1)
        for i, v in enumerate(values)
    )  # fmt: skip
    whole = make_phase(values[-1], parameters, first)
    return whole.model_copy(update={"epochs": epochs})


# ---------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize("folder", [REAL, STACKS])
def test_every_panel_of_real_results_draws_and_speaks(folder: Path) -> None:
    found = list(gallery.panels(evidence.read([folder])))
    assert len({p.name for p in found}) == len(found) > 5
    for panel in found:
        assert re.fullmatch(r"[a-z0-9-]+", panel.name)
        assert re.search(r"\d", panel.alt), panel.name
        assert "results/" not in panel.alt + panel.caption
        assert len(panel.caption) > 60
    some = found[:: max(1, len(found) // 4)]
    assert all(len(gallery.svg(panel, "dark")) < 500_000 for panel in some)


@pytest.mark.parametrize(
    "rows", [[], [row(status="failed", test_accuracy=None, test_correct=None)]]
)
def test_what_has_no_data_has_no_panel(rows: list[TrialResult]) -> None:
    assert list(gallery.panels(of(rows))) == []


def test_random_weights_are_in_no_plot_of_accuracy() -> None:
    found = of([row(weights="random"), row(freeze=HEAD)])
    for panel in gallery.panels(found):
        assert "1 trial with random weights" in panel.caption or "gain" in panel.name
        assert "top_blocks" not in panel.alt
    assert list(gallery.panels(of([row(weights="random")]))) == []


def test_one_trial_is_enough_for_its_plots() -> None:
    names = [panel.name for panel in gallery.panels(of([row()]))]
    assert names == [
        *("accuracy-train-speed-digits", "accuracy-parameters-digits"),
        *("history-digits-mobilenetv2", "freezes-digits", "gain-digits"),
    ]


def test_an_unknown_plot_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="did you mean freezes"):
        gallery.panels(of([row()]), ["freeze"])


def test_hostile_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    rows = [row(name, dataset=name, right=90 + 9 * i) for i, name in enumerate(HOSTILE)]
    costs = [make_cost(CostSpec(backbone=Backbone(name=n), workload="inference")) for n in HOSTILE]
    found = list(gallery.panels(of([*rows, row("m", dataset=HOSTILE[1])], costs)))
    assert len({panel.name for panel in found}) == len(found)
    for panel in found[::3]:
        assert re.fullmatch(r"[a-z0-9-]+", panel.name)
        text = gallery.svg(panel, "light")
        minidom.parseString(text)
        assert b"<script" not in text
    file, _ = gallery.save(found[0], tmp_path / "plots")
    assert [f.name for f in (tmp_path / "plots").iterdir() if f == file] == [file.name]
    assert list(tmp_path.iterdir()) == [tmp_path / "plots"]
    assert "$\\frac{a}{$" in words(next(p for p in found if "frac" in p.name and "free" in p.name))


def test_two_names_that_look_alike_as_files_have_two_files() -> None:
    found = [row(dataset=name) for name in ("a/b", "a b", "A-B")]
    names = [panel.name for panel in gallery.panels(of(found), ["freezes"])]
    assert names == ["freezes-a-b", "freezes-a-b-2", "freezes-a-b-3"]


def test_a_stem_is_short_and_harmless() -> None:
    assert stem("history", "../tf_flowers", "") == "history-tf-flowers"
    assert len(stem("x" * 300)) == 80
    assert stem("plot", "日本") == "plot"


def test_two_thousand_trials_stay_small_and_are_counted() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(2_000):
        made = row(f"net{i % 15}", right=int(rng.integers(90, 175)), seed=0)
        rate = made.spec.phase1.model_copy(update={"learning_rate": 1e-3 / (1 + i)})  # type: ignore[union-attr]
        spec = made.spec.model_copy(update={"phase1": rate})
        faster = phase([0.9]).model_copy(update={"images_per_second": 20 + float(rng.random())})
        rows.append(made.model_copy(update={"spec": spec, "key": spec.key, "phase2": faster}))
    panel = only(of(rows), "accuracy-train-speed")
    text = gallery.svg(panel, "light")
    assert len(text) < 500_000
    assert panel.caption.startswith("2,000 trials, those behind the front faint")
    assert "3 others" in words(panel)  # of 15 backbones 12 are named


def test_a_file_of_weights_is_called_by_its_name() -> None:
    rows = [row(), row(weights="/home/alice/secret/own.weights.h5")]
    found = list(gallery.panels(of(rows)))
    assert not any("alice" in p.alt + p.caption + p.title + p.name for p in found)
    assert any("own.weights.h5" in p.alt for p in found)
    assert not any("alice" in word for word in words(next(p for p in found if "gain" in p.name)))


# --------------------------------------------------------------------------------------- files


def test_equal_panels_are_equal_bytes_without_a_date() -> None:
    first, second = (only(of([row(), row(freeze=HEAD)]), "accuracy-train-speed") for _ in "ab")
    text = gallery.svg(first, "light")
    assert text == gallery.svg(second, "light")
    assert text.startswith(b"<svg")
    assert b"date" not in text.lower()
    assert text != gallery.svg(first, "dark")


def test_panels_can_stand_in_one_page() -> None:
    panel = only(of([row()]), "freezes")
    ids = [
        set(re.findall(rb'\bid="([^"]+)"', gallery.svg(panel, theme)))
        for theme in ("light", "dark")
    ]
    assert ids[0]
    assert not ids[0] & ids[1]
    text = gallery.svg(panel, "light")
    used = set(re.findall(rb'xlink:href="#([^"]+)"|url\(#([^)]+)\)', text))
    assert {a or b for a, b in used} <= ids[0]


def test_saved_are_a_png_of_150_dpi_and_an_svg(tmp_path: Path) -> None:
    from PIL import Image

    panel = only(of([row()]), "freezes")
    png, svg = gallery.save(panel, tmp_path / "new")
    assert (png.name, svg.name) == ("freezes-digits.png", "freezes-digits.svg")
    with Image.open(png) as picture:
        assert picture.width == round(150 * style.WIDTH)
    assert svg.read_bytes().startswith(b"<svg")


def test_drawn_are_a_light_png_and_svg_and_a_dark_svg_each_theme_once() -> None:
    panel = only(of([row()]), "freezes")
    themes: list[str] = []

    def draw(theme: gallery.Theme) -> Any:
        themes.append(theme)
        return panel.draw(theme)

    found = gallery.drawn(replace(panel, draw=draw))
    assert themes == ["light", "dark"]
    assert found.png.startswith(b"\x89PNG")
    assert found.light_svg.startswith(b"<svg")
    assert b"#ffffff" in found.light_svg
    assert found.dark_svg == gallery.svg(panel, "dark")


@pytest.mark.parametrize(("name", "said"), [("a.gif", "written as .png"), ("file/a.png", "cannot")])
def test_a_file_that_cannot_be_written_is_one_error(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match=said):
        gallery.write(only(of([row()]), "freezes"), tmp_path / name, "light")


def test_the_users_own_settings_change_nothing_and_are_kept() -> None:
    import matplotlib

    panel = only(of([row()]), "freezes")
    before = gallery.svg(panel, "light")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert gallery.svg(panel, "light") == before
        assert matplotlib.rcParams["font.size"] == 30


def test_importing_and_listing_needs_no_matplotlib() -> None:
    code = (
        "import sys, bench.reporting.plots.gallery as p; list(p.PLOTS);"
        "print([m for m in ('matplotlib', 'seaborn', 'keras') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------- scatter


def test_points_lie_at_their_accuracy_and_cost_and_the_front_is_drawn() -> None:
    slow = make_phase(0.9, 1_000).model_copy(update={"images_per_second": 10.0})
    last = slow.model_copy(update={"images_per_second": 280.0})
    rows = [
        *(row(right=170, phase2=slow), row(freeze=HEAD, right=150)),
        row(freeze=ALL, right=100, phase2=last),
    ]
    panel = only(of(rows), "accuracy-train-speed")
    front = sorted(
        (float(a.get_xdata()[0]), float(a.get_ydata()[0])) for a in drawn(panel, "front")
    )
    assert front == [(10.0, pytest.approx(100 * 170 / 179)), (300.0, pytest.approx(15000 / 179))]
    (line,) = drawn(panel, "pareto")
    assert list(line.get_xdata()) == [300.0, 10.0]
    assert panel.draw("light").axes[0].get_xscale() == "log"
    assert "highest is MobileNetV2 top_blocks=2 with 95.0% at 10.0 images/s" in panel.alt
    assert "fastest on the front is MobileNetV2 head_only with 83.8% at 300" in panel.alt
    assert {"top_blocks=2", "head_only"} <= words(panel)


def test_a_point_near_the_front_is_marked_and_counted() -> None:
    rows = [row(right=160), row(freeze=ALL, right=158)]
    panel = only(of(rows), "accuracy-train-speed")
    (ring,) = drawn(panel, "maybe")
    assert list(ring.get_ydata()) == [pytest.approx(15800 / 179)]
    assert "A ring marks 1 more" in panel.caption


def test_a_cost_that_all_share_is_no_plot() -> None:
    assert not list(gallery.panels(of([row(), row(freeze=ALL)]), ["accuracy-parameters"]))


def test_points_of_equal_cost_do_not_hide_each_other() -> None:
    rows = [row(), row(freeze=HEAD), row("Big", total_parameters=20_000_000)]
    panel = only(of(rows), "accuracy-parameters")
    at = [float(x) for gid in ("front", "behind") for a in drawn(panel, gid) for x in a.get_xdata()]
    assert len({round(x, 6) for x in at}) == 3
    assert sorted(at)[:2] == pytest.approx([2.27, 2.27], rel=0.06)
    assert "side by side" in panel.caption


def test_a_few_far_below_are_named_at_the_edge() -> None:
    rows = [row(f"net{i}", right=160 + i) for i in range(5)] + [row("low", right=20)]
    panel = only(of(rows), "accuracy-train-speed")
    assert panel.draw("light").axes[0].get_ylim()[0] > 70
    (mark,) = drawn(panel, "below")
    assert mark.get_marker() == drawn(panel, "front")[0].get_marker()
    assert "11.2% ↓" in words(panel)
    assert "only named at the lower edge: 1 trial" in panel.caption


def test_many_far_below_are_no_outliers() -> None:
    rows = [row(f"net{i}", right=160 if i % 2 else 20) for i in range(6)]
    (field,) = chosen.sound(of(rows))
    cloud = clouds.cloud(clouds.AXES[0], field)
    assert cloud is not None
    assert clouds.cut(cloud) is None


def test_each_stack_has_plots_and_a_front_of_its_own() -> None:
    other = STACK.model_copy(update={"backend": "jax", "backend_version": "0.10"})
    rows = [row(right=120), row(stack=other), row(freeze=HEAD, stack=other, right=100)]
    names = ("accuracy-train-speed", "freezes", "history", "gain")
    found = list(gallery.panels(of(rows), names))
    for name in names:
        (one, two) = (p for p in found if p.name.startswith(name))
        assert one.name.startswith(f"{name}-digits-tensorflow-2-21-0")
        assert two.name.startswith(f"{name}-digits-jax-0-10")
        assert "digits, tensorflow 2.21.0" in one.title
        assert "67.0" not in two.alt


def test_folders_are_told_apart() -> None:
    sources = [Source(name, Path(name), (row(),)) for name in ("before", "after")]
    found = gallery.panels(evidence.of(sources), ["freezes"])
    assert [p.title for p in found] == [
        "digits, before: freeze strategies",
        "digits, after: freeze strategies",
    ]


def sized(result: TrialResult, train: int) -> TrialResult:
    """The same with so many train pictures."""
    data = result.spec.data.model_copy(update={"train_examples": train})
    spec = result.spec.model_copy(update={"data": data})
    used = make_dataset(f"{train:0>64}", train=train)
    return result.model_copy(update={"spec": spec, "key": spec.key, "dataset": used})


def test_other_train_pictures_share_no_front() -> None:
    rows = [sized(row(right=170), 5000), sized(row(freeze=HEAD, right=100), 100)]
    found = list(gallery.panels(of([*rows, row(dataset="other"), row("B", dataset="other")])))
    names = {p.name for p in found}
    for name in ("accuracy-train-speed", "freezes"):
        assert {f"{name}-digits-5000-train", f"{name}-digits-100-train"} <= names
    small = next(p for p in found if p.name == "freezes-digits-100-train")
    assert "95.0" not in small.alt
    assert small.caption.startswith("1 trial;")
    (heat,) = gallery.panels(
        of([*rows, row("B", dataset="other"), row(dataset="other")]), ["heat-map"]
    )
    assert {"digits, 5,000 train", "digits, 100 train"} <= {
        w.replace("\n", " ") for w in words(heat)
    }


def test_throughput_is_of_one_kind_in_a_plot() -> None:
    rows = [row(right=100 + 10 * i, freeze=Freeze(strategy="top_blocks", amount=i + 1))
            for i in range(3)]  # fmt: skip

    def measured(result: TrialResult) -> CostResult:
        *_, spec = of_trial(result.spec)
        return make_cost(spec, device=make_rate(900, 890, 910))

    one = only(of(rows, [measured(rows[0])]), "accuracy-train-speed")
    assert "as the trials saw them" in one.caption
    assert "900" not in one.alt
    assert "Not drawn" not in one.caption
    two = only(of(rows, [measured(r) for r in rows[:2]]), "accuracy-train-speed")
    assert "as bench measure found it" in two.caption
    assert "Not drawn: 1 trial whose cost was not measured in that way." in two.caption


def test_a_report_shows_some_and_says_what_is_left() -> None:
    rows = [row(f"net{i}", right=100 + i, dataset=d) for i in range(5) for d in ("x", "y")]
    found = list(gallery.for_report(of(rows)))
    history = [p for p in found if p.name.startswith("history")]
    assert [p.name for p in history] == [
        f"history-{d}-net{i}" for d in ("x", "y") for i in (2, 3, 4)
    ]
    assert history[-1].caption.endswith(
        "4 more such plots, of other backbones or pictures, are not in this report: "
        "bench plot history draws all 10."
    )
    assert not any("not in this report" in p.caption for p in found if p is not history[-1])
    assert len(list(gallery.panels(of(rows), ["history"]))) == 10


def test_a_report_does_not_grow_with_datasets_for_ever() -> None:
    rows = [row(f"net{i}", dataset=f"d{j}") for i in range(2) for j in range(gallery.MOST + 2)]
    found = list(gallery.for_report(of(rows)))
    history = [p.name for p in found if p.name.startswith("history")]
    assert history == [f"history-d{j}-net0" for j in range(gallery.MOST)]
    freezes = [p for p in found if p.name.startswith("freezes")]
    assert len(freezes) == gallery.MOST
    assert "2 more such plots" in freezes[-1].caption


def test_names_say_only_what_differs() -> None:
    one = row()
    rate = one.spec.phase1.model_copy(update={"learning_rate": 1 / 3000})  # type: ignore[union-attr]
    spec = one.spec.model_copy(update={"phase1": rate})
    lines = of([one, row(freeze=HEAD), make_result(spec)]).lines
    name = naming.namer(lines, short=True)
    assert [name(line) for line in lines] == [
        *("top_blocks=2, phase 1 2 x adam 0.001", "head_only"),
        "top_blocks=2, phase 1 2 x adam 0.000333333",
    ]


# ------------------------------------------------------------------------------------- history


def test_both_phases_end_to_end_with_the_start_marked() -> None:
    rows = [
        row(seed=s, phase1=phase([0.5, 0.6 + s / 10]), phase2=phase([0.8, 0.9, 0.95], 2))
        for s in (0, 1)
    ]
    panel = only(of(rows), "history")
    lines = drawn(panel, "val")
    assert [list(a.get_xdata()) for a in lines] == [[1, 2, 3, 4, 5]] * 2
    assert list(lines[1].get_ydata()) == pytest.approx([50, 70, 80, 90, 95])
    (start,) = drawn(panel, "fine-tuning")
    assert list(start.get_xdata()) == [2.5, 2.5]
    assert (
        "from 50.0% to 95.0% in 5 epochs, fine-tuning from epoch 3 on (65.0% before)" in panel.alt
    )
    assert "fine-tuning" in words(panel)


def test_more_than_three_seeds_are_a_mean_with_a_band() -> None:
    rows = [row(seed=s, phase1=phase([0.5 + s / 10]), phase2=phase([0.9], 1)) for s in range(4)]
    panel = only(of(rows), "history")
    (line,) = drawn(panel, "val")
    assert list(line.get_ydata()) == pytest.approx([65, 90])
    (band,) = drawn(panel, "band")
    corners = band.get_paths()[0].vertices
    assert {round(float(y), 6) for x, y in corners if x == 1} == {50.0, 80.0}
    assert "a band from the lowest to the highest seed" in panel.caption


def test_seeds_that_stop_early_are_lined_up_at_phase_2() -> None:
    rows = [
        row(seed=0, phase1=phase([0.5, 0.6, 0.7]), phase2=phase([0.8], 3)),
        row(seed=1, phase1=phase([0.5]), phase2=phase([0.8, 0.9], 1)),
    ]
    (line,) = of(rows).lines
    found = history.course(line)
    assert found is not None
    assert [c.epochs for c in found.curves] == [(1, 2, 3, 4), (1, 4, 5)]
    assert (found.start, found.ragged) == (3, True)
    assert found.over_seeds()[0] == pytest.approx([50, 60, 70, 80, 90])
    panel = only(of(rows), "history")
    assert len(drawn(panel, "val")) == 3  # the second seed's line is broken
    assert "stopped after different epochs" in panel.caption


def test_a_head_alone_has_no_start_of_fine_tuning() -> None:
    panel = only(of([row(freeze=HEAD)]), "history")
    assert drawn(panel, "fine-tuning") == []
    assert "vertical line" not in panel.caption


# ---------------------------------------------------------------------------- other accuracies


def test_strategies_go_from_the_fewest_to_the_most_trainable_parameters() -> None:
    rows = [
        row(freeze=ALL, phase2=make_phase(0.9, 2_000_000)),
        row(freeze=HEAD, phase1=make_phase(0.9, 500)),
        row(freeze=TOP, phase2=make_phase(0.9, 90_000)),
    ]
    axes = only(of(rows), "freezes").draw("light").axes[0]
    labels = [t.get_text().split("\n") for t in axes.get_yticklabels()]
    assert labels == [["head_only", "500"], ["top_blocks=2", "90,000"], ["all", "2.00 M"]]
    assert axes.get_ylim() == (2.5, -0.5)  # the first at the top


def test_the_heat_map_shows_what_val_chose() -> None:
    rows = [
        row("A", freeze=TOP, right=100, phase2=make_phase(0.9), dataset="x"),
        row("A", freeze=ALL, right=170, phase2=make_phase(0.8), dataset="x"),
        *(row("B", right=120, dataset="x"), row("A", right=90, dataset="y")),
    ]
    panel = only(of(rows), "heat-map")
    said = [t.get_text().split("\n") for t in panel.draw("light").axes[0].texts]
    # 95.0 was not chosen; B was not measured on y.
    assert said == [["67.0", "top_blocks=2"], ["55.9", "top_blocks=2"], ["50.3", "top_blocks=2"]]
    assert "x B with 67.0%; y A with 50.3%" in panel.alt
    assert not list(gallery.panels(of(rows[:3]), ["heat-map"]))  # one dataset is no map


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_numbers_can_be_read_on_every_shade(theme: gallery.Theme) -> None:
    from matplotlib.colors import to_rgb

    def luminance(colour: Sequence[float]) -> float:
        parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    rows = [row(b, right=100 - 5 * i, dataset=d) for i, b in enumerate("ABC") for d in "xy"]
    figure = only(of(rows), "heat-map").draw(theme)
    figure.canvas.draw()
    (mesh,) = figure.axes[0].collections
    shades = [colour[:3] for colour in mesh.get_facecolors()]
    inks = [to_rgb(text.get_color()) for text in figure.axes[0].texts]
    for shade, ink in zip(shades, inks, strict=True):
        pair = sorted((luminance(ink), luminance(shade)))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) > 4.5


def test_the_gain_is_of_each_seed() -> None:
    rows = [row(seed=s, phase1=make_phase(0.8), phase2=make_phase(0.85 + s / 10)) for s in range(2)]
    panel = only(of([*rows, row(freeze=HEAD)]), "gain")
    (dots,), (mean,) = drawn(panel, "dots"), drawn(panel, "value")
    assert list(dots.get_xdata()) == pytest.approx([5, 15])
    assert list(mean.get_xdata()) == pytest.approx([10])
    assert list(drawn(panel, "zero")[0].get_xdata()) == [0, 0]
    assert "+10.0 points" in panel.alt
    assert "1 trial with one phase only" in panel.caption


def test_traps_are_held_against_the_right_protocol() -> None:
    guard = Guard(name="preprocessing", passed=False, evidence="off")
    wrong = row(right=100, trap="preprocessing_skipped", guards=(guard,))
    seen = of([row(right=160), wrong, row(freeze=HEAD, trap="unpinned")])
    panel = only(seen, "traps")
    effect = accuracy_difference(
        *(g.group.correct for g in seen.lines[:2] if g.group.correct is not None)
    )
    (value,) = drawn(panel, "value")
    assert list(value.get_xdata()) == [pytest.approx(100 * effect.estimate)]
    assert effect.estimate == pytest.approx(-60 / 179)
    assert "preprocessing" in words(panel)
    assert "preprocessing_skipped -33.5 points" in panel.alt
    assert "Left out: 1 trial" in panel.caption
    others = list(gallery.panels(seen, ["freezes", "gain", "history"]))
    assert all(
        "2 trials with a mistake made on purpose" in p.caption for p in others if p.name[0] != "h"
    )
    assert all("-33" not in p.alt for p in others)


def test_traps_are_only_held_against_what_saw_and_loaded_the_same() -> None:
    wrong = row(right=100, trap="unpinned")
    elsewhere = row(right=160, dataset="digits").model_copy(
        update={"dataset": make_dataset("a" * 64)}
    )
    assert not list(gallery.panels(of([elsewhere, wrong]), ["traps"]))

    def loaded(result: TrialResult, sha: str) -> TrialResult:
        return result.model_copy(update={"weights": WeightsUsed(source="x", sha256=sha * 64)})

    seeds = [loaded(row(right=160), "a"), loaded(row(right=140, seed=1), "b")]
    for rows in (seeds, seeds[::-1]):
        panel = only(of([*rows, loaded(wrong, "a")]), "traps")
        assert f"unpinned {-6000 / 179:+.1f} points" in panel.alt
    assert not list(gallery.panels(of([*seeds, loaded(wrong, "c")]), ["traps"]))


# --------------------------------------------------------------------------------------- costs


def test_costs_are_bars_with_what_was_measured() -> None:
    specs = [
        CostSpec(backbone=Backbone(name=name), workload=workload)
        for name in ("Fast", "Slow")
        for workload in ("inference", "phase 1")
    ]
    medians = (200.0, 90.0, 50.0, 20.0)
    costs = [
        make_cost(spec, device=make_rate(m, 0.98 * m, 1.04 * m), elsewhere=0.5 if m == 20 else 0.0)
        for spec, m in zip(specs, medians, strict=True)
    ]
    found = {p.name: p for p in gallery.panels(of([], costs), ["costs"])}
    assert list(found) == [
        f"costs-{metric}-224-px-batch-32" for metric in ("throughput", "latency", "memory")
    ]
    panel = found["costs-throughput-224-px-batch-32"]
    assert [bar.get_width() for bar in drawn(panel, "bar", 0)] == [200.0, 50.0]
    ends = [tuple(a.get_xdata()) for a in drawn(panel, "range", 1)]
    assert ends == [pytest.approx((88.2, 93.6)), pytest.approx((19.6, 20.8))]
    assert "inference: Fast 200 images/s to Slow 50.0 images/s" in panel.alt
    assert "20.0 ?" in words(panel)
    assert "1 in doubt" in panel.caption
    assert "8.00 ms" in found["costs-latency-224-px-batch-32"].alt


def test_workloads_of_other_backbones_have_a_panel_of_their_own() -> None:
    costs = [
        make_cost(CostSpec(backbone=Backbone(name="A"), workload="inference")),
        make_cost(CostSpec(backbone=Backbone(name="A"), workload="phase 1")),
        make_cost(CostSpec(backbone=Backbone(name="B"), workload="inference")),
    ]
    names = [p.name for p in gallery.panels(of([], costs), ["costs"]) if "throughput" in p.name]
    assert names == [
        "costs-throughput-224-px-batch-32-inference", "costs-throughput-224-px-batch-32-phase-1",
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------- text


def test_text_is_on_one_line_and_cut_in_the_middle() -> None:
    assert style.clean("a\x00b\n\u202ec") == "a\N{REPLACEMENT CHARACTER}b c"
    assert style.clean("x" * 50, 11) == "xxxxx…xxxxx"
    assert style.clean(" \n") == "?"
    assert style.clean("\ud800") == "\N{REPLACEMENT CHARACTER}"


def test_long_names_are_broken_at_a_space_first() -> None:
    assert style.wrapped("EfficientNetLite0 top_blocks=2", 20) == "EfficientNetLite0\ntop_blocks=2"
    assert style.wrapped("short") == "short"
    assert all(len(line) <= 28 for line in style.wrapped("n" * 200).split("\n"))


def test_a_dataset_of_the_record_is_called_by_its_name() -> None:
    made = row()
    folder = made.spec.data.model_copy(update={"dataset": Dataset(name="mine", folder="/secret/x")})
    spec = made.spec.model_copy(update={"data": folder})
    panel = only(of([make_result(spec)]), "freezes")
    assert "secret" not in panel.alt + panel.caption + panel.title
