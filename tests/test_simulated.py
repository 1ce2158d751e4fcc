"""The simulated cluster: its clock and its books, and that scheduling is worth something on it."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.records import TrialResult
from bench.running import jobs, runner, store
from bench.running.dispatching import Dispatcher
from bench.running.expected import Expected
from bench.running.jobs import Job
from bench.suite import Suite
from bench.zoo.backbones import BACKBONES
from benchmarks import simulated, simulated_report, simulated_work
from benchmarks.simulated_baselines import FirstCome, Glued
from benchmarks.simulated_fleet import Cluster, NoStore, Silence, SimulatedFleet
from benchmarks.simulated_report import Variant
from benchmarks.simulated_work import World

TRIALS = 200
SMALL = Cluster(nodes=2, gpus=4)
TOLD, SOURCE = simulated_work.recorded(), simulated_work.source()


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return simulated.loaded(TRIALS, tmp_path_factory.mktemp("suite"))


@pytest.fixture(scope="module")
def known(suite: Suite) -> Expected:
    """What rows of another seed and other noise tell."""
    return Expected(simulated.earlier(suite, World(TOLD, seed=2)))


def fleet(cluster: Cluster = SMALL, **changes: Any) -> SimulatedFleet:
    return SimulatedFleet(cluster, World(TOLD, **({"seed": 1} | changes)), SOURCE.stack, SOURCE)


def run(
    suite: Suite, known: Expected, cluster: Cluster = SMALL, rules: type[Dispatcher] = Dispatcher
) -> Variant:
    return simulated.simulated("", suite, fleet(cluster), known.seconds, dispatcher=rules)


def test_the_sweep_is_the_one_that_is_spoken_of(tmp_path: Path) -> None:
    whole = simulated.loaded(10_000, tmp_path)
    assert len(whole.trials) == 10_000
    axes: list[set[object]] = [
        {t.backbone.name for t in whole.trials},
        {t.data.dataset.tfds for t in whole.trials},
        {t.freeze.label for t in whole.trials},
        {t.seed for t in whole.trials},
    ]
    assert [len(axis) for axis in axes] == [40, 10, 5, 5]
    assert axes[2] == set(simulated_work.STRATEGIES)
    assert axes[0] == BACKBONES.keys()


def test_paces_are_recorded_ones_and_by_parameters_where_there_is_none() -> None:
    world = World(TOLD)
    assert world.pace("ResNet50") == pytest.approx(1 / 31.8, rel=0.01), "as zoo_cost has it"
    larger = BACKBONES["ConvNeXtXLarge"].parameters / BACKBONES["ConvNeXtTiny"].parameters
    assert world.pace("ConvNeXtXLarge") == pytest.approx(larger * world.pace("ConvNeXtTiny"))
    assert "ConvNeXtXLarge" not in TOLD.paces


def test_equal_worlds_take_equal_time_and_noise_is_of_the_recorded_size(suite: Suite) -> None:
    work = jobs.of(suite.trials)
    one, same, other = World(TOLD, 1), World(TOLD, 1), World(TOLD, 2)
    assert [one.seconds(j) for j in work] == [same.seconds(j) for j in reversed(work)][::-1]
    tuned = [j for j in work if j.stage == "task" and j.label.split(" · ")[2] == "all"]
    ratios = [one.seconds(j) / other.seconds(j) for j in tuned]
    assert min(ratios) < 0.9
    assert max(ratios) > 1.1
    assert 0.2 < min(ratios) < max(ratios) < 5


def test_time_and_jobs_add_up(suite: Suite, known: Expected) -> None:
    wanted = jobs.of(suite.trials)
    running = fleet()
    ran = simulated.simulated("", suite, running, known.seconds)
    assert (ran.trials, ran.jobs, ran.given_up) == (TRIALS, len(wanted), 0)
    told = running.told
    assert told.work == pytest.approx(sum(map(running.world.seconds, wanted)))
    spent = told.work + told.setup
    assert spent / 8 <= running.now() <= spent
    assert ran.setup == pytest.approx(told.setup / 8 / running.now())
    assert ran.idle == pytest.approx(1 - spent / 8 / running.now())
    assert ran.lost == ran.away == 0
    assert ran == run(suite, known), "equal worlds, equal runs"


def test_no_run_is_faster_than_the_ideal_nor_one_worker_slower_than_all_work(suite: Suite) -> None:
    alone = fleet(Cluster(nodes=1, gpus=1))
    ran = simulated.simulated("", suite, alone, lambda _: None)
    assert ran.idle == pytest.approx(0, abs=1e-9)
    assert alone.now() == pytest.approx(alone.told.work + alone.told.setup)
    assert ran.utilisation == pytest.approx(1 - ran.setup)


def test_scheduling_keeps_workers_busy_better_than_simpler_rules(
    suite: Suite, known: Expected
) -> None:
    ours = run(suite, known)
    assert ours.utilisation > simulated_report.LEAST
    assert run(suite, known, Cluster(2, 4, own_caches=True)).utilisation > simulated_report.LEAST
    glued, first = run(suite, known, rules=Glued), run(suite, known, rules=FirstCome)
    assert glued.utilisation < ours.utilisation
    assert first.utilisation < ours.utilisation
    assert glued.moves == 0
    assert first.setups > 1.5 * ours.setups
    nothing = simulated.simulated("", suite, fleet(), lambda _: None)
    assert nothing.utilisation < ours.utilisation


@pytest.mark.parametrize("own_caches", [False, True])
def test_what_a_lost_node_did_is_done_elsewhere(
    suite: Suite, known: Expected, own_caches: bool
) -> None:
    hour = 3600.0
    cluster = Cluster(2, 4, own_caches=own_caches, losses=((hour, hour), (5 * hour, hour)))
    running, rows = fleet(cluster), Counter[str]()

    class Counting(NoStore):
        def append(self, row: Any, predictions: Path | None) -> Any:
            rows[row.key] += 1
            return row

    store: Any = Counting()
    summary = runner.run_on(suite.trials, store, running, Silence(), seconds=known.seconds)
    assert rows == Counter(t.key for t in suite.trials)
    assert summary.all_ok
    assert running.told.lost > 0
    assert running.told.away == pytest.approx(2 * 4 * hour)
    assert running.now() > 6 * hour, "both losses fell into the run"
    assert running.told.jobs == len(jobs.of(suite.trials)) or own_caches


def test_helpers_without_a_gpu_decode_pictures(suite: Suite, known: Expected) -> None:
    given: list[tuple[str, Job]] = []

    class Watched(SimulatedFleet):
        def start(self, worker: str, job: Job) -> None:
            given.append((worker, job))
            super().start(worker, job)

    cluster = Cluster(2, 4, helpers=1)
    watched = Watched(cluster, World(TOLD, seed=1), SOURCE.stack, SOURCE)
    runner.run_on(suite.trials, NoStore(), watched, Silence(), seconds=known.seconds)  # type: ignore[arg-type]
    by_helpers = {job.stage for worker, job in given if "CPU" in worker}
    assert by_helpers == {"images"}


def test_bookkeeping_per_job_does_not_grow_with_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Counter[str]()
    for name in ("_place", "_look", "_top"):
        real = getattr(Dispatcher, name)

        def counted(self: Dispatcher, *given: Any, real: Any = real, name: str = name) -> Any:
            calls[name] += 1
            return real(self, *given)

        monkeypatch.setattr(Dispatcher, name, counted)
    each = {}
    for trials in (100, 1_000):
        calls.clear()
        ran = simulated.simulated("", simulated.loaded(trials, tmp_path), fleet(), lambda _: None)
        each[trials] = sum(calls.values()) / ran.jobs
    assert each[1_000] < 1.5 * each[100]


def test_a_sweep_into_a_real_store(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[TrialResult] = []

    def keep(*given: Any, real: Any = simulated.simulated) -> Variant:
        ran: Variant = real(*given)
        if len(given) > 4:
            read.extend(store.read(given[4].folder).rows)
        return ran

    monkeypatch.setattr(simulated, "simulated", keep)
    monkeypatch.setattr("bench.running.appending.synced", lambda descriptor: None)
    variant, cost = simulated.swept(100)
    seeds = Counter(row.spec.seed for row in read)
    assert seeds == Counter(dict.fromkeys((0, 1, 2, 3, 4, simulated.EARLIER_SEED), 20))
    assert (cost.trials, cost.jobs, variant.given_up) == (100, variant.jobs, 0)
    assert 0 < cost.cpu_seconds < 100 * 0.1


# ------------------------------------------------------------------------------------ in words


def test_the_report_in_the_repository_is_as_good_as_is_claimed() -> None:
    report = simulated_report.read(simulated_report.OUTPUT)
    assert report.beyond == []
    assert report.variants[0].trials == 10_000
    assert sorted(cost.trials for cost in report.costs) == sorted(simulated.SIZES)
    shown = simulated_report.document(report, "github")
    assert f"{report.variants[0].utilisation:.1%}" in shown
    assert "64 simulated GPUs" in shown


def test_what_is_not_as_it_should_be_is_said() -> None:
    report = simulated_report.read(simulated_report.OUTPUT)
    slow = report.variants[0].model_copy(update={"hours": 2 * report.variants[0].hours})
    costs = [
        c if c.trials < 5_000 else c.model_copy(update={"cpu_seconds": 999}) for c in report.costs
    ]
    worse = report.model_copy(update={"variants": (slow,), "costs": tuple(costs)})
    assert len(worse.beyond) == 2
    with pytest.raises(BenchError, match=r"expected a file of benchmarks.simulated"):
        simulated_report.read(Path("README.md"))
