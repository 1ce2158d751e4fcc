"""Figures of README and docs, and reports, made again from the results that the repository holds.

    python -m benchmarks.shown      writes all of them

A block in a page begins with ``<!-- KIND: PATH -->`` and ends with ``<!-- end -->``. A test holds
every block and every report to what is made here.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from bench.analysis import claimed, ranking, results
from bench.analysis.choosing import read as choices_read
from bench.analysis.compare import compare
from bench.analysis.margins import Rules
from bench.analysis.speeds import Speeds
from bench.reporting import choices, claim_tables, comparisons, cost_tables, report, tables
from bench.reporting.forms import foreign, printed
from bench.running import store
from bench.settings import Settings
from benchmarks import (
    advice,
    calibrated,
    choice_calibrated,
    choosing,
    determinism,
    devices,
    engine_overhead,
    large_store,
    many_rows,
    measured,
    memory,
    mislabelled,
    numerics,
    overhead,
    repeat,
    scaled_out,
    simulated_report,
    soak,
    study,
    tied,
    written,
)
from benchmarks import tables as speed_tables

ROOT = Path(__file__).parents[1]
PAGES = (
    *("README.md", "docs/choosing.md", "docs/regression.md", "docs/measurements.md"),
    *("docs/reliability.md", "docs/scale_out.md"),
)

Make = Callable[[Path], str]


def said(benchmark: ModuleType) -> Make:
    """What a benchmark says of its results: in a sentence, and as a table."""

    def make(file: Path) -> str:
        report = benchmark.read(file)
        return f"{benchmark.sentence(report)}.\n\n{benchmark.table(report, 'github')}"

    return make


BRIEF = (
    *("backbone", "freeze", "trap", "val % phase 1", "val % phase 2", "test %", "95%", "best"),
    *("trainable phase 1 / 2", "guards"),
)
"""Columns of a table that is read at a glance, where its lines have anything in them."""


def brief(path: Path) -> str:
    """The trials of one dataset, at a glance; ``FOLDER#DATASET``."""
    folder, _, dataset = str(path).partition("#")
    rows = [r for r in store.read(Path(folder)).rows if r.spec.data.dataset.name == dataset]
    known = ranking.ranked(rows)
    standings = dict(zip(map(id, known.groups), known.standings, strict=True))
    columns = [*tables.identity(known.groups), *tables.measured(Speeds(()), standings)]
    found = {c.title: [c.cell(g) for g in known.groups] for c in columns if c.title in BRIEF}
    told = {title: cells for title, cells in found.items() if any(cells)}
    return printed(list(told), list(zip(*told.values(), strict=True)), "markdown")


def claims(folder: Path) -> str:
    """The claims of the suite kept with results, beside what was measured."""
    contents, (suite, _) = store.read(folder), claimed.kept_suite(folder)
    groups = ranking.ranked(contents.rows).groups
    judged = claimed.judge(suite.claims, groups, contents.costs, suite.trials) if suite else []
    return claim_tables.document([(folder.name, one) for one in judged], "markdown")


def choice(folder: Path) -> str:
    """What `bench choose` answered, as it is worked out from its rows."""
    answer = choices_read(folder)
    assert answer is not None
    said = [foreign(sentence, "markdown") for sentence in choices.sentences(answer)]
    return "\n".join(f"* {sentence}" for sentence in said)


KINDS: Mapping[str, Make] = {
    "brief": brief,
    "claims": claims,
    "speed": lambda path: speed_tables.document(measured.read(path), "markdown"),
    "study": lambda path: study.table(path, "github"),
    "memory": lambda path: memory.sentence(json.loads(path.read_text())),
    "costs": lambda path: cost_tables.brief(store.read(path).costs),
    "repeat": said(repeat),
    "overhead": said(overhead),
    "calibration": lambda path: calibrated.document(calibrated.read(path), "github"),
    "numerics": lambda path: numerics.text(numerics.read(path)),
    "mislabelled": lambda path: mislabelled.document(json.loads(path.read_text())),
    "choosing": lambda path: choosing.rendered(choosing.read(path)),
    "choice": choice,
    "choice_calibration": lambda path: choice_calibrated.document(
        written.read(choice_calibrated.Report, path, "a calibration of choices")
    ),
    "advice": lambda path: advice.document(written.read(advice.Report, path, "a study of advice")),
    "tied": lambda path: tied.document(json.loads(path.read_text())),
    "simulated": lambda path: simulated_report.document(simulated_report.read(path), "github"),
    "devices": lambda path: devices.document(devices.read(path), "github"),
    "engine_overhead": lambda path: engine_overhead.document(engine_overhead.read(path), "github"),
    "scaled_out": lambda path: scaled_out.document(scaled_out.read(path), "github"),
    "soak": lambda path: soak.document(soak.read(path), "github"),
    "large_store": lambda path: large_store.document(large_store.read(path), "github"),
    "determinism": lambda path: determinism.document(determinism.read(path), "github"),
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


REFERENCE = Path("results/reference")
FOLDERS: Mapping[str, tuple[str, ...]] = {
    "quickstart": ("quickstart",),
    "real_small": ("real_small",),
    "traps": ("traps",),
    "recipes/catsdogs-2000": ("recipes/catsdogs-2000",),
    "recipes/catsdogs-mobilenetv2": ("recipes/catsdogs-mobilenetv2",),
    "recipes/freeze-by-size": ("recipes/freeze-by-size",),
    "costs": ("measure", "zoo_cost"),
    "small_zoo": ("small_zoo",),
    "choose-small_zoo-cats_vs_dogs": ("choose-small_zoo-cats_vs_dogs",),
    "choose-small_zoo-tf_flowers": ("choose-small_zoo-tf_flowers",),
    "choose-small_zoo-stanford_dogs": ("choose-small_zoo-stanford_dogs",),
}
"""Of each report below reports/reference the results that it is made from."""


def reported(name: str, output: Path) -> None:
    """Make one of `FOLDERS`, from the repository's root as its working directory."""
    folders = [REFERENCE / folder for folder in FOLDERS[name]]
    report.build(folders, output, Settings.from_environment(), pictures="none")


def comparison(names: tuple[str, str]) -> str:
    """A comparison of two stacks, by the names of their folders."""
    folders = [Path(STACKS) / name for name in names]
    a, b = (next(iter(results.read(ROOT / folder).values())) for folder in folders)
    found = compare(a, b, Rules(), (str(folders[0]), str(folders[1])))
    return comparisons.document(found, "markdown") + "\n"


def main() -> None:
    """Write every page and every report again."""
    os.chdir(ROOT)
    for name, stacks in REPORTS.items():
        place = ROOT / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(comparison(stacks), encoding="utf-8")
    for name in FOLDERS:
        reported(name, Path("reports/reference") / name)
    for name in PAGES:
        page = ROOT / name
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
