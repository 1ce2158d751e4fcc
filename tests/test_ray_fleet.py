"""Workers on Ray: whom the fleet asks for and believes, and what becomes of those that are lost.

Most of it runs on a cluster that is a few lines of Python; the rest on Ray itself, in several nodes
of this machine, with workers that do as a test says.
"""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import STACK, make_spec
from ray_cluster import Nodes, nodes
from test_engines import WORKER, is_gone, until

from bench import __version__
from bench.cli import fleets
from bench.cli.fleets import EngineName
from bench.errors import BenchError
from bench.progress import Progress
from bench.records import Epoch, Execution, Stack, TrialResult, TrialSpec
from bench.running import ray_cluster, ray_fleet, ray_staff, ray_worker, runner, store
from bench.running.fleets import Ended, Event, Joined, Left, Said, Worker
from bench.running.jobs import Job
from bench.running.messages import Finished, Setup, Shared, Task
from bench.running.ray_cluster import GoneError, Needs, Node
from bench.running.ray_fleet import Options, RayFleet
from bench.running.ray_worker import RemoteWorker
from bench.settings import Settings
from bench.tasks import Row, Spec
from bench.zoo import offline
from benchmarks import scaled_out

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra ray)"
)
GIB = 2**30
STACK_ID = "none-1_keras-1_cpu_float32"


def node(name: str = "a", cpus: float = 4, gpus: float = 0, memory: float = 8 * GIB) -> Node:
    found = {"CPU": cpus, "memory": memory} | ({"GPU": gpus} if gpus else {})
    return Node(name, f"10.0.0.{ord(name) - 96}", found)


def of_setup(folder: Path, **changes: Any) -> Setup:
    setup = Setup(
        settings=Settings(cache=folder / "cache"),
        folder=folder,
        scratch=folder,
        execution=Execution(),
    )
    return setup.model_copy(update=changes)


# ------------------------------------------------------------------------- what a cluster holds


@pytest.mark.parametrize(
    ("nodes", "asked", "expected"),
    [
        ([node(cpus=8)], {}, Needs(0, 4)),
        ([node(cpus=2)], {}, Needs(0, 2)),
        ([node(cpus=2), node("b", cpus=64)], {}, Needs(0, 4)),
        ([node(cpus=0.5)], {}, Needs(0, 1)),
        ([], {}, Needs(0, 1)),
        ([node(cpus=17, gpus=4)], {}, Needs(1, 4)),
        ([node(cpus=17, gpus=4), node("b", cpus=64)], {}, Needs(1, 4)),
        ([node(cpus=17, gpus=4), node("b", cpus=4, gpus=4)], {}, Needs(1, 1)),
        ([node(cpus=17, gpus=4)], {"gpus": 0.5}, Needs(0.5, 2)),
        ([node(cpus=17, gpus=4)], {"gpus": 2.0}, Needs(2, 8)),
        ([node(cpus=17, gpus=4)], {"cpus": 3.0}, Needs(1, 3)),
        ([node(cpus=8)], {"memory": GIB}, Needs(0, 4, GIB)),
        ([node(cpus=2)], {"workers": 2}, Needs(0, 1)),
        ([node(cpus=8), node("b", cpus=4)], {"workers": 6}, Needs(0, 2)),
        ([node(cpus=2)], {"workers": 5}, Needs(0, 1)),
        ([node(cpus=17, gpus=4)], {"workers": 9}, Needs(1, 4)),
    ],
)
def test_what_a_worker_asks_for(
    nodes: list[Node], asked: Mapping[str, Any], expected: Needs
) -> None:
    words = {"gpus": None, "cpus": None, "memory": None} | asked
    assert ray_cluster.needs(nodes, **words) == expected


@pytest.mark.parametrize(
    ("needs", "workers", "spare"),
    [
        (Needs(1, 4), 4, True),
        (Needs(0.5, 2), 8, True),
        (Needs(0.1, 0.4), 40, True),
        (Needs(1, 4.25), 4, False),
        (Needs(2, 8), 2, True),
        (Needs(1, 1, 3 * GIB), 2, True),
        (Needs(0, 5), 3, True),
        (Needs(8, 1), 0, True),
    ],
)
def test_how_many_fit_on_a_node_of_17_cpus_4_gpus_and_8_gib(
    needs: Needs, workers: int, spare: bool
) -> None:
    nodes = [node(cpus=17, gpus=4)]
    assert ray_cluster.room(nodes, needs) == workers
    assert ray_cluster.has_spare(nodes, needs) is spare


def test_needs_are_said_in_words() -> None:
    assert str(Needs(1, 4, 3 * GIB)) == "1 GPU and 4 CPUs and 3.0 GiB"
    assert str(Needs(0, 1)) == "1 CPU"


# ------------------------------------------------------------------- a cluster without Ray


class Actor:
    """What was asked for, where it came to be, and what was called."""

    def __init__(self, needs: Needs, avoid: Collection[str]) -> None:
        self.needs, self.avoid, self.killed = needs, set(avoid), False
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.refs: dict[str, int] = {}


