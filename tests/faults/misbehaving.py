"""A worker process that does as it is told: the real `bench.running.worker`, its training stubbed.

    python misbehaving.py '{"start": ..., "trials": {"SEED": ...}, "notes": FILE}'

It appends ``worker PID`` to the notes when it starts. ``start`` and ``trials`` name functions of
this file (``start_...`` and ``trial_...``); what they do not name goes well.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench import cache
from bench.probes import ProbeResult, ProbeSpec
from bench.progress import Progress
from bench.records import Environment, Execution, Stack, TrialResult, TrialSpec
from bench.running import worker

ORDERS = json.loads(sys.argv[1])
NOTES = Path(ORDERS["notes"])
CHANNEL = os.dup(1)
STACK = Stack(
    backend="none", backend_version="1", keras_version="1", device="cpu", precision="float32"
)
ENVIRONMENT = Environment(
    bench_version="0",
    python_version="3",
    platform="none",
    processor="none",
    cores=1,
    memory_gib=1.0,
    packages={},
)
Report = Callable[[Progress], None]
LEFT: list[bytearray] = []


def note(text: str) -> None:
    with NOTES.open("a") as file:
        file.write(text + "\n")


def workers_before() -> int:
    return NOTES.read_text().count("worker") - 1


def start_never() -> None:
    complain("waiting for a device that does not answer")
    time.sleep(1000)


def start_dies() -> None:
    complain("ImportError: no framework here")
    os._exit(4)


def start_once() -> None:
    """The first worker starts, none after it."""
    if workers_before():
        start_dies()


def start_other_stack() -> None:
    """Workers after the first find that their device has changed."""
    global STACK
    if workers_before():
        STACK = STACK.model_copy(update={"device": "gpu"})


def start_babbles() -> None:
    os.write(CHANNEL, b'hello\n{"kind": "ready"}\n\xff\xfe\n{"kind": "no such"}\n')


def start_out_of_order() -> None:
    os.write(CHANNEL, b'{"kind": "running", "progress": {"stage": "test"}}\n')


def complain(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def trial_exit3(report: Report) -> None:
    report(Progress(stage="phase 1", epoch=1, epochs=5))
    complain("the last thing it said")
    os._exit(3)


def trial_exit0(report: Report) -> None:
    os._exit(0)


def trial_raises(report: Report) -> None:
    raise RuntimeError("a defect of Bench itself")


def trial_sigkill(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def trial_sigsegv(report: Report) -> None:
    complain("about to touch what is not mine")
    os.kill(os.getpid(), signal.SIGSEGV)


def trial_realtime_signal(report: Report) -> None:
    os.kill(os.getpid(), signal.SIGRTMIN + 5)


def trial_hang(report: Report) -> None:
    time.sleep(1000)


def trial_eats(report: Report) -> None:
    """16 MiB at a time, up to 2 GiB, speaking all the while."""
    held = []
    for step in range(128):
        held.append(bytearray(b"x") * 2**24)
        report(Progress(stage="phase 1", epoch=step, epochs=128))
        time.sleep(0.02)
    time.sleep(1000)


def trial_child_eats(report: Report) -> None:
    code = "held = [bytearray(b'x') * 2**24 for _ in range(20)]; import time; time.sleep(1000)"
    child = subprocess.Popen([sys.executable, "-c", code])
    note(f"child {child.pid}")
    time.sleep(1000)


def trial_leaves(report: Report) -> None:
    """100 MiB that stay."""
    LEFT.append(bytearray(b"x") * (100 * 2**20))


def trial_fills(report: Report) -> None:
    """300 MiB, for long enough to be seen."""
    held = bytearray(b"x") * (300 * 2**20)
    time.sleep(1.2)
    del held


def trial_naps(report: Report) -> None:
    time.sleep(0.3)


def trial_endless_line(report: Report) -> None:
    for _ in range(64):
        os.write(CHANNEL, b"x" * 2**16)
    os.write(CHANNEL, b"\n")


def trial_noisy(report: Report) -> None:
    """Far more on standard error than anybody wants to read."""
    for _ in range(100):
        sys.stderr.write("a line of no use\n" * 2_000)
    complain("the last thing it said")
    os._exit(3)


def trial_chatters(report: Report) -> None:
    while True:
        report(Progress(stage="phase 1", epoch=1, epochs=5))


def trial_computes(report: Report) -> None:
    note("busy")
    while True:
        sum(range(10_000))


def trial_child_then_hang(report: Report) -> None:
    spawn_child()
    time.sleep(1000)


def trial_child_then_dies(report: Report) -> None:
    """The child keeps the channel open."""
    spawn_child()
    os._exit(3)


def trial_child(report: Report) -> None:
    spawn_child()


def spawn_child() -> None:
    child = subprocess.Popen(["sleep", "1000"], pass_fds=[CHANNEL])
    note(f"child {child.pid}")


def trial_garbage(report: Report) -> None:
    print("2026-01-01 W tensorflow/core: a warning on standard output")
    os.write(1, b'{"kind": "running", "progress": {"stage": "from file descriptor 1"}}\n')
    os.write(CHANNEL, b"\x00\xff\xfe garbage \x80\n\n[]\n{\n" + b"x" * 100_000 + b"\n")
    os.write(CHANNEL, b'{"kind": "finished"}\n{"kind": "running", "progress": {"colour": 1}}\n')


def trial_reports(report: Report) -> None:
    for epoch in range(1, 51):
        report(Progress(stage=f"phase {1 + epoch // 26}\u2028\x85", epoch=epoch, epochs=50))


class _Predictions:
    def __init__(self, order: str) -> None:
        self._order = order

    def save(self, path: Path) -> None:
        if self._order == "full_disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path.write_bytes(b"predictions")


def run_trial(
    spec: TrialSpec, place: object, report: Report
) -> tuple[TrialResult, _Predictions | None]:
    order = ORDERS["trials"].get(str(spec.seed), "ok")
    statuses = ("ok", "failed", "out_of_memory", "diverged", "skipped")
    if order not in (*statuses, "full_disk"):
        globals()[f"trial_{order}"](report)
    result = TrialResult(
        key=spec.key,
        spec=spec,
        stack=STACK,
        status=order if order in statuses else "ok",
        started_at="2026-01-01T00:00:00+00:00",
        seconds=0.1,
        reason=f"worker {os.getpid()}",
    )
    return result, _Predictions(order) if result.status == "ok" else None


def run_probe(spec: ProbeSpec, place: object, report: Report) -> ProbeResult:
    return ProbeResult(
        key=spec.key,
        spec=spec,
        stack=STACK,
        status="ok",
        started_at="2026-01-01T00:00:00+00:00",
        seconds=0.1,
        reason=f"worker {os.getpid()}",
    )


def configure(execution: Execution, devices: int = 1) -> Stack:
    return STACK


def share(spec: TrialSpec, *args: object) -> None:
    """A shared step: what it would compute, one empty entry of the cache stands for."""
    cache.BUILT["activations"] += 1


def workplace(**arguments: object) -> types.SimpleNamespace:
    return types.SimpleNamespace(stack=STACK, environment=ENVIRONMENT)


def stub(name: str, **content: object) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module


def stub_training() -> None:
    """Nothing of a framework is imported from here on."""
    stub("bench.training.execution", configure=configure, environment=lambda: ENVIRONMENT)
    explained = lambda error: ("failed", str(error))  # noqa: E731
    stub("bench.training.grounds", Workplace=workplace)
    stub("bench.training.trial", run_trial=run_trial, explained=explained)
    stub("bench.training.probe", run_probe=run_probe)
    stub("bench.training.shared_steps", images=share, activations=share, heads=share)


if __name__ == "__main__":
    note(f"worker {os.getpid()}")
    stub_training()
    if "start" in ORDERS:
        globals()[f"start_{ORDERS['start']}"]()
    worker.main()
