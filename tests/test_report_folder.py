"""A report's folder: nothing of anybody else's is lost, nothing of an earlier report is left."""

import stat
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.reporting import report_folder
from bench.reporting.report_folder import MANIFEST, write

OLD = dict.fromkeys(("tables/a.csv", "tables/b.csv", "plots/old.png", "index.html"), b"old")
NEW = dict.fromkeys(("tables/a.csv", "plots/new.png", "index.html"), b"new")


def files(folder: Path) -> dict[str, bytes]:
    """All but the manifest."""
    found = (f for f in folder.rglob("*") if f.is_file() and f.name != MANIFEST)
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in found}


def named(folder: Path) -> set[str]:
    return set(report_folder.Manifest.model_validate_json((folder / MANIFEST).read_text()).files)


def beside(folder: Path) -> list[Path]:
    return [p for p in folder.parent.iterdir() if p != folder]


def test_a_report_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    write(out, OLD)
    assert (files(out), named(out)) == (OLD, set(OLD))
    assert stat.S_IMODE(out.stat().st_mode) == stat.S_IMODE(tmp_path.joinpath("a").stat().st_mode)
    (out / "notes.txt").write_text("mine")
    write(out, NEW)
    assert (files(out), named(out)) == ({**NEW, "notes.txt": b"mine"}, set(NEW))
    write(out, {"index.html": b"alone"})
    assert not (out / "tables").exists()
    assert beside(out) == []


@pytest.mark.parametrize("name", ["index.html", "tables/a.csv", "plots/new.png", MANIFEST])
@pytest.mark.parametrize("earlier", [True, False])
def test_a_file_that_no_report_names_is_never_overwritten(
    tmp_path: Path, name: str, earlier: bool
) -> None:
    out = tmp_path / "out"
    if earlier:
        write(out, {"report.md": b"old"})
    if name == MANIFEST and earlier:
        return
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("mine")
    before = files(out)
    with pytest.raises(BenchError, match=rf"out: {name} is no file of an earlier report.*expected"):
        write(out, NEW)
    assert files(out) == before
    assert (out / name).read_text() == "mine"
    assert beside(out) == []


@pytest.mark.parametrize("name", ["tables", "plots", "tables/a.csv", "index.html", MANIFEST])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    write(out, OLD)
    place = out / name
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    before = files(tmp_path)
    with pytest.raises(BenchError, match=rf"out: {name} is no (file|folder) of its own"):
        write(out, NEW)
    assert files(tmp_path) == before


@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_earlier_report_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, error: type[BaseException]
) -> None:
    out = tmp_path / "out"
    write(out, OLD)
    calls = iter(range(1, 100))
    whole = {"replace": Path.replace, "unlink": Path.unlink}

    def stop(name: str) -> object:
        def call(file: Path, *rest: object, **options: object) -> object:
            if next(calls) == at:
                raise error("stopped")
            return whole[name](file, *rest, **options)  # type: ignore[arg-type]

        return call

    with monkeypatch.context() as patch:
        for name in whole:
            patch.setattr(Path, name, stop(name))
        with pytest.raises((KeyboardInterrupt, BenchError)):
            write(out, NEW)
    assert (files(out), named(out)) == (OLD, set(OLD))
    assert beside(out) == []
    write(out, NEW)
    assert files(out) == NEW


def test_what_a_killed_process_left_goes_with_the_next_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write(out, OLD)
    moves = iter(range(100))
    replace = Path.replace

    def killed(file: Path, target: Path) -> Path:
        if next(moves) >= 3:
            raise KeyboardInterrupt
        return replace(file, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(report_folder, "_restore", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            write(out, NEW)
    assert set(files(out)) == {*OLD, "plots/new.png"}
    assert named(out) == {*OLD, *NEW}
    write(out, {"index.html": b"last"})
    assert files(out) == {"index.html": b"last"}


def test_a_manifest_reaches_nothing_but_a_reports_own_places(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, OLD)
    outside = ["../mine", "mine", "tables/../mine", "tables/..", "tables/x/mine", "plots/a\0"]
    for name in outside[:5]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        if not (out / name).exists():
            (out / name).write_text("mine")
    names = (*OLD, *outside, str(tmp_path / "mine"))
    (out / MANIFEST).write_text(report_folder.Manifest(files=names).model_dump_json())
    write(out, NEW)
    assert {n for n, data in files(tmp_path).items() if data == b"mine"} == {
        "mine",
        "out/mine",
        "out/tables/x/mine",
    }
    assert named(out) == set(NEW)


def test_an_output_that_cannot_be_looked_at_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="file: is a file; expected a folder"):
        report_folder.check(tmp_path / "file")
    with pytest.raises(BenchError, match="cannot be written"):
        write(tmp_path / "file" / "x", NEW)
    with pytest.raises(BenchError, match="cannot be written"):
        write(tmp_path / ("x" * 300), NEW)


def test_a_results_folder_is_no_place_for_a_report(tmp_path: Path) -> None:
    for name in ("suite.toml", "stack/trials.jsonl"):
        folder = tmp_path / name[:5]
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
        with pytest.raises(BenchError, match="holds results; expected another folder"):
            report_folder.check(folder)