class World:
    """A `RayCluster` that does what a test says, and its clock."""

    def __init__(self, *there: Node) -> None:
        self.there, self.time = list(there), 0.0
        self.actors: list[Actor] = []
        self._refs = 0
        self._answers: dict[int, Any] = {}

    def nodes(self) -> list[Node]:
        return list(self.there)

    def ask(self, needs: Needs, avoid: Collection[str]) -> Actor:
        self.actors.append(Actor(needs, avoid))
        return self.actors[-1]

    def arrive(self, actor: Actor, version: str) -> int:
        assert version == __version__
        return self._called(actor, "arrive", ())

    def call(self, actor: Actor, method: str, *arguments: Any) -> int:
        return self._called(actor, method, arguments)

    def _called(self, actor: Actor, method: str, arguments: tuple[Any, ...]) -> int:
        self._refs += 1
        actor.refs[method] = self._refs
        actor.calls.append((method, arguments))
        if method == "end":
            self._answers[self._refs] = None
            self.answer(actor, "hear", [])
        return self._refs

    def put(self, text: str) -> str:
        return text

    def wait(self, refs: Sequence[int], seconds: float) -> list[int]:
        found = [ref for ref in refs if ref in self._answers]
        if not found:
            self.time += max(seconds, 0.1)
        return found

    def get(self, ref: int) -> Any:
        answer = self._answers.pop(ref)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: Actor) -> None:
        actor.killed = True

    def answer(self, actor: Actor, method: str, what: Any) -> None:
        if method in actor.refs:
            self._answers[actor.refs.pop(method)] = what

    # -------------------------------------------------------- what actors usually say

    def arrives(self, actor: Actor, on: Node, gpus: Sequence[str] = (), problem: str = "") -> None:
        where = {"node": on.id, "address": on.address, "gpus": list(gpus), "problem": problem}
        self.answer(actor, "arrive", where)

    def begins(self, actor: Actor, stack: Stack = STACK, cache: str = "c") -> None:
        self.answer(actor, "begin", {"stack": stack.model_dump_json(), "cache": cache})

    @property
    def alive(self) -> list[Actor]:
        return [actor for actor in self.actors if not actor.killed]


class Fleet:
    """A fleet on such a world, whose first workers joined."""

    def __init__(self, world: World, folder: Path, **options: Any) -> None:
        self.world, self.said = world, list[str]()
        chosen = Options(**({"cpus": 1.0} | options))
        self.fleet = RayFleet(
            world,  # type: ignore[arg-type]
            of_setup(folder),
            None,
            chosen,
            self.said.append,
            clock=lambda: world.time,
        )

    def next(self) -> Event | None:
        return self.fleet.next(1.0)

    def joined(self, number: int, on: Node, gpus: Sequence[str] = (), cache: str = "c") -> Worker:
        """Have an actor that was asked for join."""
        actor = self.world.actors[number]
        self.world.arrives(actor, on, gpus)
        self.fleet._step(0.0)
        self.world.begins(actor, cache=cache)
        event = self.next()
        assert isinstance(event, Joined), (event, self.said)
        return event.worker


def begun(world: World, folder: Path, workers: int = 1, **options: Any) -> Fleet:
    """As many workers as stated, each on the next node."""
    fleet = Fleet(world, folder, **options)
    fleet.fleet._step(0.0)
    fleet.joined(0, world.there[0])
    fleet.fleet.want(workers)
    fleet.fleet._step(0.0)
    for number in range(1, workers):
        fleet.joined(number, world.there[number % len(world.there)])
    return fleet


TRIAL = make_spec()
JOB = Job(TRIAL.key, TRIAL, "ground")


def finished(spec: TrialSpec = TRIAL) -> Finished:
    row = TrialResult(
        key=spec.key, spec=spec, stack=STACK, status="ok", started_at="now", seconds=1.0
    )
    return Finished(result=row, predictions=Path("elsewhere.npz"))


def test_one_worker_comes_first_and_then_as_many_as_are_useful_and_fit(tmp_path: Path) -> None:
    world = World(node("a", cpus=2), node("b", cpus=1))
    fleet = Fleet(world, tmp_path)
    fleet.fleet._step(0.0)
    assert len(world.actors) == 1
    first = fleet.joined(0, world.there[0])
    assert (first.name, first.node, first.cache) == ("10.0.0.1 #1", "10.0.0.1", "c")
    assert fleet.fleet.stack == STACK
    fleet.fleet.want(2)
    fleet.fleet._step(0.0)
    assert len(world.actors) == 2
    fleet.fleet.want(50)
    fleet.fleet._step(0.0)
    assert len(world.actors) == 3, "there is room for three"
    assert fleet.joined(2, world.there[0]).name == "10.0.0.1 #2"
    world.there.append(node("c", cpus=2))
    world.time += ray_fleet.LOOK_SECONDS
    fleet.fleet._step(0.0)
    assert len(world.actors) == 5, "nodes that join later are used"


def test_a_stated_number_is_asked_for_whatever_there_is(tmp_path: Path) -> None:
    fleet = begun(World(node()), tmp_path)
    more = Fleet(fleet.world, tmp_path, workers=7)
    more.fleet._step(0.0)
    more.joined(1, fleet.world.there[0])
    more.fleet.want(50)
    more.fleet._step(0.0)
    assert len(fleet.world.actors) == 1 + 7
    (said,) = more.said
    assert said.endswith("of 7 workers, of 1 CPU each: the others begin when there is more")


