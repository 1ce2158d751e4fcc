"""A report: a folder with a page, a document, tables and plots, made from results folders alone.

    output/index.html            the page (`bench.reporting.page`)
    output/report.md             the document (`bench.reporting.markdown_report`)
    output/tables/NAME.csv|md|tex
    output/plots/NAME.png|svg
    output/.bench-report.json    names these files (`bench.reporting.report_folder`)

Equal results give equal files: nothing in them says when or where they were made.
"""

import csv
import io
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bench.analysis import claimed, details, evidence
from bench.analysis.details import Detail, shown
from bench.analysis.evidence import Evidence, Source
from bench.data import thumbnails
from bench.records import Dataset
from bench.reporting import (
    answers,
    choice_parts,
    claim_tables,
    cost_tables,
    markdown_report,
    report_folder,
    tables,
)
from bench.reporting.choice_parts import Asked
from bench.reporting.forms import foreign, listed, printed
from bench.reporting.markdown_report import Image, Parts, escaped
from bench.reporting.page import content, page
from bench.reporting.plots import gallery
from bench.reporting.report_folder import DOCUMENT, PAGE, PLOTS, TABLES
from bench.settings import Settings
from bench.suite import SMOKE, Suite

Pictures = Literal["none", "shareable", "all"]
"""Which pictures may stand in the page: of no dataset, of those whose licence lets anybody pass
them on, of any."""

ENDINGS: Mapping[str, str] = {"csv": "csv", "markdown": "md", "latex": "tex"}
"""Of tables, by form."""

Files = dict[str, bytes]
"""Contents by path in the output."""


@dataclass(frozen=True)
class Report:
    """What was made.

    Attributes:
        folder: that holds it.
        page, document: in it.
        answers: what each is about, and its sentences.
        problems: what could not be read.
    """

    folder: Path
    page: Path
    document: Path
    answers: tuple[tuple[str, tuple[str, ...]], ...]
    problems: tuple[str, ...]


def build(
    folders: Sequence[Path],
    output: Path,
    settings: Settings,
    pictures: Pictures = "shareable",
    title: str | None = None,
) -> Report:
    """Make a report.

    Args:
        folders: of results, one or several.
        output: the folder to make, or to make again.
        settings: where decoded pictures lie.
        pictures: which may stand in the page.
        title: its heading; made from the folders' names if None.

    Raises:
        StoreError: a folder holds no results.
        BenchError: the output cannot be written, or holds files that are not ours where the
            report's would go.
    """
    report_folder.check(output)
    read, suites = _with_suites(evidence.read(folders))
    read, asked = choice_parts.read(read)
    found = _without_paths(read)
    chosen, left_out = details.chosen_for_detail(found)
    sources = {source.name: source for source in found.sources}
    heading = title or f"Results of {listed([s.name for s in found.sources])}"
    claims = _claims(found, suites)
    parts = Parts(
        title=heading,
        about=_about(suites),
        evidence=found,
        answers=_answers(found, asked),
        trials=[
            (s.name, markdown_report.trials(s, found.ranked(s))) for s in found.sources if s.rows
        ],
        costs=[(s.name, markdown_report.costs(s)) for s in found.sources if s.costs],
        claims=_claims_text(claims),
        images=(),
        details=[details.detail(sources[line.source], line) for line in chosen],
        left_out=left_out,
        files=(),
        command=_command(folders, output, pictures, title),
        choices=choice_parts.tables(asked, markdown_report.FORM),
        probes=choice_parts.probes(found, markdown_report.FORM),
    )
    small = _thumbnails(parts.details, pictures, settings)
    report_folder.write(output, _files(parts, claims, asked, small))
    said = tuple((subject, tuple(sentences)) for subject, sentences in parts.answers)
    return Report(output, output / PAGE, output / DOCUMENT, said, found.problems)


