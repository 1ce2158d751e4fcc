"""Which backend Keras computes with, and whether it is there. Imports none."""

import importlib.util
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import get_args

from bench.errors import BenchError, UnknownNameError
from bench.suite_file import Backend

BACKENDS: tuple[str, ...] = get_args(Backend)
VARIABLE = "KERAS_BACKEND"
_INSTALL = {"tensorflow": "pip install -e .", "jax": "pip install -e '.[jax]'"}


def chosen(stated: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The backend that workers will use: the suite's, the environment's, or Keras' own choice.

    Args:
        stated: ``execution.backend`` of the suite.
        environ: that workers inherit.

    Raises:
        BenchError: the suite and the environment contradict each other.
        UnknownNameError: it is none that Bench knows.
    """
    asked = environ.get(VARIABLE)
    if stated and asked and stated != asked:
        raise BenchError(
            f"the suite has execution.backend = {stated!r}, but {VARIABLE} is {asked!r}: "
            f"unset {VARIABLE} to run the suite as it is, or take its backend out to choose one by "
            f"{VARIABLE}"
        )
    name = stated or asked or _by_keras(environ)
    if name not in BACKENDS:
        raise UnknownNameError(f"backend ({VARIABLE})" if asked else "backend", name, BACKENDS)
    return name


def _by_keras(environ: Mapping[str, str]) -> str:
    """What Keras takes where nobody says: its own file, then TensorFlow."""
    folder = Path(environ.get("KERAS_HOME") or "~/.keras").expanduser()
    with suppress(OSError, ValueError, AttributeError):
        return str(json.loads((folder / "keras.json").read_bytes()).get("backend", "tensorflow"))
    return "tensorflow"


def version(name: str) -> str | None:
    """The installed version of a backend; None where it is not installed."""
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def install(name: str) -> str:
    """The command that installs a backend."""
    return _INSTALL.get(name, f"pip install -e '.[{name}]'")


def problem(stated: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Why no worker could start on the backend asked for; None where nothing is in the way.

    Args:
        stated: ``execution.backend`` of the suite.
        environ: that workers inherit.
    """
    try:
        name = chosen(stated, environ)
    except BenchError as error:
        return str(error)
    if version(name) is None:
        return f"backend {name!r} is not installed: {install(name)}"
    return None
