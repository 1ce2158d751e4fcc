"""Bench against a plain Keras script, side by side: ``python -m benchmarks.speed``.

Each case (`benchmarks.cases`) is one job that both sides do: the same backbone with the same
weights, as many pictures at the same size, the same head, batch size, epochs, learning rates,
strategies and seeds. The plain side is `benchmarks.plain`, the script of a careful user who follows
the tutorials; Bench's side runs a suite as ``bench run`` does. The sides take turns, each run in a
fresh process, Bench with an empty results folder and an empty cache but for decoded pictures.

work    from frameworks imported and pictures decoded to the last result: building the models,
        tracing, training, validation and test; for Bench also the checks that trials make on
        themselves, rows written to disk, and worker processes started anew on the way
whole   the process, start-up and imports included

Left out on both sides: reading and decoding pictures (each side keeps them decoded, Bench on disk,
the plain script in memory) and fetching weights. Unequal, and left so: Bench runs deterministic
operations, its default, and the plain script does not; the sides split the dataset each in its own
way, so accuracies agree only as far as other pictures allow (a hundred test pictures: a few
points); ``training=False`` does not hold in Keras 3, so the plain script's unfrozen BatchNorm
statistics move, and Bench's do not.

All five cases cost about half an hour on two CPU cores (a 8 minutes, b 6, c 4, d 5, e 4), going by
the runs in results/reference/speed.json.

    python -m benchmarks.speed --cases c,e             some of them; the file's others stay
    python -m benchmarks.speed --small --output F      does the harness work?
    python -m benchmarks.speed --show FILE --format markdown
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import BenchError, UnknownNameError
from bench.records import TrialResult
from bench.settings import Settings
from benchmarks import measured, tables
from benchmarks.bench_side import BenchRun
from benchmarks.cases import CASES, Case, Prepared, Side, plain_text, suite_text
from benchmarks.measured import Comparison, Measured, Run, Trial

ROOT = Path(__file__).parents[1]
OUTPUT = Path("results") / "reference" / "speed.json"
LOG_LINES = 5


def main(words: Sequence[str] | None = None) -> int:
    """Measure, or show what was measured.

    Args:
        words: of the command line.

    Returns:
        Exit code: 0 done, 2 wrong usage or a run that failed.
    """
    wanted = _parser().parse_args(words)
    try:
        if wanted.show:
            comparison = measured.read(wanted.show)
        elif wanted.small and wanted.output == OUTPUT:
            raise BenchError(f"--small: expected --output FILE, for {OUTPUT} holds the real sizes")
        else:
            cases = [_case(name, wanted.small) for name in wanted.cases.split(",")]
            comparison = measure_all(cases, wanted.output, literal=wanted.literal)
    except BenchError as error:
        print(f"speed: {error}", file=sys.stderr)
        return 2
    print(tables.document(comparison, wanted.format))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=_SUMMARY)
    parser.add_argument("--cases", default=",".join(CASES), help="letters, with commas between")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"default {OUTPUT}")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the harness")
    parser.add_argument("--literal", action="store_true", help="also Bench sharing no work")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print an earlier run's table")
    parser.add_argument("--format", choices=tables.FORMATS, default="console")
    return parser


_SUMMARY = "Bench against a plain Keras script, side by side."


def _case(name: str, small: bool) -> Case:
    if name not in CASES:
        raise UnknownNameError("case", name, CASES)
    return CASES[name].small() if small else CASES[name]


# ----------------------------------------------------------------------------------- measuring


def measure_all(cases: Sequence[Case], output: Path, *, literal: bool = False) -> Comparison:
    """Measure cases one after another; each is on disk before the next begins.

    Args:
        cases: in this order.
        output: a JSON file. Other cases in it are kept where stack and machine are the same.
        literal: let Bench run each case once more without sharing work.

    Raises:
        BenchError: a run failed.
    """
    before = measured.read(output) if output.exists() else None
    comparison: Comparison | None = None
    for case in cases:
        comparison = _measure(case, comparison or before, literal)
        measured.write(comparison, output)
    if comparison is None:
        raise BenchError("no case to measure")
    return comparison


def _measure(case: Case, before: Comparison | None, literal: bool) -> Comparison:
    """One case, joined to what was measured before on the same stack and machine."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    order: tuple[Side, ...] = (*case.order, "literal") if literal else case.order
    settings = Settings.from_environment()
    runs, last = [], None
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        prepared = _prepare(case, Path(folder))
        for number, side in enumerate(order, start=1):
            place = Path(folder) / str(number)
            place.mkdir()
            if side == "plain":
                run = plain_run(case, prepared, place)
            else:
                run, last = bench_run(case, settings, place, side)
            _say(f"{case.name} {number}/{len(order)}: {side} {run.work_seconds:.1f} s")
            runs.append(run)
    if last is None:
        raise BenchError(f"case {case.name}: its order has no run of Bench")
    fresh = Comparison(stack=last.stack, environment=last.environment, measured=())
    same = before and (before.stack, before.environment) == (fresh.stack, fresh.environment)
    joined = before if before and same else fresh
    return joined.with_case(Measured(case=case, measured_at=began, runs=tuple(runs)))


