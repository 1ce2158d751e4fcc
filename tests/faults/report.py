"""What a campaign found, as Markdown and JSON. Neither names this machine."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.kinds import KINDS

FOUND = {
    "lost": "rows lost",
    "different": "tables different",
    "orphans": "orphans",
    "left": "files left",
    "other": "other findings",
}


@dataclass(frozen=True)
class Brought:
    """One fault, as it went.

    Attributes:
        kind: name in the table of kinds.
        chain: number of its chain; ``seed`` and this bring it again.
        seed: of the fault.
        happened: moment, and what was seen.
        rows: on disk when it came.
        seconds: until it had led to whatever it leads to.
        found: how many of each kind of finding.
    """

    kind: str
    chain: int
    seed: str
    happened: tuple[str, ...]
    rows: int
    seconds: float
    found: Mapping[str, int]


@dataclass(frozen=True)
class Campaign:
    """All of it.

    Attributes:
        seed, date, minutes, jobs: of the campaign.
        stack: id; ``environment`` of a row, and ``datasets``.
        faults: in the order of chains.
        at_ends: findings when laps were compared, apart from those of a fault.
        missed: faults that found no moment to come.
    """

    seed: int
    date: str
    minutes: float
    jobs: int
    stack: str
    environment: Mapping[str, Any]
    datasets: Sequence[str]
    laps: int
    faults: Sequence[Brought]
    missed: Sequence[str] = ()

    def total(self, finding: str) -> int:
        """How many of a kind of finding."""
        return sum(f.found.get(finding, 0) for f in self.faults)

    @property
    def kills(self) -> int:
        """How many of the faults ended a process by a signal."""
        return sum(KINDS[f.kind].kill for f in self.faults)


def write_json(campaign: Campaign, file: Path) -> None:
    """Every fault, and the totals."""
    totals = {name: campaign.total(name) for name in FOUND}
    counts = {"kills": campaign.kills, "others": len(campaign.faults) - campaign.kills}
    content = {**asdict(campaign), "counts": counts, "totals": totals}
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_markdown(campaign: Campaign, file: Path) -> None:
    """A table of kinds, one of moments, and the circumstances."""
    file.write_text(markdown(campaign), encoding="utf-8")


def markdown(campaign: Campaign) -> str:
    """The report."""
    kills, others = campaign.kills, len(campaign.faults) - campaign.kills
    totals = ", ".join(f"{text} {campaign.total(name)}" for name, text in FOUND.items())
    environment = campaign.environment
    parts = [
        "# Faults\n",
        "Nothing measured is ever lost: `make faults` disturbs real runs at random moments, and "
        "holds what they come to against a run that nobody disturbed. This page is written by "
        "it.\n",
        f"**{kills} kills and {others} other faults: {totals}.**\n",
        _wrapped(campaign, environment),
        "A *chain* is one results folder with one cache, disturbed again and again until every "
        "trial is measured. After each fault every line that was on disk is still there, byte for "
        "byte; the run ended with the exit code that is documented, without a traceback; no "
        "process of it is left. When the trials are measured, every row equals that of the "
        "undisturbed run to the last bit, predictions included (its times apart), and so does the "
        "printed table; no temporary file is left in results, cache or TMPDIR.\n",
        "## Kinds\n",
        _kinds(campaign),
        "\n## Moments\n",
        "At which runs were killed, stopped or otherwise disturbed.\n",
        _moments(campaign),
        "\nDefects that the campaign found are in the CHANGELOG, each with what Bench does now. To "
        f"bring one of these faults again: `python -m tests.faults.campaign --seed {campaign.seed} "
        "--chain N`; `--list` lists the kinds, `--only KIND` brings nothing else.\n",
    ]
    return "\n".join(parts)


def _wrapped(campaign: Campaign, environment: Mapping[str, Any]) -> str:
    packages = environment.get("packages", {})
    names = ", ".join(f"{n} {packages[n]}" for n in ("numpy", "h5py") if n in packages)
    return (
        f"{campaign.date} · {campaign.minutes:.0f} minutes, {campaign.jobs} chains at a time · "
        f"seed {campaign.seed} · {campaign.laps} sweeps of MobileNetV2 (ImageNet weights) on "
        f"{' and '.join(campaign.datasets)} · {campaign.stack} · Bench "
        f"{environment.get('bench_version')}, Python {environment.get('python_version')}"
        f"{', ' + names if names else ''} · {environment.get('processor')}, "
        f"{environment.get('cores')} cores, {environment.get('memory_gib', 0):.0f} GiB\n"
    )


def _kinds(campaign: Campaign) -> str:
    counts = Counter(f.kind for f in campaign.faults)
    heads = ["fault", "count", *FOUND.values()]
    rows = [
        [
            kind.text,
            counts[name],
            *(sum(f.found.get(n, 0) for f in campaign.faults if f.kind == name) for n in FOUND),
        ]
        for name, kind in KINDS.items()
        if counts[name]
    ]
    return _table(heads, rows)


def _moments(campaign: Campaign) -> str:
    counts: dict[str, Counter[str]] = {}
    from tests.faults.moments import MOMENTS

    for fault in campaign.faults:
        for moment in MOMENTS.keys() & set(fault.happened):
            group = "killed" if KINDS[fault.kind].kill else "other"
            counts.setdefault(moment, Counter())[group] += 1
    rows = [[n, counts[n]["killed"], counts[n]["other"]] for n in MOMENTS if n in counts]
    return _table(["moment", "kills", "other faults"], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