def test_gpus_are_in_the_name_and_a_helper_without_one_decodes(tmp_path: Path) -> None:
    world = World(node("a", cpus=5, gpus=2))
    fleet = Fleet(world, tmp_path, gpus=0.5, cpus=1.0)
    fleet.fleet._step(0.0)
    on_gpu = STACK.model_copy(update={"device": "NVIDIA L4"})
    names = []
    for number in range(2):
        world.arrives(world.actors[number], world.there[0], ["1"])
        fleet.fleet._step(0.0)
        world.begins(world.actors[number], on_gpu)
        event = fleet.next()
        assert isinstance(event, Joined)
        names.append(event.worker.name)
        fleet.fleet.want(2)
        fleet.fleet._step(0.0)
    assert names == ["10.0.0.1 GPU 1", "10.0.0.1 GPU 1 #2"]
    helpers = [actor for actor in world.actors if not actor.needs.gpus]
    assert [actor.needs for actor in helpers] == [Needs(0.0, 1.0)]
    assert fleet.joined(world.actors.index(helpers[0]), world.there[0]).only_cpu
    assert fleet.fleet.stack == on_gpu, "that of the helper is another, which does not matter"
    setups = [a.calls[1][1][3] for a in world.actors if len(a.calls) > 1]
    assert setups == [actor.needs.gpus > 0 for actor in world.actors if len(actor.calls) > 1]


def test_progress_and_outcome_of_a_job_come_with_its_file(tmp_path: Path) -> None:
    fleet = begun(World(node()), tmp_path)
    actor = fleet.world.actors[0]
    fleet.fleet.start("10.0.0.1 #1", JOB)
    method, (number, text) = actor.calls[-1]
    assert (method, Task.model_validate_json(text).work) == ("start", TRIAL)
    progress = Progress(stage="phase 1", step=3, steps=9)
    outcome = finished()
    heard = [
        (number - 1, True, "of a job before this one", None),
        (number, False, progress.model_dump_json(), None),
        (number, True, outcome.model_dump_json(), b"probabilities"),
    ]
    fleet.world.answer(actor, "hear", heard)
    assert fleet.next() == Said("10.0.0.1 #1", JOB, progress)
    event = fleet.next()
    assert isinstance(event, Ended)
    assert isinstance(event.outcome, Finished)
    assert event.outcome.result == outcome.result
    assert event.outcome.predictions == tmp_path / f"{TRIAL.key}.npz"
    assert event.outcome.predictions.read_bytes() == b"probabilities"
    assert actor.calls[-1][0] == "hear", "it goes on listening"


def test_a_worker_that_dies_is_lost_and_replaced_under_another_name(tmp_path: Path) -> None:
    fleet = begun(World(node(cpus=1)), tmp_path)
    world = fleet.world
    fleet.fleet.start("10.0.0.1 #1", JOB)
    world.answer(world.actors[0], "hear", GoneError("its node is gone"))
    assert fleet.next() == Left("10.0.0.1 #1", "its node is gone")
    assert world.actors[0].killed
    fleet.fleet.start("10.0.0.1 #1", JOB)  # its loss was not heard of yet
    fleet.fleet.rest("10.0.0.1 #1")
    assert fleet.next() is None
    assert len(world.actors) == 2
    assert fleet.joined(1, world.there[0]).name == "10.0.0.1 #2"


@pytest.mark.parametrize("method", ["arrive", "begin"])
def test_a_worker_that_dies_before_it_joined_was_never_there(tmp_path: Path, method: str) -> None:
    world = World(node("a", cpus=1), node("b", cpus=1))
    fleet = begun(world, tmp_path)
    fleet.fleet.want(2)
    fleet.fleet._step(0.0)
    if method == "begin":
        world.arrives(world.actors[1], world.there[1])
        fleet.fleet._step(0.0)
    world.answer(world.actors[1], method, GoneError("its process ended"))
    assert fleet.next() is None
    world.time += ray_fleet.LOOK_SECONDS
    fleet.fleet._step(0.0)
    assert len(world.actors) == 3
    said = ["a worker on 10.0.0.2 did not start: its process ended"]
    assert fleet.said == (said if method == "begin" else [])


def test_a_node_on_which_workers_do_not_start_gets_no_more(tmp_path: Path) -> None:
    world = World(node("a", cpus=1), node("b", cpus=1))
    fleet = begun(world, tmp_path)
    fleet.fleet.want(2)
    for number in (1, 2):
        world.time += ray_fleet.LOOK_SECONDS
        fleet.fleet._step(0.0)
        world.arrives(world.actors[number], world.there[1])
        fleet.fleet._step(0.0)
        world.answer(world.actors[number], "begin", {"problem": "no framework here"})
        assert fleet.next() is None
    assert fleet.said == [
        "a worker on 10.0.0.2 did not start: no framework here",
        "node 10.0.0.2 is not used: no framework here",
    ]
    world.time += ray_fleet.LOOK_SECONDS
    fleet.fleet._step(0.0)
    assert len(world.actors) == 3, "the room of that node does not count"


