"""What makes a virtual environment and installs into it: ``uv``, or ``venv`` and ``pip``.

Their own configuration (index, proxy, certificates) is inherited. What they complain of is brought
down to one line, without addresses: it is kept with results.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

LAST_LINES = 3
LONGEST = 600
_NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "VIRTUAL_ENV", "PIP_USER")
_ADDRESS = re.compile(r"\b(?:https?|file|git\+\w+)://[^\s,;)'\"]+")
_NOISE = re.compile(r"ResolutionImpossible|\(from versions:|^Looking in ")
_UNRESOLVED = re.compile(
    r"conflicting dependencies|ResolutionImpossible|No matching distribution|No solution found"
)


class InstallError(Exception):
    """It could not be installed.

    Args:
        reason: in one line.
        unresolved: whether the versions asked for do not go together, or do not exist.
    """

    def __init__(self, reason: str, *, unresolved: bool) -> None:
        self.unresolved = unresolved
        super().__init__(reason)


class Installer(Protocol):
    """What makes environments."""

    def make(self, folder: Path) -> None:
        """Make an empty environment of the Python that runs.

        Raises:
            InstallError: it cannot.
        """

    def install(self, folder: Path, requirements: Sequence[str]) -> None:
        """Install into it.

        Raises:
            InstallError: it cannot; nothing has been installed.
        """

    def replace(self, folder: Path, requirements: Sequence[str]) -> None:
        """Install just these, and nothing that they require.

        Raises:
            InstallError: it cannot.
        """


class Uv:
    """``uv``."""

    def make(self, folder: Path) -> None:
        """See `Installer`."""
        _run(["uv", "venv", "--quiet", "--python", sys.executable, str(folder)])

    def install(self, folder: Path, requirements: Sequence[str]) -> None:
        """See `Installer`."""
        self._install(folder, requirements)

    def replace(self, folder: Path, requirements: Sequence[str]) -> None:
        """See `Installer`."""
        self._install(folder, ["--no-deps", *requirements])

    def _install(self, folder: Path, words: Sequence[str]) -> None:
        _run(["uv", "pip", "install", "--python", str(python(folder)), *words])


class Pip:
    """``venv`` of the standard library, and the ``pip`` that comes with it."""

    def make(self, folder: Path) -> None:
        """See `Installer`."""
        _run([sys.executable, "-m", "venv", str(folder)])

    def install(self, folder: Path, requirements: Sequence[str]) -> None:
        """See `Installer`."""
        self._install(folder, requirements)

    def replace(self, folder: Path, requirements: Sequence[str]) -> None:
        """See `Installer`."""
        self._install(folder, ["--no-deps", *requirements])

    def _install(self, folder: Path, words: Sequence[str]) -> None:
        _run([str(python(folder)), "-m", "pip", "install", "--no-input", *words])


def best() -> Installer:
    """``uv`` where it is on PATH; it is many times as fast."""
    return Uv() if shutil.which("uv") else Pip()


def python(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / "bin" / "python"


def _run(command: Sequence[str]) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environ,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise InstallError(f"{Path(command[0]).name}: {error}", unresolved=False) from error
    if done.returncode:
        unresolved = bool(_UNRESOLVED.search(done.stdout))
        reason = complaint(done.stdout) or f"{Path(command[0]).name} ended with {done.returncode}"
        raise InstallError(reason, unresolved=unresolved)


def complaint(output: str) -> str:
    """What an installer has against it, in one line without addresses.

    Args:
        output: all that it printed.
    """
    lines = [line.strip() for line in output.splitlines()]
    said = [line for line in lines if line and not _NOISE.search(line)]
    found = _of_uv(said) or _of_pip(said) or said[-LAST_LINES:]
    text = " ".join(" ".join(found).split())
    return _ADDRESS.sub("<address>", text)[:LONGEST]


def _of_uv(lines: Sequence[str]) -> list[str]:
    """From where it says that there is no solution, to the end."""
    for number, line in enumerate(lines):
        if "No solution found" in line:
            return [text.lstrip("×╰─▶ ") for text in lines[number:]]
    return []


def _of_pip(lines: Sequence[str]) -> list[str]:
    """Its last error, and what it says caused a conflict."""
    errors = [line for line in lines if line.startswith("ERROR:")]
    causes: list[str] = []
    for number, line in enumerate(lines):
        if line.startswith("The conflict is caused by"):
            after = lines[number + 1 :]
            ends = (
                n for n, text in enumerate(after) if text.startswith(("To fix", "ERROR", "Add"))
            )
            causes = [text + ";" for text in after[: next(ends, len(after))]]
    return [errors[-1].removeprefix("ERROR:"), *causes] if errors else []
