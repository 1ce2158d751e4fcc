"""A merge that is stopped at every so many calls of the system (`crashing`).

python tests/crashing_merge.py HOW,HOW,... FOLDER STEP
"""

import sys
from pathlib import Path

import crashing
import numpy as np
from conftest import STACK, make_cost, make_result, make_spec

from bench.errors import StoreError
from bench.running import merging, store

ROWS = tuple(make_result(make_spec(seed=seed)) for seed in range(3))
INPUTS = ("a", "b")


class Merge(crashing.Scenario):
    """Two folders that share a row; one has a suite file, both have predictions."""

    refusal = StoreError

    def prepare(self) -> None:
        for name, rows in zip(INPUTS, (ROWS[:2], ROWS[1:]), strict=True):
            with store.writing(self.folder / name) as held, held.scratch() as scratch:
                held.keep_suite(b"# a suite")
                held.append(make_cost(reason=name), None)
                for row in rows:
                    file = scratch / "x.npz"
                    np.savez(file, probabilities=np.eye(3), labels=np.arange(3))
                    held.append(row, file)

    def work(self, say: crashing.Say) -> None:
        merged = merging.merge([self.folder / name for name in INPUTS], self.folder / "c")
        say("told" if merged.notes else "merged")

    def check(self, said: list[str], how: str) -> None:
        there = (self.folder / "c").exists()
        assert there or not said, "what was reported as merged is not there"
        if how in ("fail", "broken", "interrupt"):
            assert there or {p.name for p in self.folder.iterdir()} <= {*INPUTS, ".new-c"}
        if not there:
            merging.merge([self.folder / name for name in INPUTS], self.folder / "c")
        found = store.read(self.folder / "c")
        assert found.problems == ()
        assert {row.key for row in found.rows} == {row.key for row in ROWS}
        assert [cost.runs for cost in found.costs] == [2]
        predictions = self.folder / "c" / STACK.id / store.PREDICTIONS
        lacking = {f"{row.key}.npz" for row in ROWS} - {p.name for p in predictions.iterdir()}
        assert not lacking or "told" in said  # a disk that would not give them is told of
        assert (self.folder / "c" / store.SUITE).read_bytes() == b"# a suite"
        assert {p.name for p in (self.folder / "c").iterdir()} == {STACK.id, store.SUITE}
        assert {p.name for p in self.folder.iterdir()} - {"c"} <= {*INPUTS, ".new-c"}


crashing.SCENARIOS["merge"] = Merge  # type: ignore[assignment]

if __name__ == "__main__":
    hows, place, step = sys.argv[1].split(","), Path(sys.argv[2]), int(sys.argv[3])
    for each in hows:
        print(each, crashing.main("merge", each, place, step // 2, step))
