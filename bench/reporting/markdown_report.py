"""A report as a document in Markdown, for a repository or a wiki.

Text that somebody else chose (names, reasons, folders) is escaped throughout.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench import __version__
from bench.analysis.details import TO_RUN, Detail, described
from bench.analysis.evidence import Evidence, Source
from bench.analysis.ranking import Ranked
from bench.analysis.summary import Group
from bench.costs import CostResult
from bench.probes import ProbeResult
from bench.records import Environment, TrialResult
from bench.reporting import cost_tables, tables
from bench.reporting.forms import foreign, kept, printed
from bench.reporting.notes import notes

FORM = "markdown"

MARK = "Made by `bench report`"
"""Begins the last line."""

FAILURES_NAMED = 50

_MARKS = re.compile(r"&(?!#\d+;)|[<>`~\[\]]|(?<!^)@(?!&#8203;)")


@dataclass(frozen=True)
class Image:
    """A plot beside the document.

    Attributes:
        name: of its files in ``plots/``, without an ending.
        title, alt, caption: as in `bench.reporting.plots`.
    """

    name: str
    title: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Parts:
    """What the document is made of.

    Attributes:
        title: its heading.
        about: what the suites behind the results say of themselves.
        evidence: the results.
        answers: what each is about, and its sentences.
        trials, costs: folders' names and their tables; only folders that have some.
        claims: table and notes in Markdown; empty for none.
        images: in the order to look at them.
        details: trials whose commands are listed.
        left_out: how many have none.
        files: tables beside the document, as paths.
        command: what makes the report again.
        choices, probes: folders' names and their tables; only folders that have some.
    """

    title: str
    about: Sequence[str]
    evidence: Evidence
    answers: Sequence[tuple[str, Sequence[str]]]
    trials: Sequence[tuple[str, str]]
    costs: Sequence[tuple[str, str]]
    claims: str
    images: Sequence[Image]
    details: Sequence[Detail]
    left_out: int
    files: Sequence[str]
    command: str
    choices: Sequence[tuple[str, str]] = ()
    probes: Sequence[tuple[str, str]] = ()


def document(parts: Parts) -> str:
    """The whole document."""
    sections = (
        ("", _answers(parts)),
        ("The choice", _of_each(parts, parts.choices)),
        ("Probes", _of_each(parts, parts.probes)),
        ("Claims", [parts.claims] if parts.claims else []),
        ("Trials", _of_each(parts, parts.trials)),
        ("Without a result", _failures(parts.evidence)),
        ("Plots", _plots(parts.images)),
        ("Costs", _of_each(parts, parts.costs)),
        ("Could not be read", _listed(parts.evidence.problems)),
        ("Environment", _environments(parts.evidence)),
        ("Run again", _commands(parts)),
    )
    found = [f"# {escaped(parts.title)}", *map(escaped, parts.about)]
    for heading, blocks in sections:
        said = [block for block in blocks if block]
        if said:
            found += [f"## {heading}"] if heading else []
            found += said
    found.append(f"{MARK} of Bench {__version__}.")
    return "\n\n".join(found) + "\n"


def escaped(text: str) -> str:
    """Somebody else's text for a line of the document."""
    return foreign(text, FORM)


def table(text: str) -> str:
    """A table in Markdown, which minds its bars, made safe to show as HTML."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text)


def trials(source: Source, found: Ranked) -> str:
    """The main table of one folder, and its notes.

    Args:
        source: the folder.
        found: its trials, ranked.
    """
    body = table(tables.render(source.rows, FORM, source.costs, known=found))
    said = list(notes(source.rows, found))
    if tables.APART in body:
        said.append(f"img/s{tables.APART}: of the stock model, as `bench measure` found it")
    return "\n\n".join(filter(None, (body, _bullets(said))))


def costs(source: Source) -> str:
    """The table of one folder's costs, and its notes."""
    body = table(cost_tables.render(source.costs, FORM))
    return "\n\n".join(filter(None, (body, _bullets(kept(cost_tables.notes(source.costs))))))


def _bullets(texts: Sequence[str]) -> str:
    return "\n".join(f"* {escaped(text)}" for text in texts)


def _listed(texts: Sequence[str]) -> Iterator[str]:
    yield _bullets(kept(texts))


def _answers(parts: Parts) -> Iterator[str]:
    for subject, said in parts.answers:
        if subject:
            yield f"## {escaped(subject)}"
        yield "\n".join(f"* {escaped(sentence)}" for sentence in said)


def _of_each(parts: Parts, texts: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Tables of folders, each with a heading where there are several."""
    for name, text in texts:
        yield f"### {escaped(name)}" if len(parts.evidence.sources) > 1 else ""
        yield text


def _failures(evidence: Evidence) -> Iterator[str]:
    """Every line with a seed that has no result, however many notes the table has."""
    groups = [line.group for line in evidence.lines if line.group.status != "ok"]
    lines = [
        [escaped(_label(group)), escaped(group.status), escaped(group.reasons)]
        for group in groups[:FAILURES_NAMED]
    ]
    if lines:
        yield printed(["trial", "status", "reason"], lines, FORM)
    if len(groups) > len(lines):
        yield f"And {len(groups) - len(lines):,} more: see tables/trials.csv."


def _label(group: Group) -> str:
    return group.spec.label.rpartition(" · seed ")[0]


def _plots(images: Sequence[Image]) -> Iterator[str]:
    for image in images:
        yield f"### {escaped(image.title)}"
        yield f"![{escaped(image.alt)}](plots/{image.name}.png)"
        yield f"{escaped(image.caption)} ([SVG](plots/{image.name}.svg))".strip()


def _environments(evidence: Evidence) -> Iterator[str]:
    every: list[TrialResult | CostResult | ProbeResult] = [*evidence.rows, *evidence.costs]
    every += evidence.probes
    for stack, used in dict.fromkeys((r.stack, _frozen(r.environment)) for r in every):
        environment = Environment.model_validate_json(used) if used else None
        said = ", ".join(f"{name} {value}" for name, value in described(stack, environment))
        yield f"* {escaped(stack.id)}: {escaped(said)}"


def _frozen(environment: Environment | None) -> str:
    """It holds a dictionary, which is not hashable."""
    return environment.model_dump_json() if environment else ""


def _commands(parts: Parts) -> Iterator[str]:
    yield f"This report:\n\n{_code([parts.command])}"
    if parts.details:
        yield TO_RUN
        yield f"Its trials:\n\n{_code([d.command for d in parts.details])}"
    if parts.left_out:
        yield f"{parts.left_out:,} more trials are not listed here."
    if parts.files:
        links = ", ".join(f"[{name}]({name})" for name in parts.files)
        yield f"Tables: {links}."


def _code(lines: Sequence[str]) -> str:
    """Indented, so that nothing in the lines can end it."""
    return "\n".join("    " + foreign(line, "console") for line in lines)
