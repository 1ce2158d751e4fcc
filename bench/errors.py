"""Every error that Bench raises on purpose.

    BenchError              one clear message; the command line prints it and exits with 2
    |- FileError           a suite file is wrong: names the file, the key, the value, what is valid
    |- UnknownNameError     a name that no table holds: lists the known ones, nearest first
    |- ImpossibleTrialError parts of a trial that cannot go together; the trial is skipped
    |- DatasetError         a dataset cannot be read, or cannot be split as asked
    |- WeightsError         a backbone's weights are absent or do not fit
    |- CacheError           the cache cannot be read or written
    |- StoreError           a results folder cannot be read or written
    |  `- StoreLockedError  another run is writing to it
    `- WorkerError          a worker process could not start at all

A trial that fails is not an error: it is a row of the store with a status and a reason.
"""

import difflib
from collections.abc import Iterable

_LONGEST = 200
"""Characters of a key or a value that a message shows."""


class BenchError(Exception):
    """Base of the tree. Its text is one message fit for a user."""


class FileError(BenchError):
    """A suite, or another settings file, is wrong.

    Args:
        file: its path, as the user gave it.
        key: dotted path of the offending key, for example ``phase2.learning_rate``; empty where
            the file as a whole is wrong.
        value: the value found there, None where there is none.
        expected: what would be valid, as the end of the sentence "expected ...".
    """

    def __init__(self, file: str, key: str, value: object, expected: str) -> None:
        self.file, self.key, self.value, self.expected = file, key, value, expected
        found = "is missing" if value is None else f"= {_brief(repr(value))}"
        place = f" {_brief(key)} {found}:" if key else ""
        super().__init__(f"{file}:{place} expected {expected}")


class UnknownNameError(BenchError):
    """A name that its table does not hold.

    Args:
        kind: what the name should be, for example ``backbone``.
        name: the name that is not known.
        known: every name the table holds.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        super().__init__(f"unknown {kind} {name!r}: {suggestion(name, self.known)}")


class ImpossibleTrialError(BenchError):
    """Parts of a trial that cannot go together: the trial becomes a row with status ``skipped``."""


class DatasetError(BenchError):
    """A dataset cannot be found, read, or split as asked."""


class WeightsError(BenchError):
    """A backbone's weights cannot be found, or do not fit the backbone."""


class CacheError(BenchError):
    """The cache of pictures and other intermediate work cannot be read or written."""


class StoreError(BenchError):
    """A results folder cannot be read or written."""


class StoreLockedError(StoreError):
    """Another run is writing to this results folder."""


class WorkerError(BenchError):
    """A worker process could not start at all."""


def _brief(text: str) -> str:
    """A file may hold anything, a thousand brackets too: enough to find the place."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-20:]}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say what exists: the nearest names first, or all of them when none is near."""
    names = list(known)
    folded = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), list(folded), n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(folded[n] for n in near) + "?"
    return "known: " + ", ".join(names)
