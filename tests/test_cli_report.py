"""``bench report``: its words, its files, its errors."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Bench, make_result, refused

from bench.reporting import report
from bench.running import store


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report.gallery, "for_report", lambda _: iter(()))


def test_it_prints_the_answer_and_where_the_page_is(bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "reports" / "small"
    said = bench("report", "results/reference/real_small", "-o", out, "--title", "Small")
    assert said.code == 0
    assert "MobileNetV2 with its head alone trained reaches 97.5% (94.0–99.0)" in said.out
    assert said.out.splitlines()[0] == "cats_vs_dogs"
    assert said.out.splitlines()[-1] == f"report: {out / 'index.html'}"
    assert (out / "report.md").read_text().startswith("# Small\n")
    assert "--title Small" in (out / "report.md").read_text()


def test_an_empty_store_is_no_error(bench: Bench, tmp_path: Path) -> None:
    place = tmp_path / "r" / "stack" / store.TRIALS
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")
    said = bench("report", tmp_path / "r", "-o", tmp_path / "out")
    assert said.code == 0
    assert said.out.startswith("Nothing was measured")


def test_what_a_terminal_would_obey_is_not_printed(bench: Bench, tmp_path: Path) -> None:
    place = tmp_path / "r" / "stack" / store.TRIALS
    place.parent.mkdir(parents=True)
    row = make_result(status="failed", reason="\x1b[2J[red]gone[/red]")
    place.write_bytes(store.line(row))
    said = bench("report", tmp_path / "r", "-o", tmp_path / "out")
    assert "\x1b" not in said.out
    assert "[red]gone[/red]" in said.out


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_what_is_no_store_is_one_line(bench: Bench, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    said = bench("report", tmp_path / name, "-o", tmp_path / "out")
    assert "expected a results folder" in refused(said)


def test_it_imports_no_framework() -> None:
    code = (
        "import sys; import bench.cli, bench.reporting.report; "
        "print([m for m in ('keras', 'tensorflow', 'jax', 'torch') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
