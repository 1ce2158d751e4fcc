"""Graph or XLA: measured where finding out pays, on a clock that only the fake steps move."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bench import cache
from bench.errors import CacheError
from bench.settings import Settings
from bench.training import modes

IDENTITY = {"backbone": "MobileNetV2", "phase": 2, "device": "cpu", "batch": 32, "image_size": 160}
LONG = 100_000


@dataclass
class Machine:
    """A clock, and steps that take their seconds of it: the first of each kind compiles, too."""

    graph: float = 0.010
    xla: float = 0.010
    compiling: float = 40.0
    failure: Exception | None = None
    now: float = 0.0
    built: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def step(self, jit: bool) -> Callable[[], object]:
        name = "xla" if jit else "graph"
        self.built.append(name)

        def run() -> None:
            if jit and self.failure:
                raise self.failure
            self.now += (self.xla if jit else self.graph) + (
                0 if name in self.ran else self.compiling
            )
            self.ran.append(name)

        return run


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setattr(modes, "_backend", lambda: "tensorflow")
    monkeypatch.setattr(modes, "_clock", lambda: machine.now)
    return machine


def forbidden(jit: bool) -> Callable[[], object]:
    raise AssertionError(f"a step was built (jit={jit})")


@pytest.mark.parametrize(
    ("backend", "name", "jit"), [("jax", "xla", True), ("torch", "eager", False)]
)
def test_other_backends_leave_no_choice(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, backend: str, name: str, jit: bool
) -> None:
    monkeypatch.setattr(modes, "_backend", lambda: backend)
    mode = modes.choose(IDENTITY, forbidden, LONG, settings)
    assert (mode.name, mode.jit) == (name, jit)
    assert mode.evidence
    assert not settings.cache.exists()


def test_a_short_phase_never_builds_xla(machine: Machine, settings: Settings) -> None:
    machine.graph = 0.0123
    mode = modes.choose(IDENTITY, machine.step, 1138, settings)
    assert machine.built == ["graph"]
    assert machine.ran == ["graph"] * 4
    assert (mode.name, mode.jit) == ("graph", False)
    assert mode.evidence == (
        "not measured against xla, whose compilation does not pay in 14 s at 12.3 ms a step "
        "(3 steps)"
    )
    assert not settings.cache.exists()  # how long the phase is, is no part of the identity


def test_a_phase_known_to_be_short_costs_nothing(settings: Settings, machine: Machine) -> None:
    mode = modes.choose(IDENTITY, forbidden, 100, settings, seconds_per_step=2.9)
    assert mode.name == "graph"
    assert "does not pay in at most 290 s" in mode.evidence


def test_a_known_time_decides_only_whether_it_pays(machine: Machine, settings: Settings) -> None:
    # What the caller knows holds loading pictures: XLA, without it, would win undeserved.
    machine.graph = machine.xla = 1.0
    mode = modes.choose(IDENTITY, machine.step, 400, settings, seconds_per_step=3.0)
    assert machine.built == ["graph", "xla"]
    assert mode.name == "graph"


def test_a_phase_that_proves_short_after_all_is_left_at_that(
    machine: Machine, settings: Settings
) -> None:
    mode = modes.choose(IDENTITY, machine.step, 400, settings, seconds_per_step=3.0)
    assert machine.built == ["graph"]
    assert "does not pay in 4.0 s" in mode.evidence


@pytest.mark.parametrize(
    ("xla", "name"), [(0.005, "xla"), (0.0094, "xla"), (0.0096, "graph"), (0.010, "graph")]
)
def test_a_long_phase_runs_the_faster(
    machine: Machine, settings: Settings, xla: float, name: str
) -> None:
    machine.xla = xla
    mode = modes.choose(IDENTITY, machine.step, LONG, settings)
    assert machine.ran == ["graph"] * 4 + ["xla"] * 4
    assert (mode.name, mode.jit) == (name, name == "xla")
    assert mode.evidence == (
        f"measured: graph 10 ms a step (3 steps), xla {xla * 1e3:.3g} ms a step (3 steps); "
        "xla's first step, which compiles, 40 s"
    )


def test_a_hopeless_xla_is_not_run_to_the_end(machine: Machine, settings: Settings) -> None:
    machine.xla = 0.2
    mode = modes.choose(IDENTITY, machine.step, LONG, settings)
    assert machine.ran.count("xla") == 2
    assert mode.name == "graph"
    assert "xla 200 ms a step (1 step)" in mode.evidence


def test_the_median_ignores_one_slow_step(
    machine: Machine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([40.0, 0.01, 9.0, 0.01, 40.0, 0.005, 0.005, 7.0])
    monkeypatch.setattr(modes, "_timed", lambda run: next(seconds))
    mode = modes.choose(IDENTITY, machine.step, LONG, settings)
    assert mode.name == "xla"


def test_an_answer_is_used_again(machine: Machine, settings: Settings) -> None:
    machine.xla = 0.004
    first = modes.choose(IDENTITY, machine.step, LONG, settings)
    other_order = dict(reversed(IDENTITY.items()))
    assert modes.choose(other_order, forbidden, LONG, settings) == first
    assert modes.choose(IDENTITY, forbidden, 1, settings) == first  # nothing to pay any more


def test_another_identity_is_measured_anew(machine: Machine, settings: Settings) -> None:
    modes.choose(IDENTITY, machine.step, LONG, settings)
    machine.xla = 0.004
    mode = modes.choose(IDENTITY | {"batch": 64}, machine.step, LONG, settings)
    assert mode.name == "xla"
    assert len(cache.manifests(settings, "modes")) == 2


def test_the_record_says_what_it_is_about(machine: Machine, settings: Settings) -> None:
    mode = modes.choose(IDENTITY, machine.step, LONG, settings)
    ((identity, content, _),) = cache.manifests(settings, "modes")
    assert identity == IDENTITY
    assert content == {"name": mode.name, "evidence": mode.evidence}


def test_a_record_that_makes_no_sense_is_measured_again(
    machine: Machine, settings: Settings
) -> None:
    with cache.building(settings, "modes", IDENTITY, "wrong") as writer:
        writer.content |= {"name": "eager", "evidence": "?"}
    modes.choose(IDENTITY, machine.step, LONG, settings)
    assert machine.ran.count("xla") == 4


def test_an_xla_that_fails_leaves_the_graph(machine: Machine, settings: Settings) -> None:
    machine.failure = ValueError("Detected unsupported operations: RandomShuffle\n[stack follows]")
    mode = modes.choose(IDENTITY, machine.step, LONG, settings)
    assert mode == modes.Mode(
        "graph",
        "measured: graph 10 ms a step (3 steps); "
        "XLA failed (ValueError: Detected unsupported operations: RandomShuffle)",
    )
    assert modes.choose(IDENTITY, forbidden, LONG, settings) == mode


def test_a_user_who_interrupts_xla_is_obeyed(machine: Machine, settings: Settings) -> None:
    machine.failure = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        modes.choose(IDENTITY, machine.step, LONG, settings)
    assert not settings.cache.exists()


def test_a_graph_that_fails_is_the_trials_failure(machine: Machine, settings: Settings) -> None:
    def fails(jit: bool) -> Callable[[], object]:
        def run() -> None:
            raise MemoryError("no memory for one step")

        return run

    with pytest.raises(MemoryError, match="one step"):
        modes.choose(IDENTITY, fails, LONG, settings)


def test_a_cache_that_cannot_be_written_is_named(machine: Machine, settings: Settings) -> None:
    settings.cache.write_text("a file where the folder should be")
    with pytest.raises(CacheError, match="BENCH_CACHE_DIR"):
        modes.choose(IDENTITY, machine.step, LONG, settings)
