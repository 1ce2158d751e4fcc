"""Results of several machines or people, made one store.

Every row keeps its place (``<stack>/trials.jsonl``, or ``<suite>/<stack>/trials.jsonl`` below a
root) and its line, byte for byte. Of the rows of one place, stack and key one stands:

    in one folder the last, as everywhere; those before it are dropped
    one that is settled (`store.SETTLED`) before one that is not
    of several that say the same (`bench.running.agreeing`) the one that says most of it; of
        several of these one whose predictions are there, then one under a checksum, then that of
        the folder named first
    of several whose results differ that of the folder that is preferred, if one is

and measurements of cost all stand, each once. Whatever else contradicts itself is refused before
anything is written.

A preference is between two measurements of one thing. Rows that rest on other pictures, other
weights or another protocol version are no such thing: whichever stood would lie under a key that
says it can be compared with its neighbours, and could not. So these are refused, whatever is
preferred.

Of rows only outlines are held; they are copied from where their lines lie.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from bench.errors import BenchError
from bench.running import agreeing, merge_inputs, merge_output, slimming, store
from bench.running.agreeing import TITLES, Difference, Kind
from bench.running.merge_inputs import Identity, Line, Source
from bench.running.merge_output import Standing
from bench.tasks import Row

_TOLD = 3
"""Of so many contradictions of a kind a refusal tells one by one."""
_REMEDIES: Mapping[bool, str] = {
    True: (
        "expected equal pictures, weights and protocol under one key and stack: leave one of the "
        "folders out, or measure its trials again on what the others have"
    ),
    False: (
        "expected equal results under one key and stack: leave one of the folders out, or name by "
        "--prefer FOLDER the one whose rows are to stand wherever results differ"
    ),
}
"""Whether rows rest on other ground."""


@dataclass
class Count:
    """What became of the rows of one stack in one folder.

    Attributes:
        folder: which.
        place: of the stack, below it.
        rows: all whole ones; the sum of what follows.
        taken: that stand in the merged store.
        same: that say what the row of another folder says, which stands.
        yielded: to a row of another folder that is settled, or preferred; or neither is settled,
            and that one was named first.
        earlier: of which a later one in the same folder counts.
    """

    folder: Path
    place: PurePath
    rows: int = 0
    taken: int = 0
    same: int = 0
    yielded: int = 0
    earlier: int = 0


@dataclass(frozen=True)
class Merged:
    """What was merged.

    Attributes:
        counts: of each stack in each folder.
        notes: what did not come along, and what to know of the rest.
    """

    counts: tuple[Count, ...]
    notes: tuple[str, ...]


def merge(folders: Sequence[Path], output: Path, prefer: Path | None = None) -> Merged:
    """Make one store of several: whole, or not at all.

    Args:
        folders: results of a suite each, or roots that hold those of several; two or more.
        output: does not exist, or is an empty folder; lies in none of them.
        prefer: one of them, whose row stands wherever settled rows of one key differ in results.

    Raises:
        BenchError: these folders cannot be merged, or not there; rows contradict each other.
        StoreError: one cannot be read, was written by a newer Bench, or changed meanwhile; the
            merged store cannot be written.
        StoreLockedError: another merge is writing it.
    """
    found = merge_inputs.sources(folders)
    preferred = _numbered(prefer, folders)
    merge_output.check(output, folders)
    with slimming.uncollected():
        joint = _Joint(found, preferred)
        files = dict.fromkeys(file for source in found for file in source.files)
        standing = {file: joint.join(file) for file in sorted(files)}
        joint.refuse()
        said = merge_output.write(standing, found, output)
    counts = (count for _, count in sorted(joint.counts.items(), key=lambda each: each[0]))
    return Merged(tuple(counts), (*joint.notes(), *said))


def _numbered(prefer: Path | None, folders: Sequence[Path]) -> int | None:
    if prefer is None:
        return None
    with suppress(OSError, RuntimeError, ValueError):  # not there, or links in a circle
        return [folder.resolve() for folder in folders].index(prefer.resolve())
    known = " or ".join(map(str, folders))
    raise BenchError(f"--prefer {prefer}: expected one of the folders to merge, {known}")


@dataclass(frozen=True)
class _Contradiction:
    label: str
    key: str
    stack: str
    folders: tuple[Path, Path]
    difference: Difference
    remark: str

    def __str__(self) -> str:
        (a, b), (x, y) = self.folders, self.difference.values
        return (
            f"{self.label} (key {self.key}, {self.stack}): {self.difference.what} {x} in {a}, "
            f"{y} in {b}{self.remark}"
        )


class _Joint:
    """What the folders come to together, one file after another."""

    def __init__(self, sources: Sequence[Source], preferred: int | None) -> None:
        self.counts: dict[tuple[int, PurePath], Count] = {}
        self._sources, self._preferred = sources, preferred
        self._problems: list[list[str]] = [list(source.problems) for source in sources]
        self._common: slimming.Common = {}
        self._known: dict[tuple[str, Hashable], dict[str, int]] = {}
        self._processors: dict[tuple[PurePath, str, str], set[str]] = {}
        self._contradictions: Counter[Kind] = Counter()
        self._examples: dict[Kind, list[_Contradiction]] = {}

    def join(self, file: PurePath) -> list[Standing]:
        """The rows of one file that stand, in the order in which their trials first appear."""
        found: dict[Identity, list[Line]] = {}
        for number, source in enumerate(self._sources):
            if file in source.files:
                for identity, line in self._last(number, source, file).items():
                    found.setdefault(identity, []).append(line)
        return [self._standing(file, identity, lines) for identity, lines in found.items()]

    def _last(self, number: int, source: Source, file: PurePath) -> dict[Identity, Line]:
        count = self._count(number, file)
        last: dict[Identity, Line] = {}
        problems = self._problems[number]
        for identity, line in merge_inputs.outlines(source, number, file, self._common, problems):
            count.rows += 1
            count.earlier += identity in last
            last[identity] = line
        return last

    def _count(self, number: int, file: PurePath) -> Count:
        new = Count(self._sources[number].folder, file.parent)
        return self.counts.setdefault((number, file.parent), new)

    def _standing(self, file: PurePath, identity: Identity, found: Sequence[Line]) -> Standing:
        settled = [line for line in found if line.settled]
        stands, unlike = (settled or found)[0], set[int]()
        if len(settled) > 1:
            stands, unlike = self._chosen(file, settled)
        for line in found:
            count = self._count(line.source, file)
            if line is stands:
                count.taken += 1
            elif line.source in unlike or (not line.settled and line.brief != stands.brief):
                count.yielded += 1
            else:
                count.same += 1
        self._remember(file, identity, stands)
        alike = tuple(line.source for line in found if line.digest == stands.digest)
        return Standing(stands, alike)

    def _chosen(self, file: PurePath, settled: Sequence[Line]) -> tuple[Line, set[int]]:
        """Of settled rows that may differ the one that stands, and folders that it overrules."""
        if len({line.brief for line in settled}) == 1:
            return self._best(file, settled, [0] * len(settled)), set()
        rows = [merge_inputs.row(self._sources[line.source], file, line) for line in settled]
        found = agreeing.contradiction(rows)
        if found is None:  # some say less than others
            return self._best(file, settled, list(map(agreeing.amount, rows))), set()
        i, j, difference = found
        for line, row in zip(settled, rows, strict=True):
            if line.source == self._preferred and difference.kind == "results":
                unlike = {
                    other.source
                    for other, there in zip(settled, rows, strict=True)
                    if agreeing.difference(row, there)
                }
                return line, unlike
        self._contradictions[difference.kind] += 1
        examples = self._examples.setdefault(difference.kind, [])
        if len(examples) < _TOLD:
            places = [self._sources[settled[n].source].folder for n in (i, j)]
            examples.append(_contradiction(rows[i], rows[j], (places[0], places[1]), difference))
        return settled[0], set()

    def _best(self, file: PurePath, alike: Sequence[Line], amounts: Sequence[int]) -> Line:
        """Of rows that say the same, and so much of it each, the one that stands."""
        there = {line.digest for line in alike if self._has_predictions(file, line)}
        ranks = [(n, a.digest in there, a.checked) for n, a in zip(amounts, alike, strict=True)]
        return alike[ranks.index(max(ranks))]

    def _has_predictions(self, file: PurePath, line: Line) -> bool:
        folder = self._sources[line.source].folder / file.parent / store.PREDICTIONS
        return line.predictions is not None and merge_output.present(folder / line.predictions)

    def _remember(self, file: PurePath, identity: Identity, stands: Line) -> None:
        for what, whose, value in stands.ground if stands.settled else ():
            self._known.setdefault((what, whose), {}).setdefault(value, stands.source)
        if stands.processor:
            which = (file.parent, identity.stack, identity.key)
            self._processors.setdefault(which, set()).add(stands.processor)

    def refuse(self) -> None:
        """Raise `BenchError` where rows contradict each other."""
        if not self._contradictions:
            return
        parts = []
        for kind in (kind for kind in TITLES if kind in self._contradictions):
            many, named = self._contradictions[kind], self._examples[kind]
            more = [f"{many - len(named):,} more"] if many > len(named) else []
            parts.append(f"{TITLES[kind]} ({many:,}): " + "; ".join([*map(str, named), *more]))
        many = self._contradictions.total()
        grounds = {kind != "results" for kind in self._contradictions}
        remedy = "; ".join(_REMEDIES[ground] for ground in sorted(grounds, reverse=True))
        rows = "1 row contradicts" if many == 1 else f"{many:,} rows contradict"
        raise BenchError(
            f"nothing was merged: {rows} that of another folder: {'; '.join(parts)}; {remedy}"
        )

    def notes(self) -> Iterator[str]:
        """What could not be read, is not merged, or is to be known before rows are compared."""
        for source, problems in zip(self._sources, self._problems, strict=True):
            more = f"more lines of {source.folder} are left out; bench show tells of damaged ones"
            yield from merge_output.some(problems, more)
            if source.others:
                others = ", ".join(merge_output.some(source.others, "more"))
                yield f"{source.folder}: not merged, because these are no rows: {others}"
        yield from self._unlike()
        if several := [found for found in self._processors.values() if len(found) > 1]:
            named = ", ".join(sorted(set().union(*several)))
            workloads = "1 workload" if len(several) == 1 else f"{len(several):,} workloads"
            yield (
                f"costs of {workloads} were measured on different processors "
                f"({named}), and are taken together when read: keep their folders apart to compare "
                "machines"
            )

    def _unlike(self) -> Iterator[str]:
        """Rows of different keys that one would compare, and tables keep apart."""
        told: Counter[str] = Counter()
        first: dict[str, str] = {}
        for (what, _), found in self._known.items():
            if len(set(found.values())) > 1:
                told[what] += 1
                where = (f"{v[:12]} in {self._sources[n].folder}" for v, n in found.items())
                first.setdefault(what, ", ".join(where))
        for what, many in told.items():
            times = "once" if many == 1 else f"{many:,} times"
            yield (
                f"{times} the same name stands for other {what} in another folder "
                f"({first[what]}): tables keep such rows apart"
            )


def _contradiction(
    a: Row, b: Row, folders: tuple[Path, Path], difference: Difference
) -> _Contradiction:
    remark = ""
    if difference.kind == "results":
        hows = [_how(row) for row in (a, b)]
        if hows[0] != hows[1]:
            remark = f" ({'; '.join(f'{f}: {how}' for f, how in zip(folders, hows, strict=True))})"
    return _Contradiction(a.spec.label, a.key, a.stack.id, folders, difference, remark)


def _how(row: Row) -> str:
    """Whether equal bits are promised, and on what: where two rows differ in it, it may be why."""
    promise = getattr(row, "reruns", None)
    words = [f"reruns {promise}, {getattr(row, 'reruns_reason', '')}"] if promise else []
    words += [row.environment.processor] if row.environment else []
    return ", ".join(words) or "nothing is known of its machine"
