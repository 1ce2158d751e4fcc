"""A worker of `bench.running.ray_fleet`: an engine on whatever node Ray puts it, asked over Ray.

Only text, bytes and numbers go to and fro, so that a node that has another version of Bench, or
none, can still say so.
"""

import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench import cache
from bench.errors import BenchError
from bench.progress import Progress
from bench.records import TrialResult
from bench.running.isolation import LocalEngine
from bench.running.local_fleet import done, is_complete
from bench.running.messages import Finished, Setup, Shared, Task
from bench.running.stacks import masked
from bench.settings import Settings

PACE_SECONDS = 0.5
"""Progress is told of at most so often; the end of a job at once."""
END_SECONDS = 0.1
PREFIX = "bench-ray-"
"""Of scratch folders among a node's temporary files."""
YOUNG_SECONDS = 60.0
"""A folder of this age may be one whose owner is about to lock it."""
THREADS = "TF_NUM_INTRAOP_THREADS"
"""What keeps TensorFlow to a number of cores; Ray sets the like of it for all else."""

Heard = tuple[int, bool, str, bytes | None]
"""The number of a job; whether it has ended; what is said of it as JSON, a `Progress` or else a
`Finished` or `Shared`; and the file of predictions that goes with it."""

_VARIABLES = {
    "cache": "BENCH_CACHE_DIR",
    "weights": "BENCH_WEIGHTS_DIR",
    "tfds": "TFDS_DATA_DIR",
    "cache_bytes": "BENCH_CACHE_GIB",
    "shared": "BENCH_SHARED_CACHE",
}


def shell() -> type:
    """The class that Ray makes actors of.

    It is carried to a node whole, not by name as what a module holds would be: so it can say that
    there is no Bench on a node, or another version.
    """

    class Shell:
        def arrive(self, version: str) -> dict[str, Any]:
            """Where this is, and what is wrong with the place."""
            import importlib

            ray = importlib.import_module("ray")
            context = ray.get_runtime_context()
            found = {
                "node": context.get_node_id(),
                "address": ray.util.get_node_ip_address(),
                "gpus": context.get_accelerator_ids().get("GPU", []),
                "problem": "",
            }
            try:
                import bench

                if bench.__version__ != version:
                    there = bench.__version__
                    found["problem"] = f"it has Bench {there}, and this run is of {version}"
                else:
                    from bench.running.ray_worker import RemoteWorker

                    self._worker = RemoteWorker()
            except Exception as error:
                found["problem"] = f"Bench cannot be imported there: {error}"
            return found

        def call(self, method: str, *arguments: Any) -> Any:
            """Have the worker do something."""
            return getattr(self._worker, method)(*arguments)

    return Shell


@dataclass(frozen=True)
class _Said:
    """``lasting``: it matters even when something newer is said."""

    heard: Heard
    lasting: bool = True

    @property
    def ends(self) -> bool:
        return self.heard[1]


