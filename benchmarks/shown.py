"""Figures of README and docs, and reports, made again from the results that the repository holds.

    python -m benchmarks.shown      writes all of them

A block in a page begins with ``<!-- KIND: PATH -->`` and ends with ``<!-- end -->``. A test holds
every block and every report to what is made here.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from bench.analysis import results
from bench.analysis.compare import compare
from bench.analysis.margins import Rules
from bench.reporting import comparisons, cost_tables, tables
from bench.running import store
from benchmarks import calibrated, many_rows, measured, memory, numerics, overhead, repeat, study
from benchmarks import tables as speed_tables

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/regression.md", "docs/measurements.md")

Make = Callable[[Path], str]


def said(benchmark: ModuleType) -> Make:
    """What a benchmark says of its results: in a sentence, and as a table."""

    def make(file: Path) -> str:
        report = benchmark.read(file)
        return f"{benchmark.sentence(report)}.\n\n{benchmark.table(report, 'github')}"

    return make


KINDS: Mapping[str, Make] = {
    "table": lambda path: tables.document(store.read(path).rows),
    "speed": lambda path: speed_tables.document(measured.read(path), "markdown"),
    "study": lambda path: study.table(path, "github"),
    "memory": lambda path: memory.sentence(json.loads(path.read_text())),
    "costs": lambda path: cost_tables.brief(store.read(path).costs),
    "repeat": said(repeat),
    "overhead": said(overhead),
    "calibration": lambda path: calibrated.document(calibrated.read(path), "github"),
    "numerics": lambda path: numerics.text(numerics.read(path)),
    "many_rows": lambda path: many_rows.sentence(many_rows.read(path)) + ".",
}
BLOCK = re.compile(rf"<!-- ({'|'.join(KINDS)}): (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)


def made(kind: str, path: str) -> str:
    """A block's text.

    Args:
        kind: a key of `KINDS`.
        path: of the results, from the repository's root.
    """
    return KINDS[kind](ROOT / path).strip()


def filled(page: str) -> str:
    """A page with every block made anew."""

    def block(found: re.Match[str]) -> str:
        return f"<!-- {found[1]}: {found[2]} -->\n{made(found[1], found[2])}\n<!-- end -->"

    return BLOCK.sub(block, page)


STACKS = "results/reference/stacks/regression"
REPORTS: Mapping[str, tuple[str, str]] = {
    "reports/reference/regression/tensorflow-2.20-2.21.md": ("tensorflow-2.20", "tensorflow-2.21"),
    "reports/reference/regression/tensorflow-jax.md": ("tensorflow-2.21", "jax"),
}
"""A comparison each, as `bench compare --format markdown` makes it of two stacks' folders."""


def report(names: tuple[str, str]) -> str:
    """A comparison of two stacks, by the names of their folders."""
    folders = [Path(STACKS) / name for name in names]
    a, b = (next(iter(results.read(ROOT / folder).values())) for folder in folders)
    found = compare(a, b, Rules(), (str(folders[0]), str(folders[1])))
    return comparisons.document(found, "markdown") + "\n"


def main() -> None:
    """Write every page and every report again."""
    for name, stacks in REPORTS.items():
        place = ROOT / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(report(stacks), encoding="utf-8")
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
