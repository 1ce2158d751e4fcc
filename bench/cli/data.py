"""``bench data``: a look at pictures before anything is trained on them."""

import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import err, notes, out, reading
from bench.errors import BenchError, WeightsError

if TYPE_CHECKING:
    from bench.data.images import Images
    from bench.probes import ProbeResult, ProbeSpec
    from bench.records import Backbone, Data, Preprocessing
    from bench.settings import Settings

NONE = "none"
"""In place of a backbone: no search for mislabelled pictures."""

USUAL = "MobileNetV2"
"""Small, and good enough to tell what looks alike; its weights come without a network."""

MOST = 5000
"""Train pictures that are searched: a look is to take minutes at the most."""

MINUTES = 60.0


class Form(StrEnum):
    """Formats of a look."""

    CONSOLE = "console"
    JSON = "json"


class Pixels(StrEnum):
    """What a backbone in a file expects of pixels."""

    RAW = "raw"
    MINUS_ONE_TO_ONE = "minus_one_to_one"
    ZERO_TO_ONE = "zero_to_one"
    CAFFE = "caffe"
    TORCH = "torch"


def data(
    what: Annotated[
        str, typer.Argument(help="A folder of class folders, a dataset, or tfds:NAME.")
    ],
    backbone: Annotated[
        str,
        typer.Option(help="That looks for mislabelled pictures: a name, a .keras file, or none."),
    ] = USUAL,
    preprocessing: Annotated[
        Pixels | None, typer.Option(help="What a backbone in a file expects of pixels.")
    ] = None,
    image_size: Annotated[
        int, typer.Option(min=32, max=2048, help="Side that pictures are brought to, in pixels.")
    ] = 160,
    form: Annotated[Form, typer.Option("--format", help="How to print it.")] = Form.CONSOLE,
) -> None:
    """Look at pictures: classes, balance, copies, unreadable files, doubtful labels."""
    from bench.settings import Settings

    settings = Settings.from_environment()
    seeing, why_not = _backbone(backbone, preprocessing, settings)
    try:
        _look(what, image_size, seeing, why_not, form, settings)
    except KeyboardInterrupt:
        err.print("bench: interrupted; decoded pictures are kept only once all of them are")
        raise typer.Exit(130) from None


def _look(
    what: str,
    image_size: int,
    seeing: "Backbone | None",
    why_not: str,
    form: Form,
    settings: "Settings",
) -> None:
    from bench import sweep
    from bench.data import look, splits, tasks
    from bench.data.apart import open_apart
    from bench.records import Data
    from bench.reporting import data_look

    asked = Data(dataset=tasks.dataset(what, settings), image_size=image_size, splits=sweep.SPLITS)
    with reading() as progress:
        images = open_apart(asked.dataset, image_size, settings, progress)
    seen = look.look(images, splits.split(images, asked), asked.dataset)
    if form is Form.CONSOLE:
        out.print(data_look.render(seen), markup=False, soft_wrap=True)
        out.print()
    found = None
    if seeing is not None:
        found, why_not = _searched(_spec(seeing, images, asked), settings, form)
    if form is Form.JSON:
        sys.stdout.write(data_look.as_json(seen, found, why_not) + "\n")
    elif found is not None:
        out.print("\n" + data_look.render_suspects(found), markup=False, soft_wrap=True)
    elif why_not:
        notes([f"no search for mislabelled pictures: {why_not}"])


def _backbone(
    named: str, preprocessing: Pixels | None, settings: "Settings"
) -> "tuple[Backbone | None, str]":
    """What is to see the pictures; or None, and why where nobody asked for that.

    Raises:
        BenchError: the user named one that cannot be had.
    """
    from bench.records import Backbone
    from bench.zoo import weights

    if named == NONE:
        return None, ""
    stated: Preprocessing | None = preprocessing.value if preprocessing else None
    found = Backbone(name=named, preprocessing=stated)
    if named.endswith(".keras"):
        if stated is None:
            raise BenchError(
                f"--backbone {named}: a file needs --preprocessing beside it: "
                f"one of {', '.join(Pixels)}"
            )
        found = Backbone(name=Path(named).stem, file=named, preprocessing=stated)
    try:
        weights.locate(found, settings, Path.cwd())
    except WeightsError as error:
        if named != USUAL:
            raise
        return None, str(error)
    return found, ""


def _spec(backbone: "Backbone", images: "Images", asked: "Data") -> "ProbeSpec":
    """A probe that sees nearly all pictures: it looks at train and val, and test may be small."""
    from bench.data import splits
    from bench.probes import ProbeSpec
    from bench.records import Phase, Splits
    from bench.zoo.heads import HEADS

    whole = asked.model_copy(update={"splits": Splits(train=0.97, val=0.02, test=0.01)})
    many = len(splits.split(images, whole).train) > MOST
    most = {"train_examples": MOST} if many else {}
    return ProbeSpec(
        backbone=backbone,
        data=whole.model_copy(update=most),
        head=HEADS["linear"],
        phase1=Phase(epochs=5, learning_rate=2e-3),
        seeds=(0,),
    )


def _searched(
    spec: "ProbeSpec", settings: "Settings", form: Form
) -> "tuple[ProbeResult | None, str]":
    """The probe's row, or None and why there is none: the look is worth having without it."""
    from bench.running import backends

    if problem := backends.problem(None):
        return None, problem
    try:
        found = _probe(spec, settings, form)
    except BenchError as error:
        return None, str(error)
    return (found, "") if found.status == "ok" else (None, f"{found.status}: {found.reason}")


def _probe(spec: "ProbeSpec", settings: "Settings", form: Form) -> "ProbeResult":
    """Run it in a worker process; nothing of it is kept but what the cache keeps."""
    from bench.probes import ProbeResult
    from bench.reporting.live import LiveReport
    from bench.running import devices, runner, store
    from bench.running.engines import local_engines
    from bench.running.messages import Setup

    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="bench-")))
        held = opened.enter_context(store.writing(folder, settings.names(Path.cwd())))
        setup = Setup(
            settings=settings,
            folder=Path.cwd(),
            scratch=opened.enter_context(held.scratch()).absolute(),
            execution=spec.execution,
        )
        gpu = (*devices.visible(), None)[:1]
        engines = opened.enter_context(local_engines(setup, 60 * MINUTES, gpu))
        live = LiveReport(err if form is Form.JSON else out, "data", "probe")
        with live:
            (row,) = runner.run([spec], held, engines[0], live).measured
    assert isinstance(row, ProbeResult)
    return row
