"""``docs/bad_input.md``: every case of bad input, and what Bench says of it.

``python -m tests.bad_input.table`` writes it, in two minutes: some cases need Keras.
"""

import itertools
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from .cases import Accepted, Case
from .running import ROOT, Outcome, cases_of, run, run_apart

PAGE = ROOT / "docs" / "bad_input.md"
MODULES = (
    "suite_cases",
    "data_cases",
    "picture_cases",
    "results_cases",
    "command_cases",
    "weights_cases",
)
HEAD = """\
# Bad input

What Bench says of input that is wrong: one line that names the thing and says what would be valid,
exit code 2, nothing written. `--debug` puts the traceback before it. This page is made of the cases
in `tests/bad_input/` by `python -m tests.bad_input.table`, and a test holds it to them; every case
is a test, too. \N{HORIZONTAL ELLIPSIS} is the folder that the command was started in; long words
are cut.
"""
ODD = """\
## Odd, and no error

Input that looks wrong, and is taken; or left out with a note beside the rest, which is used.
"""
_LONG = 40
_NOTE = 300


def every() -> list[Case | Accepted]:
    """Every case there is, in the page's order."""
    return [case for module in MODULES for case in cases_of(module)]


def name(case: Case | Accepted) -> str:
    """The case's name, which no other has."""
    return f"{case.area}/{case.id}"


def line(case: Case | Accepted, outcome: Outcome) -> str:
    """The case's line of the page."""
    command = shlex.join(["bench", *map(_cut, case.words)])
    if isinstance(case, Case):
        said = outcome.err.strip().removeprefix("bench: ")
    else:
        printed = outcome.out + outcome.err
        said = "; ".join(dict.fromkeys(_said(text, printed).rstrip(".") for text in case.says))
    return f"| {_cell(case.id)} | `{_cell(command)}` | {_cell(_without_long_words(said))} |"


def page(outcomes: Mapping[str, Outcome]) -> str:
    """The whole page."""
    parts = [HEAD]
    refused = [c for c in every() if isinstance(c, Case)]
    parts.append(f"{len(refused)} cases are refused.\n")
    areas = itertools.groupby(sorted(refused, key=lambda c: _AREAS.index(c.area)), lambda c: c.area)
    for area, cases in areas:
        parts += [f"## {area.capitalize()}\n", _table("what is said", cases, outcomes)]
    odd = [c for c in every() if isinstance(c, Accepted)]
    parts += [ODD, _table("what is said, among other things", odd, outcomes)]
    return "\n".join(parts)


_AREAS = list(dict.fromkeys(c.area for c in every()))


def _table(
    title: str, cases: "Iterator[Case] | list[Accepted]", outcomes: Mapping[str, Outcome]
) -> str:
    lines = [f"| case | command | {title} |", "|---|---|---|"]
    return "\n".join([*lines, *(line(c, outcomes[name(c)]) for c in cases), ""])


def _said(text: str, printed: str) -> str:
    """The line that holds the text, if it is a sentence; a table's line would be of no use."""
    found = next((row for row in printed.splitlines() if text in row), text).strip()
    sentence = re.fullmatch(r"(\d+\. |bench: ).*", found)
    return re.sub(r"^(\d+\. |bench: (note: )?)", "", found)[:_NOTE] if sentence else text


def _cut(word: str) -> str:
    shown = word.encode("unicode_escape").decode() if not word.isprintable() else word
    return shown if len(shown) <= _LONG else f"{shown[:10]}\N{HORIZONTAL ELLIPSIS}{shown[-5:]}"


def _without_long_words(text: str) -> str:
    return re.sub(r"(\w)\1{40,}", lambda m: m[0][:10] + "\N{HORIZONTAL ELLIPSIS}", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def outcomes() -> dict[str, Outcome]:
    """Run every case; those that need Keras in one process of their own."""
    found = run_apart(MODULES, [name(c) for c in every() if c.slow])
    for case in every():
        if not case.slow:
            with tempfile.TemporaryDirectory(prefix="bad-") as place:
                found[name(case)] = run(case, Path(place))
    return found


if __name__ == "__main__":
    PAGE.write_text(page(outcomes()), encoding="utf-8")