def _prepare(case: Case, folder: Path) -> Prepared:
    _say(f"{case.name}: {case.job}; decoding pictures where that is still to do")
    file = folder / "case.json"
    file.write_text(case.model_dump_json(), encoding="utf-8")
    weights = folder / "backbone.weights.h5"
    words = ("-m", "benchmarks.prepare", str(file), str(weights))
    return Prepared.model_validate_json(_last_line(words, {}))


def plain_run(case: Case, prepared: Prepared, place: Path) -> Run:
    """The plain script's run of a case.

    Args:
        case: what to do.
        prepared: what was worked out for it.
        place: an empty folder.

    Raises:
        BenchError: the script failed.
    """
    config = place / "config.json"
    config.write_text(plain_text(case, prepared), encoding="utf-8")
    began = time.perf_counter()
    said = json.loads(_last_line(("-m", "benchmarks.plain", str(config)), {}))
    whole = time.perf_counter() - began
    trials = tuple(Trial.model_validate(trial) for trial in said["trials"])
    return Run(
        side="plain",
        work_seconds=sum(t.seconds for t in trials),
        whole_seconds=whole - said["data_seconds"],
        data_seconds=said["data_seconds"],
        trials=trials,
    )


def bench_run(case: Case, settings: Settings, place: Path, side: Side) -> tuple[Run, BenchRun]:
    """Bench's run of a case.

    Args:
        case: what to do.
        settings: this machine's; its image cache holds the pictures already.
        place: an empty folder, for cache and results.
        side: ``bench``, or ``literal``.

    Raises:
        BenchError: Bench failed, or a trial did.
    """
    suite, cache = place / "suite.toml", place / "cache"
    suite.write_text(suite_text(case), encoding="utf-8")
    _lend_pictures(case, settings.cache / "images", cache / "images")
    words = ["-m", "benchmarks.bench_side", str(suite), str(place / "results")]
    began = time.perf_counter()
    said = _last_line([*words, side], {"BENCH_CACHE_DIR": str(cache)})
    whole = time.perf_counter() - began
    ran = BenchRun.model_validate_json(said)
    run = Run(
        side=side,
        work_seconds=ran.work_seconds,
        whole_seconds=whole,
        trials=tuple(map(trial_of, ran.rows)),
    )
    if side == "literal" and any(trial.way != "literal" for trial in run.trials):
        raise BenchError(f"case {case.name}: work was shared in a run that should share none")
    return run, ran


def _lend_pictures(case: Case, images: Path, fresh: Path) -> None:
    """Let a fresh cache hold the decoded pictures of a case, and nothing else of the real one.

    Raises:
        BenchError: they are not there, so that Bench would decode them while its clock runs.
    """
    entries = list(images.glob(f"{case.dataset}-{case.image_size}-*"))
    if not entries:
        raise BenchError(f"{images}: expected the decoded pictures of case {case.name}")
    fresh.mkdir(parents=True)
    for entry in entries:
        (fresh / entry.name).symlink_to(entry, target_is_directory=True)


def trial_of(row: TrialResult) -> Trial:
    """A row of Bench's as a trial of the comparison.

    Raises:
        BenchError: it has no result.
    """
    if row.status != "ok" or row.last_phase is None or row.test_accuracy is None:
        raise BenchError(f"{row.spec.label}: {row.status}: {row.reason}")
    return Trial(
        strategy=row.spec.freeze.label,
        seed=row.spec.seed,
        seconds=row.seconds,
        phase1_seconds=row.phase1.seconds if row.phase1 else None,
        phase2_seconds=row.phase2.seconds if row.phase2 else None,
        trainable_parameters=row.last_phase.trainable_parameters,
        test_accuracy=row.test_accuracy,
        way=row.way,
    )


def _last_line(words: Sequence[str], environment: dict[str, str]) -> str:
    """The last line that a Python process of ours prints.

    Raises:
        BenchError: it failed, or printed nothing.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ran = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = ran.stdout.strip().splitlines()
    if ran.returncode or not lines:
        last = " | ".join(ran.stderr.strip().splitlines()[-LOG_LINES:])
        raise BenchError(f"{words[1]} exited with {ran.returncode}: {last}")
    return lines[-1]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
