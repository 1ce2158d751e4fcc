"""Stacks as a user writes them -> frozen requests, and what is kept of each beside its results.

    tensorflow==2.20.*                      requirements, as pip takes them, without spaces
    old: tensorflow==2.20.* keras==3.12.*   a name of one's own in front
    backend=jax XLA_FLAGS=--flag            a backend; environment variables, in capitals
    current                                 what is installed here, and nothing made for it

Words are split as a shell does, so quotes hold a value with spaces together. A stack that names
neither a requirement nor a backend of its own runs on what is installed here.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bench.errors import BenchError, StoreError, suggestion
from bench.records import Record, Stack
from bench.running import store
from bench.running.backends import BACKENDS, VARIABLE
from bench.suite_file import Backend

CURRENT = "current"
FILE = "stack.json"
EXAMPLE = "a requirement like tensorflow==2.20.*, backend=jax, NAME=VALUE, or current"
PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "tf-nightly": ("tensorflow", "keras"),
    "tf-nightly-cpu": ("tensorflow", "keras"),
    "tensorflow-cpu": ("tensorflow",),
    "keras-nightly": ("keras",),
}
"""Distributions that bring the modules of others, which must not be installed beside them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(?!=)(.*)", re.DOTALL)
_OURS = re.compile(r"BENCH_\w+|TFDS_DATA_DIR|PYTHON(PATH|HOME|SAFEPATH)|VIRTUAL_ENV")
_OPERATORS = {
    ">=": "from-",
    ">": "above-",
    "<=": "to-",
    "<": "below-",
    "!=": "not-",
    "~=": "about-",
}
_LONGEST = 60
_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSWORD")
HIDDEN = "***"


Status = Literal["ok", "not installable", "not importable"]


class StackRequest(Record):
    """One stack that a user asked for.

    Attributes:
        name: of its results folder.
        requirements: what to install, as pip takes it; none for what is installed here.
        backend: what Keras computes with; None for what the suite or the environment says.
        environ: variables that its workers are started with.
        written: as the user wrote it, without values that are secrets by their names.
    """

    name: str
    requirements: tuple[str, ...] = ()
    backend: Backend | None = None
    environ: dict[str, str] = {}
    written: str = ""

    @property
    def is_current(self) -> bool:
        """Whether it runs on what is installed here."""
        return not self.requirements

    @property
    def packages(self) -> frozenset[str]:
        """Names of the distributions that it asks for, and of those that they stand for."""
        named = {canonicalize_name(Requirement(r).name) for r in self.requirements}
        return frozenset(named).union(*(PROVIDERS.get(name, ()) for name in named))

    @property
    def floating(self) -> bool:
        """Whether what it names may be another version tomorrow."""
        return not all(_is_exact(Requirement(r)) for r in self.requirements)

    @property
    def shown(self) -> dict[str, str]:
        """Its variables as they may be printed and kept."""
        return {k: HIDDEN if _SECRET.search(k) else v for k, v in self.environ.items()}

    @property
    def secrets(self) -> frozenset[str]:
        """Values that must not be printed or kept."""
        return frozenset(v for k, v in self.environ.items() if _SECRET.search(k) and v)


class StackNote(Record):
    """What became of a stack: ``stack.json`` beside its results. Names no folder of a machine.

    Attributes:
        request: the stack.
        status: whether its workers could start, or what failed.
        reason: why they could not.
        python: version of the interpreter.
        packages: installed versions of what matters most.
        dropped: packages meant to be as they are here, but the stack does not allow it:
            ``numpy 2.4.6 -> 2.0.2``.
        stack: as its workers came up; its rows are in the folder of that id.
    """

    request: StackRequest
    status: Status
    reason: str = ""
    python: str
    packages: dict[str, str] = {}
    dropped: tuple[str, ...] = ()
    stack: Stack | None = None


def masked(text: str, names: Mapping[str, str]) -> str:
    """A text without folders of this machine.

    Args:
        text: any.
        names: what to write instead (`Settings.names`).
    """
    for path, name in names.items():
        text = text.replace(path, name)
    return text


def check_name(name: str, what: str) -> None:
    """Raise `BenchError` for a folder whose rows the store would take for copies."""
    if name.lower() == store.BASELINES:
        raise BenchError(f"{what}: expected a name other than {name!r}: baselines are kept there")


