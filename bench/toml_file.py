"""Settings files in TOML, read into records: suites, and margins of a comparison.

Whatever is wrong is one `FileError` that names the file, the key, the value and what would be
valid.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from bench.errors import FileError, suggestion
from bench.records import Record

SUFFIX = ".toml"

R = TypeVar("R", bound=Record)


def read(path: Path) -> dict[str, Any]:
    """The file's TOML.

    Raises:
        FileError: the file cannot be read, or is not TOML.
    """
    file, name = str(path), path.name
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        near = sorted(p.name for p in path.parent.glob("*" + SUFFIX))
        hint = suggestion(name, near) if near else f"no {SUFFIX} file lies in that folder"
        raise FileError(file, "file", name, f"a file that exists; {hint}") from error
    except OSError as error:
        raise FileError(file, "file", name, f"a readable file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(file, "file", name, "UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise FileError(file, "file", name, f"valid TOML: {error}") from error


def parse(file: str, content: Mapping[str, Any], model: type[R], others: Sequence[str] = ()) -> R:
    """The file as typed values.

    Args:
        file: its path as the user gave it, for messages.
        content: what `read` returned.
        model: of the whole file.
        others: keys that the file may have besides, for messages.

    Raises:
        FileError: a key or a value is wrong.
    """
    # By way of JSON, because only there does pydantic's strict mode (no true for 1, no "3" for 3)
    # take a list for a tuple and a table for a record.
    text = json.dumps(content, default=_never_valid)
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _file_error(file, error, model, others) from error


def _never_valid(value: object) -> dict[str, str]:
    """TOML's dates and times have no place here: something that fits no field."""
    return {"date or time": str(value)}


_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "a table",
    "dict_type": "a table",
}
"""For pydantic's kinds of error whose own text speaks of Python or JSON."""


def _file_error(
    file: str, error: ValidationError, model: type[Record], others: Sequence[str]
) -> FileError:
    """One of the things pydantic found, in our words.

    A misspelt key goes first: it is often the reason why another one is missing.
    """
    errors = error.errors()
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    key = _dotted(first["loc"])
    kind, value = first["type"], first["input"]
    if kind == "missing":
        return FileError(file, key, None, "this key to be there")
    if kind == "extra_forbidden":
        known = _keys(model, first["loc"], others)
        expected = f"a key that exists; {suggestion(str(first['loc'][-1]), known)}"
    elif kind == "value_error":
        expected = str(first["ctx"]["error"])
    elif kind == "literal_error":
        options = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        expected = f"one of {', '.join(options)}{_nearest(value, options)}"
    else:
        expected = _WORDS.get(kind) or first["msg"].replace("Input should be", "a value")
    return FileError(file, key or "file", value, expected)


def _nearest(value: object, options: Sequence[str]) -> str:
    hint = suggestion(value, options) if isinstance(value, str) else ""
    return f"; {hint}" if hint.startswith("did you mean") else ""


def _dotted(location: Sequence[int | str]) -> str:
    """("matrix", 0, "seeds", 1) -> "matrix[0].seeds[1]"."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _keys(whole: type[Record], location: Sequence[int | str], others: Sequence[str]) -> list[str]:
    """The keys that are valid where an unknown one was found."""
    model: Any = whole
    for part in location[:-1]:
        if isinstance(part, str) and isinstance(model, type) and issubclass(model, Record):
            model = _record_in(model.model_fields[part].annotation)
    return sorted([*model.model_fields, *(others if model is whole else ())])


def _record_in(annotation: Any) -> Any:
    """The record type inside an annotation such as ``list[MatrixTable]`` or ``Splits | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return annotation
    inner = getattr(annotation, "__args__", ())
    return next((r for r in map(_record_in, inner) if r is not None), None)
