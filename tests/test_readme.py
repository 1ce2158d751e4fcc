"""What the README shows is what the repository holds."""

import re
from pathlib import Path

import pytest

from bench import suite
from bench.reporting import report_folder
from bench.reporting.plots import gallery
from benchmarks import shown

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


SHOWN = [
    (page, *block)
    for page in shown.PAGES
    for block in shown.BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
]


def test_everything_that_can_be_shown_is() -> None:
    assert {kind for _, kind, _, _ in SHOWN} == set(shown.KINDS)


@pytest.mark.parametrize(
    ("kind", "path", "text"),
    [block[1:] for block in SHOWN],
    ids=[f"{page}-{path}" for page, _, path, _ in SHOWN],
)
def test_a_figure_is_made_from_committed_results(kind: str, path: str, text: str) -> None:
    assert text.strip() == shown.made(kind, path)


def test_the_readme_opens_with_a_picture_and_a_table_of_a_report() -> None:
    opening = README.partition("\n## ")[0]
    (picture,) = re.findall(r"!\[[^\]]{20,}\]\(([^)]+)\)", opening)
    assert (ROOT / picture).is_file()
    assert shown.BLOCK.search(opening)


@pytest.mark.parametrize("page", ["README.md", "reports/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [x for x in re.findall(r"\]\(([^)#]+)", text) if "://" not in x]
    assert links
    for link in links:
        assert (ROOT / page).parent.joinpath(link).exists(), link


@pytest.mark.parametrize(("file", "stacks"), shown.REPORTS.items())
def test_a_report_is_made_from_committed_results(file: str, stacks: tuple[str, str]) -> None:
    assert (ROOT / file).read_text(encoding="utf-8") == shown.comparison(stacks)


@pytest.mark.parametrize("name", shown.FOLDERS)
def test_the_words_and_numbers_of_a_report_are_those_of_its_results(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, bytes] = {}
    monkeypatch.chdir(ROOT)
    nothing = gallery.Drawn(b"", b"<svg/>", b"<svg/>")  # drawing takes a minute
    monkeypatch.setattr(gallery, "drawn", lambda _: nothing)
    monkeypatch.setattr(report_folder, "write", lambda _, files: made.update(files))
    kept = Path("reports/reference") / name
    shown.reported(name, kept)
    there = {f.relative_to(kept).as_posix() for f in kept.rglob("*.*") if f.is_file()}
    assert set(made) == there - {report_folder.MANIFEST}
    drawn = (".png", ".svg", ".html")
    for file in (name for name in made if not name.endswith(drawn)):
        assert (kept / file).read_bytes() == made[file], file


def test_filling_a_page_again_changes_nothing() -> None:
    assert shown.filled(README) == README


def test_the_suite_in_the_readme_loads(tmp_path: Path) -> None:
    text = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert text is not None
    file = tmp_path / "pets.toml"
    file.write_text(text[1], encoding="utf-8")
    assert len(suite.load(file).trials) == 2 * 5 * 3
    assert len(suite.load(file, smoke=True).trials) == 2 * 5 * 3


def test_the_tables_of_ones_own_in_the_readme_load(tmp_path: Path) -> None:
    suite_text, own = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "pets.toml"
    used = suite_text.replace('heads = ["dropout"]', 'heads = ["wide"]')
    used = used.replace('datasets = ["pets"]', 'datasets = ["flowers102"]')
    used = used.replace('["MobileNetV2", ', '["EfficientNetLite0", ')
    file.write_text(used + own, encoding="utf-8")
    trial = suite.load(file).trials[0]
    assert (trial.backbone.preprocessing, trial.head.loss) == ("raw", "one_hot")
    assert trial.data.dataset.tfds == "oxford_flowers102"


def test_the_mistake_in_the_readme_is_reported_as_it_says(tmp_path: Path) -> None:
    text = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert text is not None
    file = tmp_path / "pets.toml"
    file.write_text(text[1].replace('["MobileNetV2", ', '["MobilNetV2", '), encoding="utf-8")
    with pytest.raises(suite.FileError) as error:
        suite.load(file)
    assert str(error.value).removeprefix(f"{tmp_path}/") in README.replace("suites/", "")
