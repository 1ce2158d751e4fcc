"""What a job should take, by what earlier rows took. Nothing here guesses where no row tells.

Speeds are seconds for each picture of an epoch (``pace``), of a backbone at a size. In order:

    trial           1. other seeds of the same trial: what its own phases took
                    2. the same backbone, strategy and way on other pictures, by epochs, train
                       pictures and size (by its square)
                    3. the backbone's forward pass, by how much more the strategy takes with other
                       backbones
                    4. a measurement of the cost of phase 2; or a forward pass, and twice that for
                       what trains
    activations     pictures of the split, by the backbone's forward pass: of a measurement of
                    cost, of phase 1 computed literally, of a probe; or what is left of a trial
                    that made them itself, which holds loading the backbone, too
    heads           train pictures and epochs, by those of any backbone
    images          what a trial said that decoding the same dataset took
    cost, probe     what the same took before, or the backbone's others

What a trial takes to begin on another ground is no part of it (`dispatching.SETUP_SECONDS`). Early
stopping counts where rule 1 has seen it; the others count the epochs that were planned.
"""

import itertools
import statistics
from array import array
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from bench import steps
from bench.costs import CostResult, CostSpec
from bench.probes import ProbeResult, ProbeSpec
from bench.records import (
    Backbone,
    Data,
    Dataset,
    DatasetUsed,
    Freeze,
    Stack,
    TrialResult,
    TrialSpec,
    Way,
)
from bench.running import lines
from bench.running.jobs import Job
from bench.running.messages import Share
from bench.tasks import Row, Spec

TRAINING = 3.0
"""Forward passes that a training step of the same layers takes: one forwards, two backwards."""
MOST_ROWS = 10_000
"""Of a larger file only every n-th row is read, so that a run need not wait for it."""
_HEADS_TRAINED = 0.2
"""Seconds above which a shared phase 1 trained its heads, rather than finding them."""
_OWN_WORK = 5.0
"""A trial that is left with so many times the usual rest did shared work for others."""


class _Mean:
    """Of seconds over pictures (or over tasks), one after another."""

    __slots__ = ("seconds", "weight")

    def __init__(self) -> None:
        self.seconds = self.weight = 0.0

    def add(self, seconds: float, weight: float = 1.0) -> None:
        if weight > 0:
            self.seconds += seconds
            self.weight += weight

    @property
    def value(self) -> float:
        return self.seconds / self.weight


class _Paces:
    """Seconds for each picture, by what computes it and at which size."""

    def __init__(self) -> None:
        self._means: dict[Hashable, dict[int, _Mean]] = {}

    def add(self, of: Hashable, size: int, seconds: float, pictures: float = 1.0) -> None:
        self._means.setdefault(of, {}).setdefault(size, _Mean()).add(seconds, pictures)

    def at(self, of: Hashable, size: int) -> float | None:
        """At this size, or at the nearest one, by the square of both."""
        sizes = {s: mean for s, mean in self._means.get(of, {}).items() if mean.weight}
        if not sizes:
            return None
        nearest = min(sizes, key=lambda s: abs(s - size))
        return sizes[nearest].value * (size / nearest) ** 2

    def __iter__(self) -> Iterator[tuple[Hashable, int]]:
        return ((of, size) for of, sizes in self._means.items() for size in sizes)


