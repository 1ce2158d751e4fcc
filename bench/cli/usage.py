"""What typer says of wrong words on the command line, as one line of ours."""

import re
import sys
from typing import Any

from pydantic import ValidationError

from bench.errors import suggestion


def message(error: Any) -> str:
    """What is wrong, the offending value, and what would be valid.

    Args:
        error: a usage error of typer's, or of the click below it; neither has stable types.
    """
    name, cause = _name(error), error.__cause__
    if isinstance(cause, ValidationError) and name:
        found = cause.errors()[0]
        said = f"{name} {found['input']}: expected {_expected(found['msg'], str(found['input']))}"
    else:
        said = " ".join(error.format_message().split()).rstrip(".")
        said = re.sub(r" \(Possible options: ([^()]*)\)$", r"; did you mean one of \1?", said)
    path = error.ctx.command_path if error.ctx else _written()
    command = f"bench{path.partition('bench')[2]}"
    return f"{said} (see {command} --help)"


def _name(error: Any) -> str:
    """The option's longest name, or the argument's."""
    options = getattr(getattr(error, "param", None), "opts", None) or [""]
    return str(max(options, key=len))


def _written() -> str:
    """The command as far as its first word tells, where an error does not say which it is of."""
    return " ".join(["bench", *[word for word in sys.argv[1:] if not word.startswith("-")][:1]])


def _expected(text: str, value: str) -> str:
    if value.strip().lower().lstrip("+-") == "nan":
        return "a finite number"
    if "is not one of" in text:
        options = re.findall(r"'([^']*)'", text.partition("is not one of")[2])
        hint = suggestion(value, options)
        near = f"; {hint}" if hint.startswith("did you mean") else ""
        return f"one of {', '.join(options)}{near}"
    words = text.partition(",")[0].removeprefix("Input should be ")
    words = words.replace("a valid integer", "a whole number").replace("a valid number", "a number")
    return f"a number {words}" if words.startswith(("greater", "less")) else words