def _answers(found: Evidence, asked: Sequence[Asked]) -> list[tuple[str, Sequence[str]]]:
    """Of the choices first, then of the trials."""
    chosen = choice_parts.answers(asked)
    return [*chosen, *(answers.every(found) if found.lines or not chosen else ())]


def _files(
    parts: Parts,
    claims: claim_tables.Claims,
    asked: Sequence[Asked],
    small: Mapping[str, bytes],
) -> Files:
    """All of it; the page last, which links to the others."""
    files = dict(_tables(parts, claims, asked))
    panels = list(gallery.for_report(parts.evidence))
    images = [Image(p.name, p.title, p.alt, p.caption) for p in panels]
    text = replace(parts, images=images, files=sorted(files))
    shown = []
    for panel in panels:
        drawn = gallery.drawn(panel)
        files[f"{PLOTS}/{panel.name}.png"] = drawn.png
        files[f"{PLOTS}/{panel.name}.svg"] = drawn.light_svg
        shown.append(_both_themes(panel, drawn))
    files[DOCUMENT] = markdown_report.document(text).encode()
    files[PAGE] = page.render(
        content.Content(
            title=parts.title,
            evidence=parts.evidence,
            about=tuple(parts.about),
            answers=tuple(content.Answer(s, tuple(said)) for s, said in parts.answers),
            claims=_claims_content(claims),
            plots=tuple(shown),
            details=tuple(parts.details),
            thumbnails=small,
            command=parts.command,
            choices=choice_parts.shown(asked, parts.evidence),
            probes=choice_parts.shown_probes(parts.evidence),
        )
    ).encode()
    return files


def _both_themes(panel: gallery.Panel, drawn: gallery.Drawn) -> content.Plot:
    light, dark = drawn.light_svg, drawn.dark_svg
    return content.Plot(panel.name, panel.title, panel.alt, panel.caption, light, dark)


def _thumbnails(
    trials: Iterable[Detail], pictures: Pictures, settings: Settings
) -> dict[str, bytes]:
    """Of the mistakes, as far as they may be shown and this machine has them."""
    wanted: dict[tuple[Dataset, int], set[str]] = {}
    for trial in trials:
        data = trial.line.group.spec.data
        if pictures == "all" or (pictures == "shareable" and thumbnails.shareable(data.dataset)):
            mistaken = {mistake.picture for mistake in trial.mistakes}
            wanted.setdefault((data.dataset, data.image_size), set()).update(mistaken)
    found: dict[str, bytes] = {}
    for (dataset, size), hashes in wanted.items():
        found |= thumbnails.find(dataset, size, hashes - set(found), settings)
    return found


# ------------------------------------------------------------------------------------------ words


def _command(folders: Sequence[Path], output: Path, pictures: Pictures, title: str | None) -> str:
    words = ["bench", "report", *map(shown, folders), "-o", shown(output)]
    words += ["--title", title] if title else []
    words += ["--pictures", pictures] if pictures != "shareable" else []
    return shlex.join(words)


def _with_suites(found: Evidence) -> tuple[Evidence, dict[str, Suite | None]]:
    """The suites kept with the results; why one cannot be read joins the problems."""
    suites: dict[str, Suite | None] = {}
    sources = []
    for source in found.sources:
        suites[source.name], problem = claimed.kept_suite(source.folder)
        sources.append(replace(source, problems=(*source.problems, *filter(None, [problem]))))
    return replace(found, sources=tuple(sources)), suites


def _without_paths(found: Evidence) -> Evidence:
    """Reports are passed on: what could not be read is named as counted from here."""

    def named(source: Source) -> Source:
        start = f"{source.folder}/"
        short = f"{shown(source.folder)}/"
        problems = (
            short + p.removeprefix(start) if p.startswith(start) else p for p in source.problems
        )
        return replace(source, problems=tuple(problems))

    return replace(found, sources=tuple(map(named, found.sources)))


# ------------------------------------------------------------------------------------------ tables


