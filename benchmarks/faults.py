"""A worker that makes one mistake, and says nothing of it: what a regression check must notice.

    python -m benchmarks.faults NAME      as python -m bench.running.worker, with this mistake

A mistake in a recipe is made behind the row's back: the trial runs otherwise than its spec says, so
that its own guards, which know what it runs, have nothing to complain of.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.records import Augmentation, Phase, Preprocessing, TrialSpec

Change = Callable[[TrialSpec], TrialSpec]


@dataclass(frozen=True)
class Fault:
    """A mistake.

    Attributes:
        text: what it is, in a line.
        change: of the recipe; None where it makes none.
        slower: share of its own time that each step takes longer.
    """

    text: str
    change: Change | None = None
    slower: float = 0.0


def _batch_norm(spec: TrialSpec) -> TrialSpec:
    return spec.model_copy(update={"batch_norm": "train"}) if spec.phase2 else spec


def _preprocessing(spec: TrialSpec) -> TrialSpec:
    wrong: Preprocessing = "raw"
    backbone = spec.backbone.model_copy(update={"preprocessing": wrong})
    return spec.model_copy(update={"backbone": backbone})


def _at(phase: Phase | None, times: float) -> Phase | None:
    return phase and phase.model_copy(update={"learning_rate": times * phase.learning_rate})


def _learning_rates(times: float) -> Change:
    def change(spec: TrialSpec) -> TrialSpec:
        phases = {"phase1": _at(spec.phase1, times), "phase2": _at(spec.phase2, times)}
        return spec.model_copy(update=phases)

    return change


def _flipped(spec: TrialSpec) -> TrialSpec:
    flip = Augmentation(kind="flip", amount="horizontal_and_vertical")
    return spec.model_copy(update={"augmentation": (*spec.augmentation, flip)})


FAULTS: Mapping[str, Fault] = {
    "batch_norm": Fault("BatchNorm left trainable in phase 2", _batch_norm),
    "preprocessing": Fault("preprocessing skipped", _preprocessing),
    "rate_high": Fault("both learning rates ten times too high", _learning_rates(10)),
    "rate_low": Fault("both learning rates ten times too low", _learning_rates(0.1)),
    "flipped": Fault("training pictures flipped, both ways", _flipped),
    "sleep": Fault("each step a tenth slower", slower=0.1),
}


def command(name: str) -> tuple[str, ...]:
    """What starts such a worker."""
    return (sys.executable, "-m", "benchmarks.faults", name)


def _change_trials(change: Change) -> None:
    from bench.training import trial

    honest = trial.run_trial

    def run_trial(spec: TrialSpec, place: Any, report: Any) -> Any:
        place.trials = tuple(map(change, place.trials))  # those it may share work with
        result, predictions = honest(change(spec), place, report)
        return result.model_copy(update={"key": spec.key, "spec": spec}), predictions

    trial.run_trial = run_trial


def _slow_down(share: float) -> None:
    from bench.measuring import steps

    honest = steps.Bursts.__call__

    def run(self: steps.Bursts, count: int) -> None:
        began = time.perf_counter()
        honest(self, count)
        time.sleep(share * (time.perf_counter() - began))

    steps.Bursts.__call__ = run  # type: ignore[method-assign, assignment]


def main() -> None:
    """Make the mistake, then work as a worker does."""
    from bench.running import worker

    fault = FAULTS[sys.argv[1]]
    if fault.change:
        _change_trials(fault.change)
    if fault.slower:
        _slow_down(fault.slower)
    worker.main()


if __name__ == "__main__":
    main()
