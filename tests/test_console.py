"""What commands print with."""

import io

from rich.text import Text

from bench.cli.console import PlainConsole
from bench.strangers import plain


def test_every_text_is_plain_whoever_prints_it() -> None:
    text = io.StringIO()
    console = PlainConsole(file=text, highlight=False, emoji=False)
    given = Text("b\x9b31m", style="bold")
    console.print("a\x1b[2J\u202e", given, 3, markup=False, soft_wrap=True)
    assert text.getvalue() == "a\ufffd[2J\ufffd b\ufffd31m 3\n"
    assert given.plain == "b\x9b31m", "what was given stays as it is"


def test_lines_and_letters_of_any_language_stay() -> None:
    assert plain("naïve\n日本語 – ±") == "naïve\n日本語 – ±"
    assert plain("\r\t\x7f") == 3 * "\N{REPLACEMENT CHARACTER}"
