"""Candidates of a choice, row under row: what is believed of their accuracy, and what test says."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.analysis import choosing
from bench.analysis.choice import Candidate, Choice
from bench.analysis.evidence import Evidence
from bench.errors import BenchError
from bench.reporting import choice_wording
from bench.reporting.choice_wording import probability
from bench.reporting.plots import style
from bench.reporting.plots.chosen import joined
from bench.reporting.plots.panel import Panel, Plot, stem
from bench.reporting.plots.style import Colours

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 30
"""Candidates of a figure; of more, the most probable."""

TEST_BELOW = 0.3
"""How far below a candidate's line its test accuracy stands, in lines."""


def _panels(evidence: Evidence) -> Iterator[Panel]:
    for source in evidence.sources:
        try:
            choice = choosing.read(source.folder)
        except BenchError:  # a report names it among its problems
            continue
        if choice and any(c.expected is not None for c in choice.candidates):
            yield panel(choice)


def panel(choice: Choice) -> Panel:
    """The picture of a choice of which something is believed."""
    task = choice.question.name
    title = f"{task}: which to take"
    known = [c for c in choice.candidates if c.expected is not None]
    shown = sorted(known[:MOST], key=lambda c: (c.state == "excluded", -(c.expected or 0.0)))
    return Panel(
        stem("choice", task),
        style.clean(title, 120),
        _alt(choice, known),
        _caption(choice, known, shown),
        partial(style.drawn, make=partial(_figure, title, choice, shown)),
    )


def _alt(choice: Choice, known: Sequence[Candidate]) -> str:
    name = choice_wording.namer(choice.candidates)
    said = [
        f"{style.clean(name(c), 60)} {choice_wording.believed(c)}, "
        + ("excluded" if c.state == "excluded" else f"the best with {probability(c.best)}")
        for c in known[:3]
    ]
    left = len(known) - len(said)
    more = f"; and {left:,} more" if left else ""
    task = style.clean(choice.question.name, 60)
    return f"Believed accuracy of the candidates for {task}: {'; '.join(said)}{more}."


def _caption(choice: Choice, known: Sequence[Candidate], shown: Sequence[Candidate]) -> str:
    unknown = len(choice.candidates) - len(known)
    tested = any(c.test for c in shown)
    return joined(
        "Lines: what is believed of each candidate's accuracy, from val alone, and what it lies "
        "between with 95% probability.",
        "Diamonds: accuracy on test, which had no say in the choice." if tested else "",
        "At the right: the probability that it is the best of those not excluded.",
        f"Of {len(known):,} candidates the {len(shown):,} most probable are drawn."
        if len(shown) < len(known)
        else "",
        f"Nothing is known yet of {unknown:,} more." if unknown else "",
    )


def _figure(title: str, choice: Choice, shown: Sequence[Candidate], colours: Colours) -> "Figure":
    name = choice_wording.namer(choice.candidates)
    sheet = style.sheet(title, 1, max(1.7, 0.8 + 0.42 * len(shown)))
    axes = sheet.axes[0]
    for place, candidate in enumerate(shown):
        _draw(axes, place, candidate, choice, colours)
        _note(axes, place, candidate, choice, colours)
    axes.annotate(
        "best", (1.0, 1.0), xycoords="axes fraction", xytext=(6, 4),
        textcoords="offset points", fontsize=9, fontweight="bold",
    )  # fmt: skip
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_yticks(range(len(shown)), [style.wrapped(name(c), 34, 2) for c in shown])
    for candidate, label in zip(shown, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if candidate is choice.pick else "normal")
        label.set_color(colours.faint if candidate.state == "excluded" else colours.ink)
    axes.tick_params(left=False)
    axes.grid(axis="y", alpha=0.12)
    axes.set_xlabel("accuracy, %")
    style.legend(sheet, [("candidate", _keys(choice, shown, colours))])
    return sheet.figure


def _look(candidate: Candidate, choice: Choice, colours: Colours) -> tuple[str, style.Fill]:
    """Colour, and a full marker for what was tried."""
    fill: style.Fill = "full" if candidate.rows else "none"
    if candidate.state == "excluded":
        return colours.faint, fill
    return colours.series[1 if candidate is choice.pick else 0], fill


def _draw(axes: "Axes", place: int, candidate: Candidate, choice: Choice, colours: Colours) -> None:
    colour, fill = _look(candidate, choice, colours)
    wide = 2.6 if candidate is choice.pick else 1.6
    if candidate.low is not None and candidate.high is not None:
        span = [100 * candidate.low, 100 * candidate.high]
        axes.plot(span, [place] * 2, color=colour, linewidth=wide, alpha=0.75, gid="believed")
    axes.plot(
        [100 * (candidate.expected or 0.0)], [place], linestyle="none", marker="o", color=colour,
        markerfacecolor=colour if fill == "full" else colours.paper, markersize=8, zorder=4,
        gid="expected",
    )  # fmt: skip
    if candidate.test:
        faint = candidate.state == "excluded"
        axes.plot(
            [100 * candidate.test.value], [place + TEST_BELOW], linestyle="none", marker="D",
            color=colours.faint if faint else colours.ink, fillstyle="none", markersize=5,
            zorder=5, gid="test",
        )  # fmt: skip


def _note(axes: "Axes", place: int, candidate: Candidate, choice: Choice, colours: Colours) -> None:
    gone = candidate.state == "excluded"
    axes.annotate(
        "excluded" if gone else probability(candidate.best),
        (1.0, place),
        xycoords=("axes fraction", "data"),
        xytext=(6, 0),
        textcoords="offset points",
        verticalalignment="center",
        fontsize=9,
        color=colours.faint if gone else colours.ink,
        fontweight="bold" if candidate is choice.pick else "normal",
    )


def _keys(
    choice: Choice, shown: Sequence[Candidate], colours: Colours
) -> "list[tuple[Artist, str]]":
    """What the figure has of each kind."""
    kinds = {
        "pick": style.key("o", colours.series[1], "full", colours),
        "tried": style.key("o", colours.series[0], "full", colours),
        "probe only": style.key("o", colours.series[0], "none", colours),
        "excluded": style.key("o", colours.faint, "full", colours),
    }
    states = {_kind(c, choice) for c in shown}
    found: list[tuple[Artist, str]] = [(key, kind) for kind, key in kinds.items() if kind in states]
    if any(c.test for c in shown):
        found.append((style.key("D", colours.ink, "none", colours, 5), "on test"))
    return found


def _kind(candidate: Candidate, choice: Choice) -> str:
    if candidate is choice.pick:
        return "pick"
    if candidate.state == "excluded":
        return "excluded"
    return "tried" if candidate.rows else "probe only"


CHOICES = Plot(
    "choice",
    "Which to take",
    "what is believed of each candidate's accuracy, and the probability that it is the best",
    "a choice of bench choose, with a probe or a trial",
    _panels,
)