def holder(file: Path) -> Path | None:
    """The folder of the stack, as `bench stacks` names it, that a file of rows belongs to.

    Args:
        file: ``.../<stack name>/<stack id>/trials.jsonl``, or without a stack's name; None then.
    """
    folder = file.absolute().parent.parent
    return folder if (folder / FILE).is_file() else None


def write(folder: Path, note: StackNote) -> None:
    """Keep a note in the results folder of its stack.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f".{FILE}"
        new.write_text(note.model_dump_json(indent=2) + "\n", encoding="utf-8")
        new.replace(folder / FILE)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error}") from error


def read(folder: Path) -> StackNote | None:
    """The note in a results folder; None where there is none that can be read."""
    try:
        return StackNote.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None


# ------------------------------------------------------------------------------------- parsing


def parse(texts: Sequence[str]) -> tuple[StackRequest, ...]:
    """Stacks with distinct names; equal ones get ``-a``, ``-b`` to be told apart.

    Args:
        texts: each a stack as the user wrote it, at least two.

    Raises:
        BenchError: one is no stack, or two different ones have one name.
    """
    if not 2 <= len(texts) <= len(ascii_lowercase):
        times = "once" if len(texts) == 1 else f"{len(texts)} times"
        raise BenchError(
            f"--stack given {times}: expected 2 to {len(ascii_lowercase)} stacks, "
            "the first being what the others are compared with"
        )
    found = [_parsed(text) for text in texts]
    for _, group in groupby(sorted(found, key=_folded), key=_folded):
        same = list(group)
        if len({_content(s) for s in same}) > 1:
            raise BenchError(
                f"--stack {same[1].written!r}: expected a name that differs from that of "
                f"{same[0].written!r}, which is {same[0].name!r}; write a name in front, as in "
                f"'other: {same[1].written.split(': ')[-1]}'"
            )
    counts = {name: iter(ascii_lowercase) for name in map(_folded, found)}
    names = [_folded(s) for s in found]
    lettered = [
        s.model_copy(update={"name": f"{s.name}-{next(counts[_folded(s)])}"})
        if names.count(_folded(s)) > 1
        else s
        for s in found
    ]
    _check_distinct(lettered)
    return tuple(lettered)


def _check_distinct(stacks: Sequence[StackRequest]) -> None:
    names = [_folded(s) for s in stacks]
    for stack in stacks:
        if names.count(_folded(stack)) > 1:
            raise BenchError(
                f"--stack {stack.written!r}: expected a name other than {stack.name!r}, which is "
                "what one of two equal stacks is called"
            )


def _folded(stack: StackRequest) -> str:
    """Some file systems do not tell capitals apart."""
    return stack.name.lower()


def _content(stack: StackRequest) -> str:
    plain = {"name": "", "written": "", "requirements": tuple(sorted(stack.requirements))}
    fields = stack.model_copy(update=plain).model_dump()
    return str(sorted((k, sorted(v.items()) if k == "environ" else v) for k, v in fields.items()))


def _parsed(text: str) -> StackRequest:
    label, words = _words(text)
    requirements: dict[str, str] = {}
    environ: dict[str, str] = {}
    backend: Backend | None = None
    for word in words:
        if word == CURRENT:
            continue
        assigned = _ASSIGNED.fullmatch(word)
        if assigned and assigned[1] in ("backend", VARIABLE):
            if backend:
                raise _wrong(text, word, f"one backend; {backend} is named already")
            backend = _backend(text, word, assigned[2])
        elif assigned:
            environ[_variable(text, word, assigned[1], environ)] = assigned[2]
        else:
            name, requirement = _requirement(text, word)
            if name in requirements:
                raise _wrong(text, word, f"each package once; {name} is named already")
            requirements[name] = requirement
    if CURRENT in words and requirements:
        first = next(iter(requirements.values()))
        raise _wrong(text, first, f"no requirement beside {CURRENT!r}, which installs nothing")
    if CURRENT not in words:
        backend = backend or _implied(requirements)
        if backend in ("jax", "torch"):
            requirements.setdefault(backend, backend)
    name = label or _default_name(words)
    check_name(name, f"--stack {text!r}")
    return StackRequest(
        name=name,
        requirements=tuple(requirements.values()),
        backend=backend,
        environ=environ,
        written=_hidden(text, label, words),
    )


def _hidden(text: str, label: str, words: Sequence[str]) -> str:
    """A stack as written, but for values that are secrets by their names."""
    if not any(map(_is_secret, words)):
        return text.strip()
    shown = [f"{w.partition('=')[0]}={HIDDEN}" if _is_secret(w) else shlex.quote(w) for w in words]
    return " ".join([f"{label}:", *shown] if label else shown)


def _is_secret(word: str) -> bool:
    assigned = _ASSIGNED.fullmatch(word)
    return bool(assigned and _SECRET.search(assigned[1]))


def _is_exact(requirement: Requirement) -> bool:
    return any(
        s.operator == "===" or (s.operator == "==" and not s.version.endswith(".*"))
        for s in requirement.specifier
    )


def _wrong(text: str, word: str, expected: str) -> BenchError:
    which = f"--stack {text!r}" if text == word else f"--stack {text!r}: {word!r}"
    return BenchError(f"{which}: expected {expected}")


def _words(text: str) -> tuple[str, list[str]]:
    """The name in front (empty where there is none), and the other words."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BenchError(f"--stack {text!r}: expected quotes that are closed: {error}") from error
    label = ""
    if words and words[0].endswith(":"):
        label = words.pop(0)[:-1]
        if not _NAME.fullmatch(label):
            raise _wrong(
                text, label, "a name of letters, digits, '.', '_' and '-', at most 60 of them"
            )
    if not words:
        raise BenchError(f"--stack {text!r}: expected words: {EXAMPLE}")
    return label, words