@pytest.mark.parametrize(
    ("problem", "stack", "why"),
    [
        ("it has Bench 0.0.9", None, "it has Bench 0.0.9"),
        ("", STACK.model_copy(update={"backend_version": "9"}), "it came up as .*-9_.*, and this"),
    ],
)
def test_a_worker_unlike_the_first_is_refused_and_its_node_avoided(
    tmp_path: Path, problem: str, stack: Stack | None, why: str
) -> None:
    world = World(node("a", cpus=1), node("b", cpus=1), node("c", cpus=1))
    fleet = begun(world, tmp_path)
    fleet.fleet.want(3)
    fleet.fleet._step(0.0)
    world.arrives(world.actors[1], world.there[1], problem=problem)
    fleet.fleet._step(0.0)
    if stack:
        world.begins(world.actors[1], stack)
        fleet.fleet._step(0.0)
    assert world.actors[1].killed
    assert len(fleet.said) == 1
    assert re.match(f"node 10.0.0.2 is not used: {why}", fleet.said[0])
    world.answer(world.actors[2], "arrive", GoneError("its process ended"))
    world.time += ray_fleet.LOOK_SECONDS
    fleet.fleet._step(0.0)
    fleet.fleet._step(0.0)
    world.time += ray_fleet.LOOK_SECONDS
    fleet.fleet._step(0.0)
    assert world.actors[-1].avoid == {"b"}


def test_a_gpu_that_the_framework_does_not_see_is_no_worker(tmp_path: Path) -> None:
    world = World(node("a", gpus=1))
    fleet = Fleet(world, tmp_path)
    fleet.fleet._step(0.0)
    world.arrives(world.actors[0], world.there[0], ["0"])
    fleet.fleet._step(0.0)
    world.begins(world.actors[0], STACK.model_copy(update={"device": "cpu"}))
    with pytest.raises(BenchError, match="no node of the Ray cluster can run a worker"):
        fleet.fleet.begin()
    assert "was given a GPU, and" in fleet.said[0]


def test_without_room_it_says_so_and_then_gives_up(tmp_path: Path) -> None:
    world = World(node("a", cpus=2, memory=GIB))
    fleet = Fleet(world, tmp_path, cpus=8.0)
    with pytest.raises(BenchError, match="no worker for 10 min: each worker asks for 8 CPUs, and"):
        fleet.fleet.begin()
    assert fleet.said == [
        "Ray has had no room for a worker for 35 s: each worker asks for 8 CPUs, and the cluster "
        "of 1 node has 0 GPUs, 2 CPUs and 1 GiB in all; waiting for 10 min at most"
    ]
    assert world.time == pytest.approx(ray_staff.PATIENCE_SECONDS, abs=2 * ray_fleet.LOOK_SECONDS)


def test_patience_begins_anew_with_each_worker(tmp_path: Path) -> None:
    fleet = begun(World(node(cpus=1)), tmp_path)
    fleet.world.time += 10 * ray_staff.PATIENCE_SECONDS
    assert fleet.next() is None, "a worker that works is no reason for impatience"
    fleet.world.answer(fleet.world.actors[0], "hear", GoneError("its node is gone"))
    assert isinstance(fleet.next(), Left)
    began = fleet.world.time

    def wait_for_another() -> None:
        while True:
            fleet.next()

    with pytest.raises(BenchError, match="what was measured is kept"):
        wait_for_another()
    assert fleet.world.time - began >= ray_staff.PATIENCE_SECONDS


def test_who_has_nothing_to_do_for_a_while_is_let_go_if_fewer_are_useful(tmp_path: Path) -> None:
    fleet = begun(World(node(cpus=3)), tmp_path, 3)
    world = fleet.world
    fleet.fleet.start("10.0.0.1 #1", JOB)
    fleet.fleet.want(2)
    fleet.fleet.rest("10.0.0.1 #2")
    fleet.fleet.rest("10.0.0.1 #3")
    assert fleet.next() is None
    world.time += ray_staff.REST_SECONDS + ray_fleet.LOOK_SECONDS
    assert fleet.next() == Left("10.0.0.1 #3", "")
    world.time += ray_staff.REST_SECONDS + ray_fleet.LOOK_SECONDS
    assert fleet.next() is None, "two are useful"
    assert [actor.killed for actor in world.actors] == [False, False, True]


def test_a_rest_that_ends_in_time_counts_from_the_beginning(tmp_path: Path) -> None:
    fleet = begun(World(node(cpus=2)), tmp_path, 2)
    world, idle = fleet.world, "10.0.0.1 #2"
    fleet.fleet.want(1)
    fleet.fleet.rest(idle)
    world.time += ray_staff.REST_SECONDS - 1
    fleet.fleet.start(idle, JOB)
    number = world.actors[1].calls[-1][1][0]
    shared = Shared(seconds=1.0).model_dump_json()
    world.answer(world.actors[1], "hear", [(number, True, shared, None)])
    assert isinstance(fleet.next(), Ended)
    fleet.fleet.rest(idle)
    world.time += ray_staff.REST_SECONDS - 1
    assert fleet.next() is None
    assert not world.actors[1].killed