TINY = " (Its smoke version: tiny, to see that everything runs. Its numbers mean nothing.)"


def _about(suites: Mapping[str, Suite | None]) -> list[str]:
    """What the suites say of themselves; which is which, where there are several folders."""
    told = [
        (name, suite.description + (TINY if name.endswith(SMOKE) else ""))
        for name, suite in suites.items()
        if suite
    ]
    return [f"{name}: {text}" if len(suites) > 1 else text for name, text in told]


def _claims(found: Evidence, suites: Mapping[str, Suite | None]) -> claim_tables.Claims:
    """Of the suites that the folders keep."""
    judged = []
    for source in found.sources:
        suite = suites[source.name]
        if suite and suite.claims:
            groups = [line.group for line in found.lines if line.source == source.name]
            name = source.folder.absolute().name
            of_suite = claimed.judge(
                suite.claims, groups, source.costs, suite.trials, name, source.folder
            )
            judged += [(source.name, one) for one in of_suite]
    return judged


def _claims_text(claims: claim_tables.Claims) -> str:
    return claim_tables.document(claims, markdown_report.FORM) if claims else ""


def _claims_content(claims: claim_tables.Claims) -> content.Claims | None:
    if not claims:
        return None
    titles, lines = claim_tables.table(claims)
    told = tuple(claim_tables.notes(claims))
    return content.Claims(tuple(titles), tuple(map(tuple, lines)), told)


def _tables(
    parts: Parts, claims: claim_tables.Claims, asked: Sequence[Asked]
) -> Iterator[tuple[str, bytes]]:
    """Every table in every form. Folders stand one after another: rows of two are no seeds."""
    sources = parts.evidence.sources
    measured = [s for s in sources if s.costs]
    for form, ending in ENDINGS.items():
        if form == markdown_report.FORM:
            trials, costs, claimed_text = parts.trials, parts.costs, parts.claims
        else:
            trials = [(s.name, _trials(parts.evidence, s, form)) for s in sources]
            costs = [(s.name, cost_tables.render(s.costs, form)) for s in measured]
            claimed_text = claim_tables.document(claims, form) if claims else ""
        yield _file("trials", ending, _stacked(trials, form, len(sources) > 1))
        if costs:
            yield _file("costs", ending, _stacked(costs, form, len(sources) > 1))
        if claims:
            yield _file("claims", ending, claimed_text)
        several = len(sources) > 1
        if asked:
            yield _file("choice", ending, _stacked(choice_parts.tables(asked, form), form, several))
        if probes := choice_parts.probes(parts.evidence, form):
            yield _file("probes", ending, _stacked(probes, form, several))


def _trials(found: Evidence, source: Source, form: str) -> str:
    return tables.render(source.rows, form, source.costs, known=found.ranked(source))


def _file(name: str, ending: str, text: str) -> tuple[str, bytes]:
    return f"{TABLES}/{name}.{ending}", f"{text}\n".encode(errors="replace")


def _stacked(texts: Sequence[tuple[str, str]], form: str, several: bool) -> str:
    if not several:
        return "\n\n".join(text for _, text in texts)
    if form == "csv":
        return _one_csv(texts)
    parts = []
    for name, text in texts:
        title = (
            f"## {escaped(name)}" if form == markdown_report.FORM else f"% {foreign(name, form)}"
        )
        parts.append(f"{title}\n\n{text}")
    return "\n\n".join(parts)


def _one_csv(texts: Sequence[tuple[str, str]]) -> str:
    """One table with a column that says which folder a line is from."""
    lines = [
        {"results": name} | line
        for name, text in texts
        for line in csv.DictReader(io.StringIO(text, newline=""))
    ]
    headings = [next(csv.reader(io.StringIO(text, newline=""))) for _, text in texts]
    titles = list(dict.fromkeys(["results", *(title for found in headings for title in found)]))
    return printed(titles, [[line.get(title) for title in titles] for line in lines], "csv")
