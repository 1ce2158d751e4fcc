"""What a command line of ``bench choose`` asks: parsed words -> suite -> question."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.cli.console import named_suite, notes, out, reading
from bench.errors import BenchError, FileError

if TYPE_CHECKING:
    from bench.choices import Objective, Question
    from bench.data.images import Images
    from bench.records import Data, Dataset, Freeze
    from bench.settings import Settings
    from bench.suite import Suite

OPTIONS = {"data.image_size": "--image-size", "matrix[0].seeds": "--seeds"}
"""What the command line calls keys of the suite that it makes."""


@dataclass(frozen=True)
class Wanted:
    """What the command line says, parsed.

    Attributes:
        task: a folder, a dataset or a suite.
        backbones, freezes: empty for the usual ones.
        limits: by the names of `bench.choices.Limits`; None for none.
        objective, give_up, margin, sure: see `bench.choices.Question`.
        budget: seconds in all; None for as long as it takes.
        seeds, image_size: of a sweep that no suite describes.
        memory_limit: of a worker, in bytes; None for none.
        changes: to the suite, ``KEY=VALUE``.
        export: where to save the pick; None not to.
        force: replace a model that is there.
        output: of the report; None for the usual place.
        json: print the answer as JSON, and nothing else.
        results: where results go.
    """

    task: str
    backbones: "tuple[str, ...]"
    freezes: "tuple[Freeze, ...]"
    limits: Mapping[str, float | None]
    objective: "Objective"
    give_up: float
    margin: float
    sure: float
    budget: float | None
    seeds: int
    image_size: int
    memory_limit: int | None
    changes: tuple[str, ...]
    export: Path | None
    force: bool
    output: Path | None
    json: bool
    results: Path


def check(wanted: Wanted, backend: str, settings: "Settings") -> None:
    """What can be told wrong before anything is read."""
    from bench import sweep
    from bench.reporting import report_folder
    from bench.running import saving
    from bench.zoo import backbones

    if wanted.output is not None:
        report_folder.check(wanted.output)
    for name in wanted.backbones:
        if sweep.is_file(name) or name in backbones.BACKBONES:
            continue
        if any((folder / f"{name}.keras").is_file() for folder in settings.weights):
            raise BenchError(f"--backbones {name}: a file of that name is there: give {name}.keras")
        backbones.row(name)
    if wanted.export is not None:
        saving.check(wanted.export, backend, force=wanted.force)


def suite(wanted: Wanted, settings: "Settings") -> "tuple[Suite, bytes]":
    """The suite whose trials are the candidates, and the text of its file."""
    from bench import suite as suites
    from bench import sweep
    from bench.data import tasks

    path = named_suite([wanted.task])
    if path is not None:
        if wanted.backbones or wanted.freezes:
            option = "--backbones" if wanted.backbones else "--freezes"
            raise BenchError(
                f"{option}: {path} names its candidates itself: change them by --set "
                "'matrix.backbones=[...]' or 'matrix.freezes=[...]'"
            )
        loaded = suites.load(path, changes=wanted.changes)
        return _runnable(loaded, settings), path.read_bytes()
    try:
        wanted.task.encode()
    except UnicodeEncodeError:
        raise BenchError(f"{wanted.task!r}: expected a path in UTF-8") from None
    dataset = sweep.plainly_named(tasks.dataset(wanted.task, settings))
    return _sweep(wanted, dataset, settings)


def _sweep(wanted: Wanted, dataset: "Dataset", settings: "Settings") -> "tuple[Suite, bytes]":
    """A sweep of our own over the candidates that the command line names."""
    from bench import suite as suites
    from bench import sweep
    from bench.data import splits
    from bench.records import Data

    data = Data(dataset=dataset, image_size=wanted.image_size, splits=sweep.SPLITS)
    train = len(splits.split(_opened(data, Path.cwd(), settings), data).train)
    text = sweep.suite_text(
        sweep.Asked(
            dataset=dataset,
            train=train,
            backbones=wanted.backbones or sweep.BACKBONES,
            freezes=wanted.freezes,
            seeds=wanted.seeds,
            image_size=wanted.image_size,
        )
    )
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{dataset.name}.toml"
        file.write_text(text, encoding="utf-8")
        try:
            loaded = suites.load(file, changes=wanted.changes)
        except FileError as error:
            found = "is missing" if error.value is None else f"= {error.value!r}"
            place = OPTIONS.get(error.key, error.key)
            raise BenchError(f"{place} {found}: expected {error.expected}") from error
    changed = "".join(f"# --set {change}\n" for change in wanted.changes)
    here = loaded.model_copy(update={"folder": Path.cwd()})
    return _runnable(here, settings), (text + changed).encode()


def _runnable(suite: "Suite", settings: "Settings") -> "Suite":
    """The suite without backbones whose weights are known to be missing.

    Raises:
        BenchError: something else is missing, or there is no backbone left.
    """
    from bench import sweep
    from bench.records import Backbone
    from bench.running import plan
    from bench.zoo import weights

    missing: dict[Backbone, str] = {}
    for backbone in sweep.backbones_of(suite):
        try:
            weights.locate(backbone, settings, suite.folder)
        except BenchError as error:
            missing[backbone] = str(error)
    left = tuple(t for t in suite.trials if t.backbone not in missing)
    if not left:
        raise BenchError("; ".join(missing.values()))
    notes(f"left out: {text}" for text in missing.values())
    suite = suite.model_copy(update={"trials": left})
    if problems := plan.problems(suite, settings):
        raise BenchError("; ".join(problems))
    return suite


def question(wanted: Wanted, suite: "Suite", settings: "Settings") -> "Question":
    """What is asked, of the pictures as they are now; says what is to be said of them."""
    from bench import sweep
    from bench.choices import Limits
    from bench.data import datasets, look, splits
    from bench.reporting import data_look

    data = sweep.one_task(suite)
    images = _opened(data, suite.folder, settings)
    split = splits.split(images, data)
    if not wanted.json:
        seen = look.look(images, split, datasets.located(data.dataset, suite.folder))
        out.print(data_look.render(seen), markup=False, soft_wrap=True)
        out.print()
    own = suite.name == data.dataset.name
    name = data.dataset.name if own else f"{suite.name}-{data.dataset.name}"
    asked = sweep.question(
        suite,
        sweep.Pictures(len(split.train), len(split.val), len(images.class_names)),
        name=f"choose-{name}",
        limits=Limits.model_validate(dict(wanted.limits)),
        objective=wanted.objective,
        give_up=wanted.give_up,
        margin=wanted.margin,
        sure=wanted.sure,
        budget_seconds=wanted.budget,
    )
    kinds = dict.fromkeys([data, *(probe.data for probe in asked.probes)])
    prints = tuple(splits.split(images, kind).fingerprint for kind in kinds)
    sizes = len(split.train), len(split.val), len(split.test)
    return asked.model_copy(update={"pictures": prints, "sizes": sizes})


def _opened(data: "Data", base: Path, settings: "Settings") -> "Images":
    from bench.data import datasets
    from bench.data.apart import open_apart

    with reading() as progress:
        located = datasets.located(data.dataset, base)
        return open_apart(located, data.image_size, settings, progress)
