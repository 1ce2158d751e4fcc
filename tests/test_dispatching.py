"""Who gets which job: held to its rules over random runs, and its choices one by one."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from conftest import make_spec
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bench.costs import CostSpec
from bench.records import Augmentation, Backbone, Freeze, Phase, TrialSpec
from bench.running import jobs
from bench.running.dispatching import MOST_LOSSES, Dispatcher, Lost
from bench.running.fleets import Worker
from bench.running.jobs import Job
from bench.running.messages import Share

SPEC = make_spec()
SHARE = Share(stage="activations", spec=SPEC)
FREEZES = (
    Freeze(strategy="head_only"),
    Freeze(strategy="top_blocks", amount=2),
    Freeze(strategy="all"),
    Freeze(strategy="scratch"),
)

# ------------------------------------------------------------------------------ what there is to do


def step(key: str, ground: str = "ground", after: Sequence[str] = (), gpu: bool = True) -> Job:
    return Job(key, SHARE, ground, tuple(after), gpu)


def task(key: str, ground: str = "ground", after: Sequence[str] = ()) -> Job:
    return Job(key, SPEC, ground, tuple(after))


def drawn_jobs(chance: random.Random) -> list[Job]:
    """Any graph of the kind there is: pictures first, then steps and tasks of separate grounds."""
    found = [step(f"images{i}", f"images{i}", gpu=False) for i in range(chance.randint(0, 2))]
    pictures = [job.key for job in found]
    for number in range(chance.randint(1, 4)):
        ground = f"ground{number}"
        first = chance.sample(pictures, chance.randint(0, len(pictures)))
        steps: list[str] = []
        for i in range(chance.randint(0, 3)):
            needed = [*first, *chance.sample(steps, chance.randint(0, len(steps)))]
            found.append(step(f"{ground} step{i}", ground, needed))
            steps.append(found[-1].key)
        for i in range(chance.randint(1, 4)):
            needed = [*first, *chance.sample(steps, chance.randint(0, len(steps)))]
            found.append(task(f"{ground} task{i}", ground, needed))
    return found


def drawn_suite(chance: random.Random) -> list[Job]:
    """What `jobs.of` makes of trials of every kind, and of a measurement of cost."""
    backbones = chance.sample(("MobileNet", "MobileNetV2", "ResNet50"), chance.randint(1, 3))
    datasets = chance.sample(("digits", "tf_flowers"), chance.randint(1, 2))
    freezes = chance.sample(FREEZES, chance.randint(1, 4))
    flips = (Augmentation(kind="flip", amount="horizontal"),)
    shown = {"augmentation": flips, "views": "per-epoch"} if chance.random() < 0.3 else {}
    trials = [
        _trial(freeze, seed, dataset).model_copy(
            update={"backbone": Backbone(name=backbone), **shown}
        )
        for backbone in backbones
        for dataset in datasets
        for freeze in freezes
        for seed in range(chance.randint(1, 2))
    ]
    cost = CostSpec(backbone=Backbone(name="MobileNet"), workload="inference")
    return list(jobs.of([*trials, cost], literal=chance.random() < 0.2))


def _trial(freeze: Freeze, seed: int, dataset: str) -> TrialSpec:
    spec = make_spec(freeze, seed, dataset)
    tuned = None if freeze.strategy == "head_only" else Phase(epochs=2, learning_rate=1e-4)
    first = None if freeze.strategy == "scratch" else spec.phase1
    return spec.model_copy(update={"phase1": first, "phase2": tuned})


# ------------------------------------------------------------------------------------ a run of it


class Play:
    """A run by chance, which keeps books of its own and holds the dispatcher to them."""

    def __init__(self, work: Sequence[Job], chance: random.Random, caches: int) -> None:
        self.work, self.chance, self.caches = {job.key: job for job in work}, chance, caches
        durations = {job.key: chance.choice((0.0, 1.0, 5.0, 60.0)) for job in work}
        self.state = Dispatcher(work, lambda job: durations[job.key])
        self.workers: dict[str, Worker] = {}
        self.doing: dict[str, Job] = {}
        self.ended: Counter[str] = Counter()
        self.given_up: set[str] = set()
        self.losses: Counter[str] = Counter()
        self.kept: defaultdict[str, set[str]] = defaultdict(set)
        self.trace: list[tuple[str, ...]] = []

    def run(self, loss: float) -> None:
        """To the end, with losses and newcomers by chance; the workers may all be lost at times."""
        self.join(only_cpu=False)
        while not self.state.done:
            self.hand_out()
            self.check_counts()
            drawn = self.chance.random()
            if drawn < loss and self.workers:
                self.lose(self.chance.choice(sorted(self.workers)))
            elif drawn < loss + 0.15 or not self.doing:
                self.join(only_cpu=bool(self.doing) and self.chance.random() < 0.4)
            else:
                self.end(self.chance.choice(sorted(self.doing)))
        assert not self.doing
        assert self.state.useful == 0
        for key, job in self.work.items():
            if not isinstance(job.work, Share):
                assert (self.ended[key] == 1) != (key in self.given_up), job

    def join(self, only_cpu: bool) -> None:
        cache = f"cache{self.chance.randrange(self.caches)}"
        worker = Worker(f"w{len(self.trace)}", cache=cache, only_cpu=only_cpu)
        self.trace.append(("joins", worker.name))
        self.workers[worker.name] = worker
        self.state.joined(worker)

    def hand_out(self) -> None:
        assert set(self.state.idle) == self.workers.keys() - self.doing.keys()
        for name in self.state.idle:
            job = self.state.next_for(name)
            if job is not None:
                self.start(self.workers[name], job)
        able = [w for w in self.workers.values() if not w.only_cpu]
        assert self.doing or not able or self.state.done, "all wait for each other"

    def start(self, worker: Worker, job: Job) -> None:
        self.trace.append(("starts", worker.name, job.key))
        assert worker.name not in self.doing
        assert job not in self.doing.values()
        assert job.key not in self.given_up
        assert self.losses[job.key] < MOST_LOSSES
        assert not (worker.only_cpu and job.gpu)
        assert isinstance(job.work, Share) or not self.ended[job.key]
        for needed in job.after:
            assert self.ended[needed]
            if self.work[needed].gpu:
                assert needed in self.kept[worker.cache], "it lies in a cache of others"
        self.doing[worker.name] = job

    def end(self, name: str) -> None:
        job = self.doing.pop(name)
        self.trace.append(("ends", name, job.key))
        self.ended[job.key] += 1
        self.kept[self.workers[name].cache].add(job.key)
        self.state.ended(name)

    def lose(self, name: str) -> None:
        self.trace.append(("is lost", name))
        del self.workers[name]
        job, lost = self.doing.pop(name, None), self.state.left(name, f"{name} is gone")
        if job is None:
            assert lost is None
            return
        self.losses[job.key] += 1
        assert lost is not None
        assert lost.job == job
        assert len(lost.why) == self.losses[job.key]
        doomed = self.waiting_for(job.key) if self.losses[job.key] == MOST_LOSSES else set()
        assert {j.key for j in lost.given_up} == doomed
        assert len(lost.given_up) == len(doomed)
        self.given_up |= doomed

    def waiting_for(self, key: str) -> set[str]:
        """Tasks that cannot be done without it, itself included."""
        found = {key}
        for job in self.work.values():
            if found & set(job.after):
                found.add(job.key)
        tasks = {k for k in found if not isinstance(self.work[k].work, Share)}
        return {k for k in tasks if k not in self.given_up and not self.ended[k]}

    def check_counts(self) -> None:
        doing = self.state.doing
        assert {name: job.key for name, job in doing.items()} == {
            name: job.key for name, job in self.doing.items()
        }
        assert self.state.useful >= len(self.doing)
        if self.caches == 1:
            assert self.state.useful == len(self.doing) + self.startable()

    def startable(self) -> int:
        """Jobs that nothing but a worker is missing for."""
        busy = {job.key for job in self.doing.values()}
        dead = {key for key, count in self.losses.items() if count == MOST_LOSSES}
        for job in self.work.values():
            if dead & set(job.after):
                dead.add(job.key)
        return sum(
            not self.ended[key] and key not in busy | dead and all(self.ended[a] for a in job.after)
            for key, job in self.work.items()
        )


def play(seed: int, caches: int, loss: float, suite: bool) -> Play:
    chance = random.Random(seed)
    work = drawn_suite(chance) if suite else drawn_jobs(chance)
    played = Play(work, chance, caches)
    played.run(loss)
    return played


@examples(max_examples=100)
@given(
    seed=st.integers(0, 2**32),
    caches=st.integers(1, 3),
    loss=st.sampled_from((0.0, 0.05, 0.3)),
    suite=st.booleans(),
)
def test_every_job_ends_once_where_what_it_needs_lies(
    seed: int, caches: int, loss: float, suite: bool
) -> None:
    played = play(seed, caches, loss, suite)
    assert loss or not played.given_up
    if caches == 1:
        assert max(played.ended.values(), default=0) <= 1, "one cache keeps every step"
    assert play(seed, caches, loss, suite).trace == played.trace, "equal events, equal decisions"


# --------------------------------------------------------------------------------- what is chosen


def state_of(
    work: Sequence[Job], seconds: dict[str, float] | None = None, setup: float = 10.0
) -> Dispatcher:
    return Dispatcher(work, lambda job: (seconds or {}).get(job.key, 1.0), setup)


def next_key(state: Dispatcher, worker: str) -> str | None:
    job = state.next_for(worker)
    return job.key if job else None


def with_workers(state: Dispatcher, *names: str, cache: str = "", only_cpu: bool = False) -> None:
    for name in names:
        state.joined(Worker(name, cache=cache, only_cpu=only_cpu))


def test_on_a_ground_the_longest_way_comes_first() -> None:
    work = [task("short"), step("pass"), task("after it", after=["pass"]), task("long")]
    state = state_of(work, {"short": 1, "pass": 2, "after it": 5, "long": 6})
    with_workers(state, "a")
    order = []
    while (key := next_key(state, "a")) is not None:
        order.append(key)
        state.ended("a")
    assert order == ["pass", "long", "after it", "short"]
    assert state.done


def test_a_worker_stays_on_its_ground_and_the_largest_ground_begins_first() -> None:
    work = [task("s1", "small"), task("s2", "small"), task("l1", "large"), task("l2", "large")]
    work.append(task("o", "other"))
    state = state_of(work, {"l1": 50, "l2": 40, "s1": 46, "s2": 24, "o": 60})
    with_workers(state, "a", "b")
    assert (next_key(state, "a"), next_key(state, "b")) == ("l1", "s1")
    state.ended("b")
    assert next_key(state, "b") == "s2", "rather than begin with l2 or o, which are longer"
    state.ended("a")
    assert next_key(state, "a") == "l2"


def test_a_ground_too_large_for_its_workers_gets_others_before_small_ones_begin() -> None:
    work = [task(f"l{i}", "large") for i in range(4)] + [task("s", "small")]
    seconds = {f"l{i}": 50.0 for i in range(4)} | {"s": 100.0}
    state = state_of(work, seconds)
    with_workers(state, "a", "b")
    assert next_key(state, "a") == "l0"
    assert next_key(state, "b") == "l1", "200 s for one, of 300 for two: else it ends last"
    state.ended("a")
    state.ended("b")
    assert (next_key(state, "a"), next_key(state, "b")) == ("l2", "l3")
    with_workers(state, "c")
    assert next_key(state, "c") == "s"


@pytest.mark.parametrize(("each", "joins"), [(30.0, True), (4.0, False)])
def test_a_hand_more_must_be_worth_its_beginning(each: float, joins: bool) -> None:
    state = state_of([task(f"t{i}") for i in range(3)], {f"t{i}": each for i in range(3)})
    with_workers(state, "a", "b")
    assert next_key(state, "a") == "t0"
    assert (next_key(state, "b") is not None) == joins, "10 s to begin, and 2 tasks wait"


def test_pictures_are_for_workers_without_a_gpu_where_there_are_any() -> None:
    work = [step("images", "images", gpu=False), task("ready", "other")]
    work.append(task("waits", "ground", after=["images"]))
    alone = state_of(work)
    with_workers(alone, "gpu")
    assert next_key(alone, "gpu") == "images", "all else on its ground waits for it"
    helped = state_of(work)
    with_workers(helped, "gpu")
    with_workers(helped, "cpu", only_cpu=True)
    assert next_key(helped, "gpu") == "ready"
    assert next_key(helped, "cpu") == "images"
    helped.ended("cpu")
    assert next_key(helped, "cpu") is None
    assert helped.idle == ("cpu",)


def begun_in_a_cache() -> Dispatcher:
    """A ground that worker a began in cache A, where a shared step lies; b, in B, waits."""
    work = [step("pass"), task("t1", after=["pass"]), task("t2", after=["pass"])]
    state = state_of(work, {"pass": 5, "t1": 100, "t2": 100})
    with_workers(state, "a", cache="A")
    with_workers(state, "b", cache="B")
    assert next_key(state, "a") == "pass"
    state.ended("a")
    assert next_key(state, "a") == "t1"
    assert next_key(state, "b") is None, "what t2 needs lies in A"
    return state


@pytest.mark.parametrize("helper_stays", [False, True])
def test_a_ground_whose_cache_has_nobody_left_begins_again(helper_stays: bool) -> None:
    state = begun_in_a_cache()
    if helper_stays:
        with_workers(state, "cpu", cache="A", only_cpu=True)
    assert state.left("a", "the node is gone") == Lost(
        task("t1", after=["pass"]), ("the node is gone",)
    )
    assert next_key(state, "b") == "pass"
    state.ended("b")
    assert state.useful == 2
    done = []
    while (key := next_key(state, "b")) is not None:
        done.append(key)
        state.ended("b")
    assert done == ["t1", "t2"]
    assert state.done


def test_a_cache_that_comes_back_has_its_ground() -> None:
    state = begun_in_a_cache()
    state.left("a", "gone for a while")
    with_workers(state, "a again", cache="A")
    assert next_key(state, "b") is None
    assert next_key(state, "a again") == "t1"


def test_what_ends_three_workers_is_given_up_with_all_that_waits_for_it() -> None:
    work = [step("pass"), step("heads", after=["pass"]), task("t1", after=["pass", "heads"])]
    work += [task("t2", after=["heads"]), task("free")]
    state = state_of(work, {"pass": 100})
    for number in range(MOST_LOSSES):
        with_workers(state, f"w{number}")
        assert next_key(state, f"w{number}") == "pass"
        lost = state.left(f"w{number}", f"reason {number}")
        assert lost is not None
        assert bool(lost.given_up) == (number + 1 == MOST_LOSSES)
    assert lost is not None
    assert lost.why == ("reason 0", "reason 1", "reason 2")
    assert {job.key for job in lost.given_up} == {"t1", "t2"}
    with_workers(state, "last")
    assert next_key(state, "last") == "free"
    state.ended("last")
    assert state.done


def test_steps_that_wait_for_one_in_vain_are_left_out_and_tasks_are_not() -> None:
    work = [step("images", "images", gpu=False), step("pass", after=["images"])]
    work += [step("heads", after=["images", "pass"]), task("t1", after=["images", "heads"])]
    work += [task("t2", after=["images", "pass"]), step("other pass", "other")]
    state = state_of(work)
    with_workers(state, "a", "b")
    assert (next_key(state, "a"), next_key(state, "b")) == ("images", "other pass")
    state.ended("a", in_vain=True)
    done = []
    while (key := next_key(state, "a")) is not None:
        done.append(key)
        state.ended("a")
    assert sorted(done) == ["t1", "t2"]
    assert not state.done
    assert state.useful == 1
    state.ended("b")
    assert state.done


def test_the_loss_of_a_worker_without_a_job_costs_nothing() -> None:
    state = state_of([task("t")])
    with_workers(state, "a")
    assert state.left("a", "preempted") is None
    assert state.left("a", "said twice") is None
    assert state.idle == ()
    assert not state.done
