"""What a comparison found, for a terminal, a pull request, or a program."""

from collections.abc import Iterable, Iterator, Sequence

from bench.analysis.comparison import Comparison, Finding
from bench.reporting import comparison_json, junit, wording
from bench.reporting.forms import Cell, foreign, printed, with_notes

FORMS = ("console", "markdown", "json", "junit")

LINES = 50
"""Of a table, before it only counts the rest: more are not read."""

LONGEST_NOTE = 400
"""Characters: a reason may be a whole traceback."""

TITLES = ("verdict", "quantity", "subject", "A", "B", "change", "p", "could see", "margin")


def document(
    comparison: Comparison, form: str, *, strict: bool = False, everything: bool = False
) -> str:
    """The whole report.

    Args:
        comparison: what was found.
        form: one of `FORMS`.
        strict: whether what is unclear counts as a failure, for programs.
        everything: list what is the same, too, and cut no table short. JSON and JUnit always hold
            everything.
    """
    if form == "json":
        return comparison_json.document(comparison, strict)
    if form == "junit":
        return junit.document(comparison, strict)
    page = _Page(comparison, form, everything)
    return "\n\n".join(page.markdown() if form == "markdown" else page.console())


class _Page:
    """A report for people, in one form."""

    def __init__(self, comparison: Comparison, form: str, everything: bool) -> None:
        self.comparison = comparison
        self.form = form
        self.everything = everything
        self.names = wording.subjects(comparison.findings)
        self.ordered = wording.worst_first(comparison)
        self.changed = [f for f in self.ordered if f.verdict != "same"]

    def console(self) -> Iterator[str]:
        """Its parts."""
        yield "\n".join(map(self._foreign, [self._answer(), *self._sides()]))
        table = self._table(self.ordered if self.everything else self.changed)
        if table:
            yield table
        notes = self._noted()
        if notes:
            yield notes
        if self.comparison.findings:
            yield self._summary()

    def markdown(self) -> Iterator[str]:
        """Its parts."""
        yield f"### {self._foreign(self._answer())}"
        yield "\n".join(f"* {self._foreign(side)}" for side in self._sides())
        table = self._table(self.changed)
        if table:
            yield table
        notes = self._noted()
        if notes:
            yield notes
        if self.comparison.findings:
            count = wording.counted(len(self.comparison.findings), "finding")
            yield f"<details><summary>All {count}</summary>"
            yield self._summary()
            yield self._table(self.ordered)
            yield "</details>"

    def _answer(self) -> str:
        return wording.answer(self.comparison)

    def _sides(self) -> Iterator[str]:
        return wording.sides(self.comparison)

    def _foreign(self, text: str) -> str:
        return foreign(text, self.form)

    # ----------------------------------------------------------------------------------- tables

    def _table(self, findings: Sequence[Finding]) -> str:
        """Empty without any finding."""
        if not findings:
            return ""
        shown = self._shown(findings)
        table = self._printed(TITLES, (self._line(f) for f in shown))
        more = len(findings) - len(shown)
        return f"{table}\n\nand {more:,} more: --format json has all" if more else table

    def _shown(self, findings: Sequence[Finding]) -> Sequence[Finding]:
        return findings if self.everything else findings[:LINES]

    def _line(self, finding: Finding) -> tuple[Cell, ...]:
        effect = finding.effect
        return (
            finding.verdict,
            wording.quantity(finding) + self._mark(finding),
            self.names[id(finding)],
            wording.amount(finding, finding.a),
            wording.amount(finding, finding.b),
            wording.change(effect),
            wording.p_value(effect),
            wording.could_see(effect),
            wording.margin(finding),
        )

    def _mark(self, finding: Finding) -> str:
        return "" if finding.quantity in self.comparison.rules.gate else " (told only)"

    def _summary(self) -> str:
        """How many findings of each quantity had each verdict."""
        lines = [
            (
                quantity.replace("_", " "),
                *(counted[verdict] for verdict in wording.VERDICTS),
                "yes" if quantity in self.comparison.rules.gate else "told only",
            )
            for quantity, counted in self.comparison.counts().items()
        ]
        return self._printed(("quantity", *wording.VERDICTS, "decides"), lines)

    def _printed(self, titles: Sequence[str], lines: Iterable[Sequence[Cell]]) -> str:
        cells = (
            [cell if cell is None else self._foreign(str(cell)) for cell in line] for line in lines
        )
        return printed(titles, cells, self.form)

    # ------------------------------------------------------------------------------------ notes

    def _noted(self) -> str:
        notes = (self._foreign(_short(note)) for note in self._notes())
        return with_notes("", notes, self.form).lstrip("\n")

    def _notes(self) -> Iterator[str]:
        """What is to be said of all, then what of those listed; the same of several, once."""
        yield from self.comparison.notes
        said: dict[str, list[Finding]] = {}
        for finding in self._shown(self.changed):
            for text in (finding.text, *finding.doubts):
                if text:
                    said.setdefault(text, []).append(finding)
        for finding in self.ordered:
            if finding.verdict == "same" and finding.quantity == "status" and finding.text:
                said.setdefault(f"on both sides alike, {finding.text}", []).append(finding)
        for text, findings in said.items():
            yield f"{wording.named(findings, self.names)}: {text}"


def _short(note: str) -> str:
    return note if len(note) <= LONGEST_NOTE else note[: LONGEST_NOTE - 1] + "…"