class Expected:
    """What jobs should take, by rows that ended well; it keeps sums, and no row.

    Args:
        rows: of one kind of device, in any order.
        literal: trials share nothing but pictures.
    """

    def __init__(self, rows: Iterable[Row] = (), literal: bool = False) -> None:
        self._literal = literal
        self._own: dict[int, _Mean] = {}
        self._tuning, self._alone, self._measured = _Paces(), _Paces(), _Paces()
        # The most telling first; what is left of trials tells least.
        self._forward = {n: _Paces() for n in ("cost", "phase 1", "probe", "rest")}
        self._rests: dict[tuple[Way, bool], array[float]] = {}
        self._makers: dict[tuple[Hashable, Data], tuple[float, int]] = {}
        self._heads = _Mean()
        self._pictures: dict[Data, tuple[int, int, int]] = {}
        self._images: dict[Dataset, float] = {}
        self._tasks: dict[Hashable, _Mean] = {}
        for row in rows:
            if row.status == "ok":
                self._add(row)
        self._usual = {kind: statistics.median(rests) for kind, rests in self._rests.items()}
        self._add_rests()
        self._factors = self._by_strategy()

    def seconds(self, job: Job) -> float | None:
        """What a job should take once its worker is ready for it; None where nothing tells."""
        work = job.work
        if not isinstance(work, Share):
            return self._trial(work) if isinstance(work, TrialSpec) else self._task(work)
        if work.stage == "images":
            return self._images.get(work.spec.data.dataset)
        if work.stage == "heads":
            return self._stack(work.spec)
        return self._pass(work)

    # -------------------------------------------------------------------------- what rows tell

    def _add(self, row: Row) -> None:
        if isinstance(row, TrialResult):
            self._add_trial(row)
        elif isinstance(row, CostResult):
            self._add_cost(row)
        elif isinstance(row, ProbeResult) and row.dataset:
            size, each = row.spec.data.image_size, row.features_seconds
            if each:
                self._forward["probe"].add(_name(row.spec.backbone), size, each)
        if not isinstance(row, TrialResult):
            for alike in _alike(row.spec):
                self._tasks.setdefault(alike, _Mean()).add(row.seconds)

    def _add_trial(self, row: TrialResult) -> None:
        spec, used = row.spec, row.dataset
        if used is None:
            return
        self._pictures.setdefault(spec.data, (used.train, used.val, used.test))
        if row.pictures_seconds > self._images.get(spec.data.dataset, 0.0):
            self._images[spec.data.dataset] = row.pictures_seconds
        first, second = (p.seconds if p else 0.0 for p in (row.phase1, row.phase2))
        rest = row.seconds - first - second
        self._rests.setdefault(_kind(spec, row.way), array("d")).append(rest)
        self._add_phases(row, used)
        own = second if row.way == "shared" else first + second
        self._own.setdefault(_cell(spec, row.way), _Mean()).add(own)
        ground = _name(spec.backbone), spec.data
        if row.way == "shared" and rest > self._makers.get(ground, (0.0, 0))[0]:
            self._makers[ground] = rest, used.train + used.val + used.test

    def _add_phases(self, row: TrialResult, used: DatasetUsed) -> None:
        spec, size, name = row.spec, row.spec.data.image_size, _name(row.spec.backbone)
        if row.phase2:
            seen = used.train * len(row.phase2.epochs)
            self._tuning.add(_tuned(spec, row.way), size, row.phase2.seconds, seen)
        if row.phase1 is None:
            return
        seen = used.train * len(row.phase1.epochs)
        if row.way == "literal":
            self._alone.add(name, size, row.phase1.seconds, seen)
            if row.phase1.images_per_second:
                self._forward["phase 1"].add(name, size, 1 / row.phase1.images_per_second)
        elif row.phase1.seconds > _HEADS_TRAINED and not spec.augmentation:
            self._heads.add(row.phase1.seconds, seen)

    def _add_cost(self, row: CostResult) -> None:
        rate, spec = row.end_to_end or row.device, row.spec
        if rate is None or spec.mode != "default":
            return
        name = _name(spec.backbone)
        if spec.workload == "inference":
            self._forward["cost"].add(name, spec.image_size, 1 / rate.median)
        elif spec.freeze is not None:
            of = name, spec.freeze.label, spec.batch_norm
            self._measured.add(of, spec.image_size, 1 / rate.median)

    def _add_rests(self) -> None:
        """Passes that trials made within themselves, the longest of each ground."""
        usual = max((s for (way, _), s in self._usual.items() if way == "shared"), default=0.0)
        for (name, data), (rest, pictures) in self._makers.items():
            if rest > _OWN_WORK * usual:
                self._forward["rest"].add(name, data.image_size, rest - usual, pictures)

    def _by_strategy(self) -> Mapping[Hashable, float]:
        """Forward passes that an epoch's picture takes in phase 2: typical of all backbones."""
        found: dict[Hashable, list[float]] = {}
        for of, size in self._tuning:
            assert isinstance(of, tuple)
            name, *strategy = of
            tuning, forward = self._tuning.at(of, size), self._forwards(name, size)
            if tuning and forward:
                found.setdefault(tuple(strategy), []).append(tuning / forward)
        return {strategy: statistics.median(factors) for strategy, factors in found.items()}

    # ------------------------------------------------------------------------------- questions

    def _trial(self, spec: TrialSpec) -> float | None:
        shared = steps.shares_phase1(spec) and not self._literal
        way: Way = "shared" if shared else "literal"
        rest = self._usual.get(_kind(spec, way))
        same = self._own.get(_cell(spec, way))
        phases = same.value if same else self._phases(spec, way)
        return None if phases is None else phases + (rest or 0.0)

    def _phases(self, spec: TrialSpec, way: Way) -> float | None:
        """Seconds of the phases that a trial does for itself."""
        paces = []
        if spec.phase1 and way == "literal":
            paces.append((spec.phase1.epochs, self._first(spec)))
        if spec.phase2:
            paces.append((spec.phase2.epochs, self._second(spec, way)))
        if not paces:
            return 0.0 if _kind(spec, way) in self._usual else None
        train, seconds = self._count(spec.data, 0), 0.0
        for epochs, pace in paces:
            if pace is None or train is None:
                return None
            seconds += epochs * train * pace
        return seconds

    def _first(self, spec: TrialSpec) -> float | None:
        """Pace of a phase 1 that is computed literally."""
        name, size = _name(spec.backbone), spec.data.image_size
        return self._alone.at(name, size) or self._forwards(name, size)

    def _second(self, spec: TrialSpec, way: Way) -> float | None:
        """Pace of a phase 2."""
        name, size = _name(spec.backbone), spec.data.image_size
        known = self._tuning.at(_tuned(spec, way), size)
        if known is not None:
            return known
        _, *strategy = _tuned(spec, way)
        forward, factor = self._forwards(name, size), self._factors.get(tuple(strategy))
        if forward is not None and factor is not None:
            return forward * factor
        measured = self._measured.at((name, spec.freeze.label, spec.batch_norm), size)
        if measured is not None or forward is None:
            return measured
        return forward * (1.0 + (TRAINING - 1.0) * trained_share(spec.freeze))

    def _forwards(self, name: Hashable, size: int) -> float | None:
        """Pace of a backbone's forward pass, by the most telling of its rows."""
        known = (paces.at(name, size) for paces in self._forward.values())
        return next((pace for pace in known if pace is not None), None)

    def _pass(self, share: Share) -> float | None:
        data, split = share.spec.data, share.split
        pictures = self._count(data, ("train", "val", "test").index(split or "train"))
        pace = self._forwards(_name(share.spec.backbone), data.image_size)
        return None if pace is None or pictures is None else pictures * pace

    def _stack(self, spec: TrialSpec) -> float | None:
        train = self._count(spec.data, 0)
        if train is None or not self._heads.weight or spec.phase1 is None:
            return None
        return train * spec.phase1.epochs * self._heads.value

    def _task(self, spec: Spec) -> float | None:
        known = (self._tasks.get(alike) for alike in _alike(spec))
        return next((mean.value for mean in known if mean), None)

    def _count(self, data: Data, split: int) -> int | None:
        """Pictures in train (0), val (1) or test (2): as a row says, or as they are asked for."""
        if (known := self._pictures.get(data)) is not None:
            return known[split]
        return (data.train_examples, data.val_examples, data.test_examples)[split]


