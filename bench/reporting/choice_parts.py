"""What a report says of the choices that its folders hold, and of their probes.

Evidence -> Asked ... -> answers, tables in every form, parts of the page
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.analysis import choosing, naming
from bench.analysis.choice import Candidate, Choice
from bench.analysis.evidence import Evidence, Source
from bench.errors import BenchError
from bench.reporting import choice_tables, choices
from bench.reporting.forms import foreign, with_notes
from bench.reporting.page import content

WORDS = ("candidate", "state", "front", "reason", "stack", "backbone", "status", "probe")
"""Columns that hold no numbers."""


@dataclass(frozen=True)
class Asked:
    """A folder that holds a choice.

    Attributes:
        source: the folder.
        choice: what its rows answer.
    """

    source: Source
    choice: Choice


def read(evidence: Evidence) -> tuple[Evidence, list[Asked]]:
    """The choices of these folders; why one cannot be read joins its folder's problems."""
    found: list[Asked] = []
    sources = []
    for source in evidence.sources:
        try:
            choice = choosing.read(source.folder)
        except BenchError as error:
            source = replace(source, problems=(*source.problems, str(error)))
        else:
            found += [Asked(source, choice)] if choice else []
        sources.append(source)
    return replace(evidence, sources=tuple(sources)), found


def answers(asked: Sequence[Asked]) -> list[tuple[str, list[str]]]:
    """What each choice is about, and its sentences."""
    return [
        (
            f"The choice for {name}",
            [*choices.sentences(one.choice), *([BY_TEST] if one.choice.pick else [])],
        )
        for name, one in named(asked)
    ]


BY_TEST = (
    "Accuracy on val decided here. What is said of the trials besides ranks them by test, heeds no "
    "limits and no objective, and so may name another; choosing by test would make the number of "
    "whoever is chosen look too good."
)
"""Why a report's other answers may seem to disagree."""


def named(asked: Sequence[Asked]) -> list[tuple[str, Asked]]:
    """Each with the name of its task; with its folder's, where two tasks have one name."""
    tasks = [one.choice.question.name for one in asked]
    return [
        (task if tasks.count(task) == 1 else f"{task} in {one.source.name}", one)
        for task, one in zip(tasks, asked, strict=True)
    ]


# ------------------------------------------------------------------------------------------- tables


def tables(asked: Sequence[Asked], form: str) -> list[tuple[str, str]]:
    """Folders' names and their candidates, with notes where the form has a place for them."""
    return [(one.source.name, _table(one.choice, form)) for one in asked]


def _table(choice: Choice, form: str) -> str:
    notes = (foreign(note, form) for note in choice_tables.notes(choice))
    return with_notes(choice_tables.render(choice, form), notes, form)


def probes(evidence: Evidence, form: str) -> list[tuple[str, str]]:
    """Names of folders with probes, and their tables."""
    return [
        (s.name, choice_tables.render_probes(s.probes, form)) for s in evidence.sources if s.probes
    ]


# --------------------------------------------------------------------------------------------- page


def shown(asked: Sequence[Asked], evidence: Evidence) -> tuple[content.Choice, ...]:
    """The same for the page, with links to the trials' lines in it."""
    lines = {
        (line.source, row.stack.id, row.key): line.number
        for line in evidence.lines
        for row in line.group.rows
    }
    return tuple(_shown(name, one, lines) for name, one in named(asked))


def _shown(name: str, one: Asked, lines: dict[tuple[str, str, str], int]) -> content.Choice:
    def trials(candidate: Candidate) -> tuple[tuple[str, int | None], ...]:
        keys = ((row.stack.id, row.key) for row in candidate.rows)
        return tuple(
            (key[: naming.KEY_SHOWN], lines.get((one.source.name, stack, key)))
            for stack, key in keys
        )

    choice = one.choice
    titles, cells = choice_tables.table(choice)
    return content.Choice(
        name,
        content.Listing(
            tuple(titles), _numbers(titles), tuple(map(tuple, cells)), choice_tables.notes(choice)
        ),
        tuple(map(trials, choice.candidates)),
        tuple(choice_tables.state(c, choice) for c in choice.candidates),
    )


def shown_probes(evidence: Evidence) -> tuple[tuple[str, content.Listing], ...]:
    """Of each folder that has some; its name is empty where it is the only one."""
    found = []
    several = len(evidence.sources) > 1
    for source in (s for s in evidence.sources if s.probes):
        titles, cells = choice_tables.probe_table(source.probes)
        listing = content.Listing(tuple(titles), _numbers(titles), tuple(map(tuple, cells)))
        found.append((source.name if several else "", listing))
    return tuple(found)


def _numbers(titles: Sequence[str]) -> tuple[bool, ...]:
    return tuple(title not in WORDS for title in titles)
