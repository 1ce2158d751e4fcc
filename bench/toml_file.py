"""Settings files in TOML, read into records: suites, and margins of a comparison.

Whatever is wrong is one `FileError` that names the file, the key, the value and what would be
valid.
"""

import json
import math
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError

from bench.errors import FileError, suggestion
from bench.records import Record

SUFFIX = ".toml"
_LARGEST = 2**22
"""Bytes of a settings file; a suite with a thousand claims has a tenth of it."""
_DEEPEST = 20
_BITS = "numbers that fit into 64 bits"
_DEPTH = f"at most {_DEEPEST} tables and lists nested in one another"

R = TypeVar("R", bound=Record)


def read(path: Path) -> dict[str, Any]:
    """The file's TOML.

    Raises:
        FileError: the file cannot be read, or is not TOML that a settings file can hold.
    """
    file = str(path)
    try:
        content = tomllib.loads(_text(path))
    except FileNotFoundError as error:
        raise FileError(file, "", None, f"a file that exists; {_beside(path)}") from error
    except PermissionError as error:
        raise FileError(file, "", None, f"a file that you may read: {error.strerror}") from error
    except OSError as error:
        raise FileError(file, "", None, f"a file that can be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileError(file, "", None, f"UTF-8 text, but byte {error.start} is none") from error
    except tomllib.TOMLDecodeError as error:
        said = re.sub(r"\('(.*?)',?\)", r"\1", str(error))  # keys as Python writes tuples
        raise FileError(file, "", None, f"valid TOML: {said}") from error
    except RecursionError as error:
        raise FileError(file, "", None, _DEPTH) from error
    except ValueError as error:  # a null byte in its name, or a number of 5,000 digits
        valid = _BITS if "digits" in str(error) else f"a file that can be read: {error}"
        raise FileError(file, "", None, valid) from error
    _check_sizes(file, content)
    return content


def _beside(path: Path) -> str:
    """What there is where a file is not."""
    near = sorted(p.name for p in path.parent.glob("*" + SUFFIX))
    if near:
        return suggestion(path.name, near)
    there = path.parent.is_dir()
    return f"no {SUFFIX} file lies in that folder" if there else "its folder is not there either"


def _text(path: Path) -> str:
    """What the file holds; a pipe is not waited for, and no disk is read to its end."""
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise FileError(str(path), "", None, f"a {SUFFIX} file, but it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise FileError(str(path), "", None, "a regular file, no pipe or device")
    if found.st_size > _LARGEST:
        valid = f"a settings file of at most {_LARGEST:,} bytes, but it has {found.st_size:,}"
        raise FileError(str(path), "", None, valid)
    return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")


def _check_sizes(file: str, content: Mapping[str, Any]) -> None:
    """Nothing deeper than a settings file is, and no number that TOML does not have."""
    inside: list[tuple[str, object, int]] = [("", content, 0)]
    while inside:
        key, value, depth = inside.pop()
        if depth > _DEEPEST:
            raise FileError(file, "", None, _DEPTH)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            found = value if value.bit_length() < 256 else hex(value)
            raise FileError(file, key, found, _BITS)
        if isinstance(value, dict):
            inside += [(f"{key}.{k}".removeprefix("."), v, depth + 1) for k, v in value.items()]
        elif isinstance(value, list):
            inside += [(f"{key}[{i}]", v, depth + 1) for i, v in enumerate(value)]


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


_TIME = "date or time"


def _never_valid(value: object) -> dict[str, str]:
    """TOML's dates and times have no place here: something that fits no field."""
    return {_TIME: str(value)}


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
    if isinstance(value, dict) and list(value) == [_TIME]:
        value = f"{value[_TIME]} (a {_TIME})"
    if kind == "missing":
        return FileError(file, key, None, _wanted(model, first["loc"]))
    if kind == "extra_forbidden":
        known = _keys(model, first["loc"], others)
        expected = f"a key that exists; {suggestion(str(first['loc'][-1]), known)}"
    elif kind == "value_error":
        expected = str(first["ctx"]["error"])
    elif kind == "literal_error":
        said = first["ctx"]["expected"]
        options = re.findall(r"'([^']*)'", said)
        expected = f"one of {', '.join(options)}{_nearest(value, options)}" if options else said
    elif isinstance(value, float) and not math.isfinite(value):
        expected = "a finite number"
    else:
        expected = _WORDS.get(kind) or first["msg"].replace("Input should be", "a value")
    return FileError(file, key, value if key else None, expected)


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
    model = _holder(whole, location)
    return sorted([*model.model_fields, *(others if model is whole else ())])


def _holder(whole: type[Record], location: Sequence[int | str]) -> type[Record]:
    """The record that a key is in."""
    model: Any = whole
    for part in location[:-1]:
        if isinstance(part, str) and isinstance(model, type) and issubclass(model, Record):
            model = _record_in(model.model_fields[part].annotation)
    return model  # type: ignore[no-any-return]


def _wanted(whole: type[Record], location: Sequence[int | str]) -> str:
    """What a key that is missing has to hold."""
    name = str(location[-1])
    annotation = _holder(whole, location).model_fields[name].annotation
    if record := _record_in(annotation):
        keys = [k for k, field in record.model_fields.items() if field.is_required()]
        form = f"[[{name}]]" if get_origin(annotation) is list else f"[{name}]"
        return f"a table {form} with {', '.join(keys)}"
    if options := get_args(annotation) if get_origin(annotation) is Literal else ():
        return f"one of {', '.join(options)}"
    kinds = {int: "a whole number", float: "a number", str: "a text in quotes"}
    return kinds.get(annotation, "a list")  # type: ignore[arg-type]


def _record_in(annotation: Any) -> Any:
    """The record type inside an annotation such as ``list[MatrixTable]`` or ``Splits | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return annotation
    inner = getattr(annotation, "__args__", ())
    return next((r for r in map(_record_in, inner) if r is not None), None)