def trained_share(freeze: Freeze) -> float:
    """How much of a forward pass a strategy trains, roughly: later layers work on small maps."""
    if freeze.strategy == "top_fraction" and isinstance(freeze.amount, float):
        return freeze.amount
    return 1.0


def of_store(folder: Path, stack: Stack, literal: bool = False) -> Expected:
    """By the rows of a suite's results folder: those of a stack; where it has none, of its device.

    Args:
        folder: of a suite's results.
        stack: what the jobs will run on.
        literal: as of `Expected`.

    Raises:
        StoreError: a newer Bench wrote there.
        OSError: a file cannot be read.
    """
    files = [file for name in lines.KINDS for file in sorted(folder.glob(f"*/{name}"))]
    own = [file for file in files if file.parent.name == stack.id]
    found = (row for file in own or files for row in _sampled(file))
    return Expected((row for row in found if row.stack.device == stack.device), literal)


def _sampled(file: Path) -> Iterator[Row]:
    """Rows of a file, or every n-th of many; lines that are none are passed over."""
    with file.open("rb") as stream:
        count = sum(1 for _ in stream)
    with file.open("rb") as stream:
        for text in itertools.islice(stream, 0, None, 1 + count // MOST_ROWS):
            with suppress(ValueError):
                yield lines.parse(text, lines.KINDS[file.name])


def _name(backbone: Backbone) -> tuple[str, str | None]:
    """Speed does not depend on the weights."""
    return backbone.name, backbone.file


def _kind(spec: TrialSpec, way: Way) -> tuple[Way, bool]:
    """What a trial takes beside its phases depends on: guards and scores of a phase 2, say."""
    return way, spec.phase2 is not None


def _tuned(spec: TrialSpec, way: Way) -> tuple[Hashable, ...]:
    """What the pace of a phase 2 depends on, besides size."""
    return _name(spec.backbone), spec.freeze.label, spec.batch_norm, way


def _cell(spec: TrialSpec, way: Way) -> int:
    """Equal for trials that differ in nothing but the seed; a number, for there may be many."""
    return hash((spec.seedless, way))


def _alike(spec: Spec) -> Iterator[Hashable]:
    """What a task took is told by an equal one, else by others of its kind: the nearest first."""
    kind = type(spec).__name__
    yield kind, spec.key
    if isinstance(spec, CostSpec):
        yield kind, _name(spec.backbone), spec.mode
    if isinstance(spec, CostSpec | ProbeSpec):
        yield kind, _name(spec.backbone)
    yield (kind,)
