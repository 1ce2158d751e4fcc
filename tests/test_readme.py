"""What the README shows is what the repository holds."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from bench import suite
from bench.reporting import cost_tables, tables
from bench.running import store
from benchmarks import measured, memory, overhead, repeat, study
from benchmarks import tables as speed_tables

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLES = re.findall(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", README, re.DOTALL)


def said(benchmark: ModuleType, file: Path) -> str:
    """What a benchmark says of its results: in a sentence, and as a table."""
    report = benchmark.read(file)
    return f"{benchmark.sentence(report)}.\n\n{benchmark.table(report, 'github')}"


MADE = {
    "speed": lambda path: speed_tables.document(measured.read(path), "markdown"),
    "study": lambda path: study.table(path, "github"),
    "memory": lambda path: memory.sentence(json.loads(path.read_text())),
    "costs": lambda path: cost_tables.brief(store.read(path).costs),
    "repeat": lambda path: said(repeat, path),
    "overhead": lambda path: said(overhead, path),
}
SHOWN = re.findall(rf"<!-- ({'|'.join(MADE)}): (\S+) -->\n(.*?)<!-- end -->", README, re.DOTALL)


def test_every_comparison_is_shown() -> None:
    assert {kind for kind, _, _ in SHOWN} == set(MADE)


@pytest.mark.parametrize(("kind", "file", "shown"), SHOWN, ids=[file for _, file, _ in SHOWN])
def test_a_comparison_is_made_from_committed_results(kind: str, file: str, shown: str) -> None:
    assert shown.strip() == MADE[kind](ROOT / file).strip()


@pytest.mark.parametrize(("folder", "shown"), TABLES, ids=[folder for folder, _ in TABLES])
def test_a_table_is_made_from_committed_results(folder: str, shown: str) -> None:
    rows = store.read(ROOT / folder).rows
    assert shown.strip() == tables.document(rows).strip()


def test_there_is_a_table_of_a_reference_run() -> None:
    assert [folder for folder, _ in TABLES] == ["results/reference/real_small"]


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
