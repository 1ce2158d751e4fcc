"""The table of faults: every kind, how often it comes, and what brings it about."""

import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.faults import damage, signals, unruly
from tests.faults.chain import Chain
from tests.faults.damage import Entry, Weights, deform, flip, overwrite, remove, truncate
from tests.faults.disks import Full, ReadOnly, quota
from tests.faults.signals import Kill, Stop
from tests.faults.unruly import Worker

Fault = Callable[[Chain, random.Random], None]


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        fault: brings it about and waits for what it leads to.
        text: what it is, for the report.
        share: of the kills, or of the other faults, in a campaign.
        kill: whether it ends a process by a signal.
        possible: whether it can be had here.
    """

    fault: Fault
    text: str
    share: float = 1.0
    kill: bool = False
    possible: Callable[[], bool] = lambda: True


def _kills() -> dict[str, Kind]:
    shares = {
        ("runner", signal.SIGKILL): 18,
        ("runner", signal.SIGTERM): 14,
        ("runner", signal.SIGINT): 14,
        ("runner", signal.SIGHUP): 6,
        ("worker", signal.SIGKILL): 24,
        ("worker", signal.SIGTERM): 14,
        ("both", signal.SIGKILL): 12,
        ("both", signal.SIGTERM): 8,
    }
    ways = {
        **{signal.SIGKILL: "killed", signal.SIGTERM: "asked to end"},
        **{signal.SIGINT: "interrupted", signal.SIGHUP: "left by its terminal"},
    }
    found = {}
    for (who, number), share in shares.items():
        fault = Kill(number, runner=who != "worker", worker=who != "runner")
        whom = {"runner": "the runner", "worker": "a worker", "both": "runner and worker"}[who]
        text = f"{whom} {ways[number]} ({number.name})"
        found[f"{number.name.lower()}-{who}"] = Kind(fault, text, share, kill=True)
    return found


def _entries() -> dict[str, Kind]:
    whats = {
        "pictures": ("images", "", "pixels.npy"),
        "labels": ("images", "", "examples.npz"),
        "features": ("activations", "pooled", "*.npy"),
        "frontiers": ("activations", "frontier", "*.npy"),
        "heads": ("heads", "", "*.npy"),
    }
    ways = {"truncated": truncate, "flipped": flip, "overwritten": overwrite}
    found = {}
    for what, (kind, part, pattern) in whats.items():
        for way, how in ways.items():
            words = {"flipped": "with one bit flipped", "overwritten": "with a page overwritten"}
            text = f"cached {what} {words.get(way, way)}"
            found[f"{what}-{way}"] = Kind(Entry(kind, part, pattern, how), text)
    for kind in ("images", "activations", "heads", "modes"):
        fault = Entry(kind, "", "manifest.json", deform)
        found[f"manifest-{kind}"] = Kind(fault, f"manifest of a cached entry ({kind}) deformed")
    found["manifest-truncated"] = Kind(
        Entry("*", "", "manifest.json", truncate), "manifest of any cached entry truncated"
    )
    found["manifest-flipped"] = Kind(
        Entry("*", "", "manifest.json", flip), "manifest of any cached entry, one bit flipped"
    )
    found["file-removed"] = Kind(Entry("*", "", "*", remove), "a file of a cached entry removed")
    return found


KINDS: Mapping[str, Kind] = {
    **_kills(),
    "sigint-worker": Kind(
        signals.worker_ignores_sigint,
        "a worker interrupted (SIGINT), which is not its to obey",
        2,
        kill=True,
    ),
    "stop-runner": Kind(Stop(runner=True), "the runner stopped for a while (SIGSTOP, SIGCONT)", 2),
    "stop-worker": Kind(Stop(worker=True), "a worker stopped for a while", 2),
    "stop-both": Kind(Stop(runner=True, worker=True), "runner and worker stopped for a while"),
    "second-runner": Kind(signals.second_runner, "a second run into the same results folder", 2),
    "shared-cache": Kind(unruly.shared_cache, "two runs fill one cache at the same time"),
    "cleared-cache": Kind(unruly.cleared_cache, "the cache cleared while a run works with it", 2),
    "full-results": Kind(Full("results", 12), "no room left for results", 2),
    "full-cache": Kind(Full("cache", 120), "no room left in the cache", 2),
    "quota": Kind(quota, "no file may grow beyond a size (quota)"),
    "read-only-results": Kind(ReadOnly("results", (2,)), "results folder read-only"),
    "read-only-cache": Kind(ReadOnly("cache", (0, 1, 2)), "cache read-only"),
    "torn-row": Kind(damage.torn, "last row torn", 2),
    "garbage-rows": Kind(damage.garbage, "garbage among the rows", 2),
    "flipped-row": Kind(damage.flipped, "one bit of a row flipped", 2),
    "newer-row": Kind(damage.newer, "a row of a newer version"),
    **_entries(),
    "weights-truncated": Kind(Weights(truncate, (2,)), "weights file truncated"),
    "weights-flipped": Kind(Weights(flip, (0, 1, 2)), "weights file with one bit flipped"),
    "weights-overwritten": Kind(
        Weights(overwrite, (0, 1, 2)), "weights file with a page overwritten"
    ),
    "clock": Kind(unruly.clock, "clocks jump by hours, ahead and back", 2),
    "worker-hangs": Kind(
        Worker("hang", (1,), "timeout: ", unruly.LIMIT), "a worker hangs (limits.trial_minutes)"
    ),
    "worker-hungry": Kind(
        Worker("hunger", (1,), "out_of_memory: ", unruly.MEMORY),
        "a worker eats memory (--memory-limit)",
        possible=unruly.limits_memory,
    ),
    "worker-garbage": Kind(Worker("garbage", (0,)), "a worker writes garbage between its replies"),
    "worker-garbled": Kind(
        Worker("garbled", (0,), "", unruly.LIMIT),
        "a worker writes garbage without a line end before a reply",
    ),
    "worker-exits": Kind(
        Worker("exit", (1,), "exited with 0 and no result"), "a worker exits with 0 and no result"
    ),
}


def plan(seed: int, kills: int, others: int) -> list[str]:
    """Which faults a campaign brings, in order: every kind once, then by their shares."""
    chance = random.Random(f"plan {seed}")
    chosen = []
    for count, is_kill in ((kills, True), (others, False)):
        kinds = {n: k for n, k in KINDS.items() if k.kill == is_kill and k.possible()}
        names = chance.sample(list(kinds), min(count, len(kinds)))
        shares = [k.share for k in kinds.values()]
        names += chance.choices(list(kinds), shares, k=count - len(names))
        chosen += names
    chance.shuffle(chosen)
    return chosen
