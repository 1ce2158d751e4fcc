"""The page of a report, as one HTML file.

Templates escape everything that they are given. The page forbids itself to load anything: what it
is made of is in the file, its style and script named by their hashes.
"""

import base64
import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING

from bench import __version__
from bench.analysis import naming
from bench.analysis.details import TO_RUN
from bench.costs import CostResult
from bench.probes import ProbeResult
from bench.records import TrialResult
from bench.reporting import cost_tables
from bench.reporting.forms import Cell, kept, printable
from bench.reporting.notes import notes
from bench.reporting.page.content import Content, Plot
from bench.reporting.page.table import Table
from bench.reporting.page.trials import Trials

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

MANY_COSTS = 40
"""More lines of costs than this are folded."""


def render(content: Content) -> str:
    """The whole document.

    Args:
        content: what it shows; any text in it may be foreign.
    """
    style, script = _own("page.css"), _own("page.js")
    table = Table(content.evidence)
    trials = Trials(content.evidence, content.details, content.thumbnails)
    return (
        _environment()
        .get_template("page.html")
        .render(
            content=content,
            overview=overview(content),
            table=table,
            trials=trials,
            detailed=frozenset(t.number for t in trials.shown),
            costs=_costs(content),
            many_costs=MANY_COSTS,
            notes=_notes(content, table),
            style=style,
            script=script,
            policy=_policy(style, script),
            to_run=TO_RUN,
            version=__version__,
        )
    )


def overview(content: Content) -> str:
    """What the report is of, in one line."""
    evidence = content.evidence
    rows, costs = len(evidence.rows), len(evidence.costs)
    probes = evidence.probes
    measured: list[TrialResult | CostResult | ProbeResult] = [*evidence.rows, *evidence.costs]
    measured += probes
    stacks = dict.fromkeys(naming.stack(r.stack) for r in measured)
    versions = dict.fromkeys(r.environment.bench_version for r in measured if r.environment)
    parts = list(stacks) if len(stacks) <= MOST_NAMED else [f"{len(stacks):,} stacks"]
    parts.append(f"{_counted(len(evidence.lines), 'trial')} in {_counted(rows, 'row')}")
    parts += [_counted(costs, "measurement") + " of cost"] if costs else []
    parts += [_counted(len(probes), "probe")] if probes else []
    parts += [f"measured by Bench {', '.join(versions)}"] if versions else []
    return " · ".join(parts)


MOST_NAMED = 3
"""Stacks that are named before they are only counted."""


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _costs(content: Content) -> list[tuple[str, bool, list[Cell]]]:
    """Columns: the heading, whether it holds numbers, and the cells."""
    sources = [s for s in content.evidence.sources if s.costs]
    rows = [row for source in sources for row in source.costs]
    if not rows:
        return []
    short = naming.stacks(row.stack for row in rows)
    found: list[tuple[str, bool, list[Cell]]] = []
    if len(sources) > 1:
        found.append(("results", False, [s.name for s in sources for _ in s.costs]))
    for column in cost_tables.columns(rows):
        stacks = column is cost_tables.STACK
        cells = [short[row.stack.id] if stacks else column.cell(row) for row in rows]
        numbers = all(c is None or str(c)[:1].isdigit() for c in cells)
        found.append((column.title, numbers, cells))
    return found


def _notes(content: Content, table: Table) -> list[str]:
    """What is not among the footnotes of the table already."""
    evidence = content.evidence
    footnotes = {text for _, text in table.footnotes.notes}
    said = [n for n in notes(evidence.rows, evidence.ranked()) if n not in footnotes]
    if any(line.random for line in evidence.lines):
        said = [n for n in said if not n.endswith(naming.MEANINGLESS)]
    problems = [f"could not be read: {p}" for p in evidence.problems]
    return [*kept(problems), *said, *kept(cost_tables.notes(evidence.costs))]


def sized(svg: bytes) -> "Markup":
    """Attributes with a picture's size: without them links lead astray while pictures appear."""
    from markupsafe import Markup

    box = re.search(rb'viewBox="0 0 (\d+)[\d.]* (\d+)[\d.]*"', svg)
    return Markup(' width="{}" height="{}"').format(*map(int, box.groups())) if box else Markup()


def picture(svg: bytes) -> str:
    """An SVG document as a data URI."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("bench.reporting.page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_printable,
    )
    found.filters["percent"] = lambda share: f"{100 * share:.1f}%"
    found.filters["data_uri"] = picture
    found.filters["sized"] = sized
    return found


def _printable(value: object) -> object:
    """What goes into the page, so that no text holds what a parser would obey or not take."""
    ours = hasattr(value, "__html__")
    return printable(value) if isinstance(value, str) and not ours else value


def _own(name: str) -> str:
    """A file of ours that goes into the page as it is."""
    from markupsafe import Markup

    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _policy(style: str, script: str) -> str:
    """Nothing loads, but pictures in the file itself; this style and this script alone apply."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data:; style-src {digest(style)}; "
        f"script-src {digest(script)}; base-uri 'none'; form-action 'none'"
    )


__all__ = ["Content", "Plot", "overview", "render"]