def _backend(text: str, word: str, value: str) -> Backend:
    for name in BACKENDS:
        if value == name:
            return name  # type: ignore[return-value]  # the table holds nothing else
    raise _wrong(text, word, _one_of(value))


def _one_of(value: str) -> str:
    near = suggestion(value, BACKENDS)
    more = f"; {near}" if near.startswith("did you mean") else ""
    return f"one of {', '.join(BACKENDS)}{more}"


def _variable(text: str, word: str, name: str, others: Mapping[str, str]) -> str:
    if not _VARIABLE.fullmatch(name):
        raise _wrong(
            text,
            word,
            "a variable in capitals (NAME=VALUE), backend=NAME, or a requirement with == as in "
            "tensorflow==2.20.*",
        )
    if _OURS.fullmatch(name):
        raise _wrong(text, word, "a variable of a framework: this one is equal for all stacks")
    if name in others:
        raise _wrong(text, word, f"each variable once; {name} is set already")
    return name


def _requirement(text: str, word: str) -> tuple[str, str]:
    """The package's name in its one spelling, and the requirement in pip's."""
    try:
        parsed = Requirement(word)
    except InvalidRequirement as error:
        raise _wrong(text, word, f"{EXAMPLE}; words hold no spaces") from error
    name = canonicalize_name(parsed.name)
    if name in ("bench", "keras-zoo-bench"):
        raise _wrong(text, word, "a package that Bench measures: every stack runs this same Bench")
    if parsed.url and "@" in parsed.url.partition("://")[2].partition("/")[0]:
        raise _wrong(text, word, "an address without a user or password: it is kept with results")
    return name, str(parsed)


def _implied(requirements: Mapping[str, str]) -> Backend | None:
    """The backend of a stack that names one framework only: it is meant to compute with it."""
    named = set(requirements).union(*(PROVIDERS.get(name, ()) for name in requirements))
    found = [name for name in BACKENDS if name in named]
    return found[0] if len(found) == 1 else None  # type: ignore[return-value]


# --------------------------------------------------------------------------------------- names


def _default_name(words: Sequence[str]) -> str:
    """``tensorflow-2.20_keras-3.12`` of ``tensorflow==2.20.* keras==3.12.*``."""
    parts = [part for word in words for part in _part(word)]
    return "_".join(parts)[:_LONGEST].rstrip("._-") or "stack"


def _part(word: str) -> Iterator[str]:
    assigned = _ASSIGNED.fullmatch(word)
    if assigned:
        own = assigned[1] in ("backend", VARIABLE)
        value = "" if _is_secret(word) else assigned[2]
        word = value if own else f"{assigned[1]}-{value}"
    else:
        word = word.replace(".*", "")
        for operator, name in _OPERATORS.items():
            word = word.replace(operator, f"-{name}")
    part = re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("._-")
    if part:
        yield part
