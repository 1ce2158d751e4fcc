"""Whether a trial on several devices gives the numbers of one, on this stack.

    python -m benchmarks.devices      trains each case on one device and on two, prints how far
                                      apart they end, notes it in results/reference/devices.json
    KERAS_BACKEND=jax python -m benchmarks.devices      the same on another backend
    python -m benchmarks.devices --devices 4            on more

On a machine without accelerators the devices are parts of its processor. The file holds one entry
for each stack, which the command replaces.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from bench.errors import BenchError
from bench.records import Environment, Record, Stack
from benchmarks import written

OUTPUT = Path("results/reference/devices.json")
SUITE = """
description = "MobileNetV2 with its ImageNet weights, on scikit-learn's digits"
data = { image_size = 48, train_examples = 100, val_examples = 50, test_examples = 100 }
phase1 = { epochs = 2, learning_rate = 5e-3 }
phase2 = { epochs = 2, learning_rate = 1e-4 }
execution = { batch_size = 31, precision = "float32" }
[[matrix]]
backbones = ["MobileNetV2"]
datasets = ["digits"]
heads = ["drops"]
freezes = [{ top_blocks = 2 }]
[[heads]]
name = "drops"
layers = [{ dense = 32 }, { dropout = 0.3 }]
"""
"""No batch divides by two, nor does the last one, which is smaller."""
CASES: Mapping[str, tuple[str, ...]] = {
    "two blocks, Adam": (),
    "everything, SGD": (
        *("phase1.optimizer=sgd", "phase2.optimizer=sgd"),
        'matrix.freezes=["all"]',
    ),
}
"""What of the suite is changed."""
WAYS = ("literal", "shared")
Arrays = dict[str, NDArray[Any]]


class Apart(Record):
    """How far one trial is from the same on one device: largest absolute differences.

    Attributes:
        losses: of any epoch, train and val.
        accuracies: the same.
        weights: of the trained model, the backbone's and the head's.
        probabilities: of any class of any test picture.
    """

    losses: float
    accuracies: float
    weights: float
    probabilities: float


class OnStack(Record):
    """What was seen on one stack, by case and way (``two blocks, Adam: literal``).

    Attributes:
        seen: several devices against one.
        rounding: one device against one whose backbone began one rounding away: what training
            makes of rounding alone.
    """

    stack: Stack
    environment: Environment
    measured_at: str
    devices: int
    seen: dict[str, Apart]
    rounding: dict[str, Apart]


class Report(Record):
    """Of every stack that was tried, by its id."""

    command: str = "python -m benchmarks.devices"
    stacks: dict[str, OnStack]


class Ran(Record):
    """What one process ran on."""

    stack: Stack
    environment: Environment


# -------------------------------------------------------------------------------- one process


def run(folder: Path, devices: int, nudged: bool) -> Ran:
    """Train every case in this process; what came of it goes into the folder.

    Args:
        folder: to write into.
        devices: to spread batches over.
        nudged: begin with each weight of the backbone the next number up or down.
    """
    from bench import suite as suites
    from bench.records import Execution
    from bench.training import execution

    if nudged:
        _nudge()
    stack = execution.configure(Execution(precision="float32"), devices)
    ran = Ran(stack=stack, environment=execution.environment())
    file = folder / "suite.toml"
    file.write_text(SUITE, encoding="utf-8")
    for case, changes in CASES.items():
        (spec,) = suites.load(file, changes=changes).trials
        for way in WAYS:
            found: dict[str, Any] = _trained(spec, ran, folder, literal=way == "literal")
            np.savez(folder / f"{case}: {way}.npz", **found)
            print(f"{stack.id}: {case}: {way}", flush=True)
    return ran


def _nudge() -> None:
    """Have every weight of a backbone be loaded as one of its neighbours among floats."""
    from bench.zoo import weights

    module: Any = weights
    honest, draw = module.load, np.random.default_rng(0)

    def load(*arguments: Any) -> Any:
        loaded = honest(*arguments)
        for weight in loaded.model.weights:
            value = np.asarray(weight)
            if value.dtype == np.float32:
                ways = np.where(draw.random(value.shape) < 0.5, np.inf, -np.inf)
                weight.assign(np.nextafter(value, ways.astype(np.float32)))
        return loaded

    module.load = load


def _trained(spec: Any, ran: Ran, folder: Path, *, literal: bool) -> Arrays:
    import keras

    from bench.settings import Settings
    from bench.training.grounds import Workplace
    from bench.training.trial import run_trial

    place = Workplace(
        settings=Settings.from_environment().model_copy(update={"cache": folder / "cache"}),
        folder=folder,
        stack=ran.stack,
        environment=ran.environment,
        literal=literal,
        trials=(spec,),
        keep_trained=True,
    )
    row, predictions = run_trial(spec, place, lambda _: None)
    if row.status != "ok" or predictions is None or place.trained is None:
        raise BenchError(f"{spec.label}: {row.status} {row.reason}")
    epochs = [e for phase in (row.phase1, row.phase2) if phase for e in phase.epochs]
    weights = place.trained.model.model.weights
    found = {w.path: keras.ops.convert_to_numpy(w) for w in weights if "seed" not in w.path}
    return found | {
        "losses": np.array([(e.loss, e.val_loss) for e in epochs]),
        "accuracies": np.array([(e.accuracy, e.val_accuracy) for e in epochs]),
        "probabilities": predictions.scores.probabilities,
    }


# ------------------------------------------------------------------------------ two processes


def measure(root: Path, devices: int) -> OnStack:
    """Train every case on one device, on several, and on one again with weights a rounding away;
    a folder to work in is given."""
    _elsewhere(root / "one", 1)
    ran = _elsewhere(root / "several", devices)
    _elsewhere(root / "nudged", 1, "--nudged")
    names = [f"{case}: {way}" for case in CASES for way in WAYS]

    def against_one(other: str) -> dict[str, Apart]:
        return {
            n: compared(_arrays(root / other / f"{n}.npz"), _arrays(root / "one" / f"{n}.npz"))
            for n in names
        }

    return OnStack(
        **ran.model_dump(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        devices=devices,
        seen=against_one("several"),
        rounding=against_one("nudged"),
    )


def _elsewhere(folder: Path, devices: int, *more: str) -> Ran:
    """In a process of its own: how many devices there are is settled when it begins."""
    folder.mkdir(parents=True)
    words = ("-m", "benchmarks.devices", "--within", str(folder), "--devices", str(devices), *more)
    ran = subprocess.run([sys.executable, *words], stdout=sys.stderr, check=False)
    if ran.returncode:
        raise BenchError(f"on {devices} devices: ended with {ran.returncode}")
    return written.read(Ran, folder / "ran.json", "what a process ran on")


def _arrays(file: Path) -> Arrays:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def compared(several: Arrays, one: Arrays) -> Apart:
    """One trial on several devices against the same on one."""

    def far(name: str) -> float:
        return float(np.abs(several[name].astype(np.float64) - one[name]).max())

    kinds = ("losses", "accuracies", "probabilities")
    weights = max(far(name) for name in one if name not in kinds)
    return Apart(weights=weights, **{kind: far(kind) for kind in kinds})


# ------------------------------------------------------------------------------------ showing


def read(file: Path) -> Report:
    """What earlier runs wrote.

    Raises:
        BenchError: the file is not there, or holds something else.
    """
    return written.read(Report, file, "a file of benchmarks.devices")


def document(report: Report, form: str = "simple") -> str:
    """One line a case and way of each stack.

    Args:
        report: what was seen.
        form: as tabulate calls it.
    """
    cells = []
    for name in sorted(report.stacks):
        on = report.stacks[name]
        stack = f"{on.stack.backend} {on.stack.backend_version}, {on.stack.device}"
        for case, apart in on.seen.items():
            alone = on.rounding[case]
            far = (apart.losses, alone.losses, apart.accuracies, alone.accuracies)
            ends = (apart.weights, alone.weights, apart.probabilities, alone.probabilities)
            cells.append([stack, case, *(f"{v:.0e}" if v else "0" for v in (*far, *ends))])
    each = ("losses", "accuracies", "weights", "probabilities")
    titles = ["stack", "trial", *(f"{what}{of}" for what in each for of in ("", ", rounding"))]
    made = tabulate(cells, titles, tablefmt=form, disable_numparse=True)
    below = (
        "Largest absolute differences from the same trial on one device: of any epoch's train or "
        "val loss and accuracy, any weight, any test probability; all in float32. Rounding: the "
        "same trial on one device, begun with each of the backbone's weights one float up or down."
    )
    return f"{made}\n\n{below}"


def main() -> None:
    """Measure, print and note."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--show", action="store_true", help="print what is noted, and no more")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--nudged", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.within:
        ran = run(asked.within, asked.devices, asked.nudged)
        (asked.within / "ran.json").write_text(ran.model_dump_json(), encoding="utf-8")
        return
    before = read(asked.output).stacks if asked.output.exists() else {}
    if not asked.show:
        with tempfile.TemporaryDirectory() as root:
            found = measure(Path(root), asked.devices)
        before = {**before, found.stack.id: found}
        report = Report(stacks=before)
        asked.output.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(document(Report(stacks=before)))


if __name__ == "__main__":
    main()