def test_the_last_who_reads_a_cache_stays(tmp_path: Path) -> None:
    world = World(node("a", cpus=1), node("b", cpus=1))
    fleet = begun(world, tmp_path)
    fleet.fleet.want(2)
    fleet.fleet._step(0.0)
    fleet.joined(1, world.there[1], cache="another")
    fleet.fleet.want(1)
    fleet.fleet.rest("10.0.0.2 #1")
    world.time += 10 * ray_staff.REST_SECONDS
    assert fleet.next() is None
    assert not world.actors[1].killed


def test_who_found_no_room_is_not_asked_for_when_there_is_less_to_do(tmp_path: Path) -> None:
    fleet = begun(World(node(cpus=3)), tmp_path)
    fleet.fleet.want(3)
    fleet.fleet._step(0.0)
    assert len(fleet.world.alive) == 3
    fleet.fleet.want(1)
    fleet.world.time += ray_staff.REST_SECONDS + 1
    assert fleet.next() is None
    assert len(fleet.world.alive) == 1


def test_at_the_end_all_are_gone_and_what_was_complete_is_heard_of(tmp_path: Path) -> None:
    fleet = begun(World(node(cpus=2)), tmp_path, 2)
    world = fleet.world
    fleet.fleet.start("10.0.0.1 #1", JOB)
    number = world.actors[0].calls[-1][1][0]
    heard = [(number, True, finished().model_dump_json(), b"")]
    world.answer(world.actors[0], "hear", heard)
    with pytest.raises(KeyboardInterrupt), fleet.fleet:
        raise KeyboardInterrupt
    assert [actor.calls[-1][0] for actor in world.actors] == ["end", "end"]
    assert not world.alive
    assert [event.worker for event in fleet.fleet.unheard()] == ["10.0.0.1 #1"]


