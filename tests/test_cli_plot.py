"""``bench plot``."""

from pathlib import Path

from conftest import Bench, make_result, refused

from bench.reporting.plots import gallery
from bench.running import store

STACKS = "results/reference/stacks"
JAX = f"{STACKS}/regression/jax"


def test_list_names_every_plot(bench: Bench) -> None:
    answer = bench("plot", "--list")
    assert answer.code == 0
    assert [line.split()[0] for line in answer.out.splitlines()] == [*gallery.PLOTS, "all"]


def test_one_plot_into_a_file(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "new" / "gain.svg"
    answer = bench("plot", "gain", JAX, "-o", file, "--theme", "dark")
    assert answer.code == 0
    assert file.read_bytes().startswith(b"<svg")
    assert str(file) in answer.err


def test_several_panels_for_one_file_get_names_of_their_own(bench: Bench, tmp_path: Path) -> None:
    bench("plot", "costs", STACKS, "-o", tmp_path / "c.pdf")
    assert {f.name for f in tmp_path.glob("*.pdf")} == {
        f"c-costs-{what}-80-px-batch-32.pdf" for what in ("throughput", "latency", "memory")
    }


def test_a_folder_gets_both_kinds(bench: Bench, tmp_path: Path) -> None:
    bench("plot", "freezes", JAX, "-o", tmp_path / "plots")
    assert {f.name for f in (tmp_path / "plots").iterdir()} == {
        "freezes-digits.png", "freezes-digits.svg"
    }  # fmt: skip


def test_several_results_have_panels_of_their_own(bench: Bench, tmp_path: Path) -> None:
    row = make_result()
    for name in ("a", "b"):
        file = tmp_path / name / row.stack.id / store.TRIALS
        file.parent.mkdir(parents=True)
        file.write_bytes(store.line(row))
    answer = bench("plot", "freezes", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "x.svg")
    assert answer.code == 0
    assert {f.name for f in tmp_path.glob("*.svg")} == {
        "x-freezes-digits-a.svg", "x-freezes-digits-b.svg"
    }  # fmt: skip


def test_an_unknown_plot_suggests_one(bench: Bench, tmp_path: Path) -> None:
    said = refused(bench("plot", "heatmap", STACKS, "-o", tmp_path / "x.png"))
    assert "unknown plot 'heatmap': did you mean heat-map" in said


def test_a_plot_without_data_says_what_would_give_it(bench: Bench, tmp_path: Path) -> None:
    said = refused(bench("plot", "heat-map", STACKS, "-o", tmp_path / "x.png"))
    assert "two backbones or more on two datasets or more" in said
    assert not (tmp_path / "x.png").exists()


def test_a_wrong_ending_is_one_error(bench: Bench, tmp_path: Path) -> None:
    said = refused(bench("plot", "gain", STACKS, "-o", tmp_path / "x.gif"))
    assert "FILE.png, FILE.svg, FILE.pdf" in said


def test_nothing_asked_for_says_what_to_ask(bench: Bench) -> None:
    assert "bench plot NAME RESULTS… -o FILE.png" in refused(bench("plot", "gain"))