class RemoteWorker:
    """An engine in a scratch folder of its own; each method may run on a thread of its own."""

    def __init__(self) -> None:
        self._scratch: tuple[Path, FileLock] | None = None
        self._ending = threading.Event()
        self._engine: LocalEngine | None = None
        self._job: threading.Thread | None = None
        self._broken = ""
        self._names: dict[str, str] = {}
        self._told: list[_Said] = []
        self._changed = threading.Condition()

    def begin(
        self,
        setup: str,
        seconds: float | None,
        command: tuple[str, ...],
        with_gpu: bool,
    ) -> dict[str, str]:
        """Start the engine.

        Args:
            setup: a `Setup` as JSON, with the folders of the machine that runs Bench.
            seconds: time limit of a trial.
            command: what to start as a worker process.
            with_gpu: whether Ray gave it GPUs; else the engine sees none.

        Returns:
            ``stack`` as JSON and ``cache``; or a ``problem``.
        """
        with self._changed:
            if self._ending.is_set():
                return {"problem": "it was ended before it began"}
            self._scratch = _made_scratch()
        try:
            here = self._here(Setup.model_validate_json(setup), self._scratch[0], with_gpu)
            self._names = here.settings.names(here.folder)
            engine = self._engine = LocalEngine(here, seconds, command, wait=False)
            if self._ending.is_set():
                engine.close()
            engine.wait()
            found = cache.identity(here.settings)
        except BenchError as error:
            return {"problem": str(error)}
        return {"stack": engine.stack.model_dump_json(), "cache": found}

    def start(self, number: int, task: str) -> None:
        """Begin a job.

        Args:
            number: of the job, for what is said of it.
            task: a `Task` as JSON.
        """
        work = Task.model_validate_json(task).work

        def tell(progress: Progress) -> None:
            lasting = progress.epoch_done is not None
            self._tell(_Said((number, False, progress.model_dump_json(), None), lasting))

        def do() -> None:
            try:
                assert self._engine is not None
                outcome = done(self._engine, work, tell)
                # Ended by ourselves, it failed for no fault of its own; what is complete counts.
                if is_complete(outcome) or not self._ending.is_set():
                    self._tell(_Said(self._packed(number, outcome)))
            except Exception as error:
                self._broken = f"{type(error).__name__}: {error}"
                self._notify()

        if not self._ending.is_set():
            self._job = threading.Thread(target=do, daemon=True)
            self._job.start()

    def hear(self, seconds: float) -> list[Heard]:
        """What was said since this was last asked; nothing, where so many seconds had none.

        Raises:
            RuntimeError: this worker is no good any more.
        """
        with self._changed:
            self._changed.wait_for(self._urgent, PACE_SECONDS)
            self._changed.wait_for(lambda: self._told or self._urgent(), seconds)
            said, self._told = self._told, []
        if self._broken:
            raise RuntimeError(self._broken)
        return [each.heard for each in said]

    def end(self) -> None:
        """End what runs, and remove what it left."""
        with self._changed:
            self._ending.set()
        while self._job is not None and self._job.is_alive():
            self._close()
            self._job.join(END_SECONDS)
        self._close()
        if self._scratch is not None:
            folder, lock = self._scratch
            lock.release()
            shutil.rmtree(folder, ignore_errors=True)
        self._notify()

    def _here(self, setup: Setup, scratch: Path, with_gpu: bool) -> Setup:
        threads = os.environ.get("OMP_NUM_THREADS", "")
        limited = {} if with_gpu or not threads else {THREADS: os.environ.get(THREADS, threads)}
        changes = {
            "settings": of_this_node(setup.settings),
            "scratch": scratch,
            "gpu": None if with_gpu else "",
            "environ": limited | setup.environ,
        }
        return setup.model_copy(update=changes)

    def _close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _urgent(self) -> bool:
        ended = any(said.ends for said in self._told)
        return ended or bool(self._broken) or self._ending.is_set()

    def _tell(self, said: _Said) -> None:
        with self._changed:
            if self._told and not self._told[-1].lasting:
                self._told.pop()
            self._told.append(said)
        self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _packed(self, number: int, outcome: Finished | Shared) -> Heard:
        """An outcome without paths of this node, and its file."""
        content = None
        if isinstance(outcome, Finished) and outcome.predictions is not None:
            content = outcome.predictions.read_bytes()
            outcome.predictions.unlink()
        return number, True, self._without_folders(outcome).model_dump_json(), content

    def _without_folders(self, outcome: Finished | Shared) -> Finished | Shared:
        """The store knows the folders of its own machine only."""
        if isinstance(outcome, Shared):
            return outcome.model_copy(update={"reason": masked(outcome.reason, self._names)})
        row = outcome.result
        changes: dict[str, Any] = {"reason": masked(row.reason, self._names)}
        if isinstance(row, TrialResult) and row.dataset:
            notes = tuple(masked(note, self._names) for note in row.dataset.notes)
            changes["dataset"] = row.dataset.model_copy(update={"notes": notes})
        return outcome.model_copy(update={"result": row.model_copy(update=changes)})


def of_this_node(settings: Settings) -> Settings:
    """Settings of another machine, but for those that this one's own environment says.

    Raises:
        BenchError: a variable here is wrong.
    """
    here = Settings.from_environment()
    own = {n: getattr(here, n) for n, variable in _VARIABLES.items() if os.environ.get(variable)}
    return settings.model_copy(update=own)


def _made_scratch() -> tuple[Path, FileLock]:
    """A folder, and a lock in it that ends with this process; what dead ones left is removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            if time.time() - left.stat().st_mtime > YOUNG_SECONDS:
                with FileLock(left / "lock", timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = FileLock(folder / "lock", thread_local=False)
    lock.acquire()
    return folder, lock
