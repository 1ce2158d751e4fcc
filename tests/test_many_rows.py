"""The generated store that the size of a comparison is measured on."""

from pathlib import Path

import pytest

from bench.analysis import results
from bench.analysis.compare import compare
from bench.analysis.margins import Rules
from bench.running import store
from benchmarks import many_rows


def test_generated_folders_compare_as_they_were_made(tmp_path: Path) -> None:
    for name in ("A", "B"):
        many_rows.generate(tmp_path / name, 210, "1", worse=name == "B")
    a, b = (next(iter(results.read(tmp_path / name).values())) for name in ("A", "B"))
    assert sum(len(seeds.tried) for seeds in a.trials.values()) == 210
    found = compare(a, b, Rules(), ("A", "B"))
    worse = [f for f in found.findings if f.verdict == "worse"]
    assert {f.quantity for f in worse} == {"accuracy"}
    assert 1 <= len(worse) <= 3  # of 42 trials the 1st, 21st and 41st are
    specs = [row.spec for row in store.read(tmp_path / "A").rows]
    assert len({s.data.dataset.name for s in specs}) == many_rows.DATASETS
    assert len({s.backbone.name for s in specs}) == 5
    assert len(set(specs)) == 210
    epochs = many_rows.example().phase2
    assert epochs is not None
    assert len(epochs.epochs) == many_rows.EPOCHS


@pytest.mark.slow
def test_it_says_what_it_measured(tmp_path: Path) -> None:
    report = many_rows.measure(10)
    assert report.rows == 10
    assert report.findings == 6  # guards, parameters and accuracy of two trials
    for taken in (report.compared, report.reported):
        assert 0 < taken.peak_bytes < 2**30
    assert report.page_bytes > 10_000
    file = tmp_path / "r.json"
    file.write_text(report.model_dump_json())
    assert many_rows.read(file) == report
    assert "two folders of 10 rows" in many_rows.sentence(report)