def test_a_second_interrupt_kills_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = begun(World(node(cpus=2)), tmp_path, 2)

    def interrupted(refs: Sequence[int], seconds: float) -> list[int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(fleet.world, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fleet.fleet.close()
    assert not fleet.world.alive


# --------------------------------------------------------------------- what runs on a node

RAY_WORKER = WORKER.replace(
    "m.worker.main()",
    """
import signal, time
from bench import cache

def shared(*arguments):
    cache.BUILT["things"] += 1

def waits(report):
    m.note(f"waits {os.getppid()}")
    while not m.NOTES.with_name("gate").exists():
        time.sleep(0.05)

m.trial_waits = waits

def ends_its_parent(report):
    m.note(f"ends {os.getppid()}")
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(1000)

m.trial_ends_its_parent = ends_its_parent
m.stub("bench.training.shared_steps", images=shared, activations=shared, heads=shared)
m.stub("bench.training.trial", Workplace=m.workplace, run_trial=m.run_trial,
       explained=lambda error: ("failed", repr(error)))
m.worker.main()
""",
)


def command(notes: Path, orders: Mapping[int, str], variable: str = "") -> tuple[str, ...]:
    told = json.dumps({"trials": orders, "notes": str(notes)})
    return sys.executable, "-c", RAY_WORKER, told, "{}", variable


def noted(notes: Path, what: str = "worker") -> list[int]:
    """Process ids beside a word."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(what)]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def remote(temporary: Path) -> Iterator[RemoteWorker]:
    worker = RemoteWorker()
    yield worker
    worker.end()


def outcome_of(worker: RemoteWorker) -> tuple[list[Progress], Finished, bytes | None]:
    said: list[Progress] = []
    while True:
        for _, ends, text, predictions in worker.hear(20.0):
            if ends:
                return said, Finished.model_validate_json(text), predictions
            said.append(Progress.model_validate_json(text))


def test_a_worker_runs_a_trial_and_hands_over_its_predictions(
    remote: RemoteWorker, temporary: Path, tmp_path: Path
) -> None:
    setup = of_setup(tmp_path).model_dump_json()
    begun = remote.begin(setup, None, command(tmp_path / "notes", {0: "reports"}), False)
    assert Stack.model_validate_json(begun["stack"]).device == "cpu"
    assert begun["cache"]
    task = Task(work=make_spec()).model_dump_json()
    remote.start(1, task)
    said, outcome, predictions = outcome_of(remote)
    assert (outcome.result.status, predictions) == ("ok", b"predictions")
    assert len(said) < 25, "of ordinary progress, only the newest is passed on"
    remote.end()
    assert list(temporary.iterdir()) == []
    assert all(is_gone(pid) for pid in noted(tmp_path / "notes"))


def test_every_epoch_is_told_of(remote: RemoteWorker) -> None:
    zeros = dict.fromkeys(Epoch.model_fields, 0)
    epoch = Epoch.model_validate(zeros | {"index": 1, "seconds": 1.0, "learning_rate": 0.1})
    for step in range(10):
        done = epoch if step % 3 == 0 else None
        text = Progress(stage="phase 1", step=step, epoch_done=done).model_dump_json()
        remote._tell(ray_worker._Said((1, False, text, None), lasting=done is not None))
    heard = [Progress.model_validate_json(text).step for _, _, text, _ in remote.hear(5.0)]
    assert heard == [0, 3, 6, 9]


def test_progress_is_told_of_at_a_pace_and_an_end_at_once(remote: RemoteWorker) -> None:
    said = ray_worker._Said((1, False, "{}", None), lasting=False)
    remote._tell(said)
    began = time.monotonic()
    assert len(remote.hear(5.0)) == 1
    assert time.monotonic() - began >= ray_worker.PACE_SECONDS
    remote._tell(ray_worker._Said((1, True, "{}", None)))
    began = time.monotonic()
    assert len(remote.hear(5.0)) == 1
    assert time.monotonic() - began < ray_worker.PACE_SECONDS
    assert remote.hear(0.01) == []


def test_a_worker_that_does_not_start_is_a_problem_in_words(
    remote: RemoteWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = of_setup(tmp_path).model_dump_json()
    said = remote.begin(setup, None, (sys.executable, "-c", "raise SystemExit('no GPU')"), False)
    assert "no GPU" in said["problem"]
    monkeypatch.setenv("BENCH_CACHE_GIB", "much")
    assert "BENCH_CACHE_GIB = 'much'" in remote.begin(setup, None, (), False)["problem"]


def test_what_breaks_a_worker_is_raised_to_who_listens(remote: RemoteWorker) -> None:
    remote.start(1, Task(work=make_spec()).model_dump_json())  # it was never begun
    with pytest.raises(RuntimeError, match="AssertionError"):
        remote.hear(20.0)


def test_a_nodes_own_settings_win_field_by_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ray_worker._VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    assert set(ray_worker._VARIABLES) == set(Settings.model_fields)
    ours = Settings(cache=tmp_path / "driver", tfds=tmp_path / "tfds", cache_bytes=7)
    assert ray_worker.of_this_node(ours) == ours
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "node"))
    monkeypatch.setenv("BENCH_WEIGHTS_DIR", str(tmp_path / "weights"))
    here = ray_worker.of_this_node(ours)
    expected = {"cache": tmp_path / "node", "weights": (tmp_path / "weights",)}
    assert here == ours.model_copy(update=expected)


@pytest.mark.parametrize(("with_gpu", "seen"), [(True, "3"), (False, "")])
def test_a_worker_sees_the_gpu_that_ray_gave_or_none(
    remote: RemoteWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_gpu: bool,
    seen: str,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    order = command(tmp_path / "notes", {}, "CUDA_VISIBLE_DEVICES")
    begun = remote.begin(of_setup(tmp_path, gpu="7").model_dump_json(), None, order, with_gpu)
    assert Stack.model_validate_json(begun["stack"]).device == seen


def test_a_worker_without_gpu_keeps_to_its_cores(
    remote: RemoteWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # as Ray does
    monkeypatch.delenv(ray_worker.THREADS, raising=False)
    order = command(tmp_path / "notes", {}, ray_worker.THREADS)
    begun = remote.begin(of_setup(tmp_path).model_dump_json(), None, order, False)
    assert Stack.model_validate_json(begun["stack"]).device == "3"


def test_folders_of_a_node_are_in_no_row(remote: RemoteWorker, tmp_path: Path) -> None:
    remote._names = {"/mnt/node/weights": "<BENCH_WEIGHTS_DIR>"}
    row = finished().result.model_copy(update={"reason": "no /mnt/node/weights/x.h5"})
    cleaned = remote._without_folders(Finished(result=row))
    assert isinstance(cleaned, Finished)
    assert cleaned.result.reason == "no <BENCH_WEIGHTS_DIR>/x.h5"
    shared = remote._without_folders(Shared(seconds=1, reason="/mnt/node/weights: gone"))
    assert isinstance(shared, Shared)
    assert shared.reason == "<BENCH_WEIGHTS_DIR>: gone"


def test_folders_that_dead_workers_left_go_when_another_starts(temporary: Path) -> None:
    dead, young = (temporary / f"{ray_worker.PREFIX}{name}" for name in ("dead", "young"))
    for folder in (dead, young):
        folder.mkdir()
    (dead / "left.npz").touch()
    live, lock = ray_worker._made_scratch()
    for folder in (dead, live):
        os.utime(folder, (1, 1))
    mine, mine_lock = ray_worker._made_scratch()
    assert set(temporary.iterdir()) == {young, live, mine}
    lock.release()
    mine_lock.release()


def test_a_worker_that_was_ended_begins_nothing(temporary: Path, tmp_path: Path) -> None:
    worker = RemoteWorker()
    worker.end()
    said = worker.begin(of_setup(tmp_path).model_dump_json(), None, (), False)
    assert said == {"problem": "it was ended before it began"}
    assert list(temporary.iterdir()) == []


# -------------------------------------------------------------------------- the command line


def test_options_of_the_command_line_come_to_what_is_asked_of_ray() -> None:
    assert fleets.where(EngineName.LOCAL, None, None, None, None, 1) == fleets.Where((None,))
    found = fleets.where(EngineName.RAY, "auto", None, None, None, 1).ray
    assert found == Options()
    found = fleets.where(EngineName.RAY, "12", "10.0.0.1:6379", "0.5", "3", 1).ray
    assert found == Options("10.0.0.1:6379", 12, 0.5, 3.0)
    assert fleets.where(EngineName.RAY, None, None, "2", None, 2).ray == Options(gpus=2.0)


@pytest.mark.parametrize(
    ("engine", "words", "devices", "said"),
    [
        ("local", (None, "a:1", None, None), 1, "--address 'a:1': expected --engine ray"),
        ("local", (None, None, "1", None), 1, "--gpus-per-worker '1': expected --engine ray"),
        ("local", (None, None, None, "1"), 1, "--cpus-per-worker '1': expected --engine ray"),
        ("ray", (None, "head", None, None), 1, "--address 'head': expected host:port of"),
        ("ray", ("0", None, None, None), 1, "--workers '0': expected a number, 1 or more, or auto"),
        ("ray", ("-1", None, None, None), 1, "--workers '-1': expected a number"),
        ("ray", (None, None, "0", None), 1, "--gpus-per-worker '0': expected a number above 0"),
        ("ray", (None, None, "nan", None), 1, "--gpus-per-worker 'nan': expected a number above 0"),
        ("ray", (None, None, None, "-2"), 1, "--cpus-per-worker '-2': expected a number above 0"),
        ("ray", (None, None, None, "many"), 1, "--cpus-per-worker 'many': expected a number"),
        ("ray", (None, None, "2", None), 1, "--gpus-per-worker 2: expected at most 1; for several"),
        ("ray", (None, None, "0.5", None), 2, "expected 2, as the suite says devices = 2"),
        ("ray", (None, None, "3", None), 2, "expected 2, as the suite says devices = 2"),
    ],
)
def test_options_that_are_wrong_or_do_not_go_together(
    engine: str, words: tuple[str | None, ...], devices: int, said: str
) -> None:
    workers, address, gpus, cpus = words
    with pytest.raises(BenchError) as raised:
        fleets.where(EngineName(engine), workers, address, gpus, cpus, devices)
    assert said in str(raised.value)


@pytest.mark.parametrize("address", ["head", "head:port", "ray://head:10001", ":6379"])
def test_an_address_that_is_none(address: str) -> None:
    with (
        pytest.raises(BenchError, match="expected host:port of the cluster's head"),
        ray_cluster.connected(address),
    ):
        pass


def test_an_address_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ray_cluster.ADDRESS, "127.0.0.1:9")
    with (
        pytest.raises(BenchError, match=r"RAY_ADDRESS '127.0.0.1:9': nobody answers there"),
        ray_cluster.connected(None),
    ):
        pass


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delenv(ray_cluster.ADDRESS, raising=False)
    with (
        pytest.raises(BenchError, match=r'pip install "keras-zoo-bench\[ray\]", on every node'),
        ray_cluster.connected(None),
    ):
        pass


# ------------------------------------------------------------------------------- on Ray itself

TRIALS = [make_spec(seed=seed) for seed in range(9)]
SECONDS = 60.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Three nodes of a CPU each, whose temporary files are apart from ours."""
    environ = {"TMPDIR": str(tmp_path_factory.mktemp("nodes")), "RAY_TMPDIR": "/tmp"}
    with nodes([environ] * 3) as found:
        yield found


class Heard:
    """Remembers, and does at each begin of a trial what a test says."""

    def __init__(self, at_begin: Callable[[int], object] = lambda begun: None) -> None:
        self.lost: list[TrialSpec] = []
        self.notes: list[str] = []
        self._begun, self._at_begin = 0, at_begin

    def begins(self, stack: Stack, trials: int, settled: int) -> None: ...
    def progress(self, spec: Spec, progress: Progress) -> None: ...
    def trial_ends(self, result: Row) -> None: ...
    def step_begins(self, job: Job) -> None: ...
    def step_goes_on(self, job: Job, progress: Progress) -> None: ...
    def step_ends(self, job: Job, shared: Shared) -> None: ...

    def trial_begins(self, spec: Spec) -> None:
        self._begun += 1
        self._at_begin(self._begun)

    def trial_is_lost(self, spec: Spec) -> None:
        assert isinstance(spec, TrialSpec)
        self.lost.append(spec)

    def noted(self, text: str) -> None:
        self.notes.append(text)


def run(folder: Path, address: str, orders: Mapping[int, str], heard: Heard) -> runner.Summary:
    setup = of_setup(folder)
    with (
        store.writing(folder / "results") as held,
        held.scratch() as scratch,
        ray_fleet.ray_fleet(
            setup.model_copy(update={"scratch": scratch}),
            None,
            Options(address),
            heard.noted,
            command(folder / "notes", orders),
        ) as fleet,
    ):
        return runner.run_on(TRIALS, held, fleet, heard)


@needs_ray
@pytest.mark.slow
def test_a_lost_node_costs_what_ran_there_and_nothing_else(cluster: Nodes, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    def lose_one(begun: int) -> None:
        if begun == 3:  # each node has one, and none of them will end
            until(lambda: len(noted(notes, "waits")) == 2)
            cluster.lose(2)
            (tmp_path / "gate").touch()

    heard = Heard(lose_one)
    summary = run(tmp_path, cluster.address, dict.fromkeys(range(9), "waits"), heard)
    cluster.add_back(2)
    assert summary.all_ok
    assert summary.built["things"] == 5, "pictures, three passes and heads, each once"
    rows = store.read(tmp_path / "results").rows
    assert sorted(row.spec.seed for row in rows) == list(range(9))
    assert all((tmp_path / "results" / STACK_ID / str(r.predictions)).is_file() for r in rows)
    assert len(heard.lost) == 1
    (told,) = heard.notes
    assert re.match(r"worker \S+ #\d is lost while it did .*: it(s node|s process| does not)", told)
    until(lambda: all(map(is_gone, noted(notes))))


@needs_ray
@pytest.mark.slow
def test_what_ends_three_workers_is_given_up_and_the_row_says_why(
    cluster: Nodes, tmp_path: Path
) -> None:
    heard = Heard()
    summary = run(tmp_path, cluster.address, {4: "ends_its_parent"}, heard)
    rows = store.read(tmp_path / "results").rows
    (failed,) = (row for row in rows if row.status != "ok")
    assert failed.spec.seed == 4
    why = "its worker was lost 3 times: (its process ended|it does not answer any more|; )+"
    assert re.fullmatch(why, failed.reason), failed.reason
    assert len(summary.measured) == 9
    assert len(noted(tmp_path / "notes", "ends")) == 3
    assert [spec.seed for spec in heard.lost] == [4, 4]


DRIVER = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as the command line has it
sys.path[:0] = {paths}
import test_ray_fleet as t
folder, address = Path(sys.argv[1]), sys.argv[2]
t.run(folder, address, {{seed: "waits" for seed in range(2, 9)}}, t.Heard())
"""


class Driver:
    """A run in a process of its own, two of whose trials have ended and others wait for ever."""

    def __init__(self, folder: Path, address: str) -> None:
        self.notes, self._mark = folder / "notes", uuid.uuid4().hex
        script = DRIVER.format(paths=[str(Path(__file__).parent), str(Path(__file__).parents[1])])
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder), address],
            env=os.environ | {"TEST_MARK": self._mark, "RAY_TMPDIR": "/tmp"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        end = time.monotonic() + SECONDS
        while not noted(self.notes, "waits"):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "no worker began"
            time.sleep(0.1)

    def kin(self) -> list[str]:
        """Processes that it started, or that those started."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TEST_MARK") == self._mark:
                    found.append(f"{process.pid} {process.name()} {process.status()}")
            except (psutil.Error, OSError):
                continue
        return [each for each in found if not each.endswith(psutil.STATUS_ZOMBIE)]

    def signal(self, *signals: int) -> None:
        for number in signals:
            os.killpg(self.process.pid, number)
            time.sleep(0.1)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(
    "signals",
    [(signal.SIGINT,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM,), (signal.SIGKILL,)],
)
def test_however_a_run_ends_nothing_of_it_is_left_on_the_nodes(
    cluster: Nodes, tmp_path: Path, signals: tuple[int, ...]
) -> None:
    before = set(cluster.scratch_folders())  # of workers whose nodes were lost
    driver = Driver(tmp_path, cluster.address)
    actors = noted(driver.notes, "waits")
    driver.signal(*signals)
    out, _ = driver.process.communicate(timeout=SECONDS)
    assert out == b"", "nothing of Ray's is on standard output"
    until(lambda: all(map(is_gone, [*noted(driver.notes), *actors])))
    if signals == (signal.SIGTERM,):
        assert driver.process.returncode == 143
    if signals in ((signal.SIGINT,), (signal.SIGTERM,)):
        assert set(cluster.scratch_folders()) <= before
    assert {row.spec.seed for row in store.read(tmp_path / "results").rows} <= {0, 1}


@needs_ray
@pytest.mark.slow
def test_a_ray_of_our_own_ends_with_the_run_even_if_interrupted_twice(tmp_path: Path) -> None:
    driver = Driver(tmp_path, ray_cluster.LOCAL)
    assert len(driver.kin()) > 3
    driver.signal(signal.SIGINT, signal.SIGINT)
    driver.process.communicate(timeout=SECONDS)
    until(lambda: driver.kin() == [])


def test_what_was_measured_on_three_nodes_is_what_one_machine_found() -> None:
    report = scaled_out.read(Path(__file__).parents[1] / scaled_out.OUTPUT)
    alone, three, lost = (report.runs[way] for way in scaled_out.WAYS)
    assert {ran.equal for ran in (alone, three, lost)} == {report.trials}
    assert three.built == three.entries == alone.entries == lost.entries, "each once"
    assert (three.lost, len(lost.lost)) == ((), 1)
    said = scaled_out.document(report)
    assert "the plan has 2, 6 and 4 steps" in said
    assert lost.lost[0] in said


@needs_ray
@pytest.mark.slow
@pytest.mark.real
def test_three_nodes_one_of_them_lost_find_what_one_machine_finds(tmp_path: Path) -> None:
    if offline.find() is None and not os.environ.get("BENCH_WEIGHTS_DIR"):
        pytest.skip("no weights of MobileNetV2 (extra offline, or BENCH_WEIGHTS_DIR)")
    pytest.importorskip("sklearn")
    found = scaled_out.measure(tmp_path, scaled_out.SHORT, (scaled_out.WAYS[0], scaled_out.WAYS[2]))
    alone, lost = found.runs.values()
    assert (alone.rows, lost.rows, lost.equal) == (4, 4, 4), "equal to the last bit"
    assert lost.killed_after is not None
    assert len(lost.lost) == 1
    assert lost.entries == alone.entries
    for kind, built in lost.built.items():
        assert built <= lost.entries[kind], "nothing is built twice, but what was being built"
    assert "4 of 4" in scaled_out.document(found)
