"""Reports: one folder with everything in it, whatever the results say and however they went."""

import csv
import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import make_cost, make_dataset, make_result, make_spec

from bench import suite as suites
from bench.errors import BenchError, StoreError
from bench.records import Freeze, TrialResult
from bench.reporting import report, report_folder
from bench.reporting.plots import gallery
from bench.reporting.report import Report, build
from bench.running import store
from bench.settings import Settings
from bench.tasks import Row

REAL = Path("results/reference/real_small")
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def panels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the plots that a report finds, each a blank: real ones take seconds."""
    names = ["blank"]

    def blank(theme: gallery.Theme) -> object:
        from matplotlib.figure import Figure

        return Figure(figsize=(1, 1))

    def found(_: object) -> Iterator[gallery.Panel]:
        for name in names:
            yield gallery.Panel(name, f"A {name}", "nothing to see", "left out: all", blank)

    monkeypatch.setattr(report.gallery, "for_report", found)
    return names


def kept(folder: Path, *rows: Row) -> Path:
    """A results folder of these rows."""
    place = folder / "stack"
    place.mkdir(parents=True)
    (place / store.TRIALS).write_bytes(b"".join(store.line(r) for r in rows if _is_trial(r)))
    if others := [r for r in rows if not _is_trial(r)]:
        (place / store.COSTS).write_bytes(b"".join(map(store.line, others)))
    return folder


def _is_trial(row: Row) -> bool:
    return isinstance(row, TrialResult)


def made(tmp_path: Path, *folders: Path, **options: object) -> Report:
    return build(folders, tmp_path / "out", Settings(cache=tmp_path / "cache"), **options)


def files(folder: Path) -> dict[str, bytes]:
    return {
        f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()
    }


def test_everything_is_there_and_linked(tmp_path: Path) -> None:
    found = made(tmp_path, REAL)
    there = files(found.folder)
    assert set(there) == {
        "index.html",
        "report.md",
        report_folder.MANIFEST,
        "plots/blank.png",
        "plots/blank.svg",
        *(f"tables/{t}.{ending}" for t in ("trials", "costs") for ending in ("csv", "md", "tex")),
    }
    text = there["report.md"].decode()
    links = set(re.findall(r"\]\(([^)]+)\)", text))
    assert links == set(there) - {"index.html", "report.md", report_folder.MANIFEST}
    assert "![nothing to see](plots/blank.png)" in text
    assert text.startswith("# Results of real_small\n")
    assert found.answers[1][1][0] in text.replace("&#8203;", "")
    lines = list(csv.DictReader(io.StringIO(there["tables/trials.csv"].decode())))
    assert len(lines) == 24


def test_equal_results_give_equal_bytes_and_name_no_machine(tmp_path: Path) -> None:
    copy = tmp_path / "real_small"
    shutil.copytree(REAL, copy)
    first = files(made(tmp_path, copy).folder)
    shutil.rmtree(tmp_path / "out")
    assert files(made(tmp_path, copy).folder) == first
    for name, content in first.items():
        assert str(tmp_path).encode() not in content, name
    assert b"bench report real_small -o out" in first["report.md"]


def test_problems_are_shown_without_this_machines_paths(tmp_path: Path) -> None:
    folder = kept(tmp_path / "r", make_result())
    with (folder / "stack" / store.TRIALS).open("a") as file:
        file.write('{"format": 1, "nonsense": true}\n')
    found = made(tmp_path, folder)
    (problem,) = found.problems
    assert problem.startswith("r/stack/trials.jsonl:2: left out")
    assert "Could not be read" in found.document.read_text()
    assert str(tmp_path) not in found.document.read_text() + found.page.read_text()


def test_a_report_made_again_leaves_nothing_old_and_nothing_foreign_goes(
    tmp_path: Path, panels: list[str]
) -> None:
    folder = kept(tmp_path / "r", make_result(), make_cost())
    panels.append("old")
    out = made(tmp_path, folder).folder
    assert {"plots/old.png", "tables/costs.csv"} <= set(files(out))
    mine = ("notes.txt", "plots/mine.png", "plots/mine.txt", "tables/mine.csv")
    for name in mine:
        (out / name).write_text("mine")
    panels.remove("old")
    shutil.rmtree(folder)
    kept(folder, make_result())
    made(tmp_path, folder)
    there = files(out)
    assert not {"plots/old.png", "plots/old.svg", "tables/costs.csv", "tables/costs.md"} & set(
        there
    )
    assert {name: there[name] for name in mine} == dict.fromkeys(mine, b"mine")
    assert [p.name for p in tmp_path.glob(".out*")] == []


def test_somebody_elses_page_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("mine")
    with pytest.raises(BenchError, match=r"out: index.html is no file of an earlier report"):
        made(tmp_path, REAL)
    assert files(out) == {"index.html": b"mine"}
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="is a file"):
        build([REAL], tmp_path / "file", Settings(cache=tmp_path))


def test_an_output_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    with pytest.raises(BenchError, match="cannot be written"):
        build(
            [kept(tmp_path / "r", make_result())],
            tmp_path / "blocked" / "x",
            Settings(cache=tmp_path),
        )


def test_hostile_names_mean_nothing_anywhere(tmp_path: Path) -> None:
    spec = make_spec(dataset=HOSTILE)
    dataset = make_dataset(class_names=(HOSTILE, "b"), caveats=(f"![x](http://x/{HOSTILE})",))
    rows = (
        make_result(spec, dataset=dataset, predictions="../../../etc/passwd"),
        make_result(
            make_spec(seed=1, dataset=HOSTILE), status="failed", reason="[x](javascript:y) | <b>"
        ),
    )
    found = made(tmp_path, kept(tmp_path / "<b>x", *rows), title=HOSTILE)
    page, text = found.page.read_text(), found.document.read_text()
    assert HOSTILE not in page
    for said in (text, (found.folder / "tables/trials.md").read_text()):
        outside_code = "\n".join(x for x in said.splitlines() if not x.startswith("    "))
        assert "<" not in outside_code
        assert "](javascript" not in outside_code
        assert "](http" not in outside_code
    assert "&#60;script&#62;" in text


CONTROLS = "a\n\n# heading\n| x \x00\x1b[31m \u202e"


def test_a_name_with_line_breaks_or_controls_is_one_line_that_prints(tmp_path: Path) -> None:
    dataset = make_dataset(class_names=(CONTROLS, "b"), caveats=(CONTROLS,))
    spec = make_spec(dataset=CONTROLS)
    rows = (
        make_result(spec, dataset=dataset, reason=CONTROLS),
        make_result(make_spec(seed=1, dataset=CONTROLS), status="failed", reason=CONTROLS),
        make_result(make_spec()),
    )
    folder = kept(tmp_path / "r", *rows)
    recipe = sorted(Path("suites/recipes").glob("*.toml"))[0].read_text()
    odd = recipe.replace('source = "', 'source = "x\\n\\n# heading\\u001b <b>', 1)
    assert odd != recipe
    (folder / store.SUITE).write_text(odd)
    found = made(tmp_path, folder, title=CONTROLS)
    for name, data in files(found.folder).items():
        text = data.decode(errors="ignore")
        if name.endswith((".md", ".tex", ".html")):
            assert not [c for c in set(text) - {"\n"} if not c.isprintable()], name
        if name.endswith(".md"):
            assert not re.search(r"^ *(# heading|\| x)", text, re.MULTILINE), name
            assert "<b>" not in text
    lines = (found.folder / "tables/trials.md").read_text().split("\n\n")[0].splitlines()
    assert len(lines) == 2 + 2
    assert {line.replace("\\|", "").count("|") for line in lines} == {lines[0].count("|")}


def test_a_folder_whose_name_is_no_text_is_reported_on(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"r\xff")
    try:
        folders = [kept(odd, make_result()), kept(tmp_path / "b", make_result())]
    except OSError:
        pytest.skip("this file system takes such names for none")
    found = made(tmp_path, *folders)
    for file in (found.page, found.document, found.folder / "tables" / "trials.csv"):
        assert "r" in file.read_text(encoding="utf-8")


def test_empty_results_make_a_page_that_says_so(tmp_path: Path) -> None:
    found = made(tmp_path, kept(tmp_path / "r"))
    assert found.answers == (("", ("Nothing was measured: these results are empty.",)),)
    assert "Nothing was measured" in found.document.read_text()
    assert "Nothing was measured" in found.page.read_text()


def test_what_is_no_results_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a results folder"):
        made(tmp_path, tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="expected a results folder"):
        made(tmp_path, tmp_path / "empty")
    assert not (tmp_path / "out").exists()


def test_only_failures_are_all_there_with_their_reasons(tmp_path: Path) -> None:
    rows = [
        make_result(
            make_spec(Freeze(strategy="top_blocks", amount=n)),
            status="failed",
            reason=f"reason {n}.",
            phase1=None,
            phase2=None,
            test_accuracy=None,
        )
        for n in range(1, 41)
    ]
    text = made(tmp_path, kept(tmp_path / "r", *rows)).document.read_text()
    assert "No trial on digits finished (40 tried)." in text
    part = text.split("## Without a result")[1].split("\n## ")[0]
    assert all(f"reason {n}." in part for n in range(1, 41))


def test_several_folders_stand_side_by_side(tmp_path: Path) -> None:
    other = make_spec(Freeze(strategy="head_only"))
    folders = [
        kept(tmp_path / "a", make_result(), make_cost()),
        kept(tmp_path / "b", make_result(), make_result(other)),
    ]
    found = made(tmp_path, *folders)
    text = found.document.read_text()
    assert text.startswith("# Results of a and b\n")
    assert "### a\n" in text
    lines = list(csv.DictReader(io.StringIO((found.folder / "tables/trials.csv").read_text())))
    assert [line["results"] for line in lines] == ["a", "b", "b"]
    assert {line["finished"] for line in lines} == {"1"}
    assert (found.folder / "tables/trials.tex").read_text().startswith("% a\n")
    assert "bench report a b -o out" in text


def test_claims_of_the_kept_suite_are_in_it(tmp_path: Path) -> None:
    folder = kept(tmp_path / "r", make_result())
    assert "## Claims" not in made(tmp_path, folder).document.read_text()
    recipe = sorted(Path("suites/recipes").glob("*.toml"))[0]
    shutil.copy(recipe, folder / store.SUITE)
    found = made(tmp_path, folder)
    text = found.document.read_text()
    assert "## Claims" in text
    assert suites.load(recipe).description in text.split("\n\n")[1]
    assert "not measured" in (found.folder / "tables/claims.csv").read_text()


@pytest.mark.parametrize(("pictures", "asked"), [("none", 0), ("shareable", 1), ("all", 2)])
def test_pictures_are_shown_as_far_as_they_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: str, asked: int
) -> None:
    wanted = []

    def find(dataset: object, *_: object) -> dict[str, bytes]:
        wanted.append(dataset)
        return {}

    monkeypatch.setattr(report.thumbnails, "find", find)
    rows = (make_result(), make_result(make_spec(dataset="tf_flowers")))
    made(tmp_path, kept(tmp_path / "r", *rows), pictures=pictures)
    assert len(wanted) == asked
