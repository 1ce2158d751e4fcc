"""docs/reliability.md against the results and the code that it speaks of."""

from pathlib import Path

from conftest import STACK

from bench.records import Execution
from bench.training import execution
from benchmarks import large_store, soak

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
NAMES = {"TensorFlow": "tensorflow", "PyTorch": "torch", "JAX": "jax"}


def test_nothing_that_is_shown_is_beyond_its_bound() -> None:
    assert soak.read(ROOT / soak.OUTPUT).beyond == []
    assert large_store.read(ROOT / large_store.OUTPUT).beyond == []


def test_the_table_of_promises_is_what_rows_say() -> None:
    lines = [
        [c.strip() for c in line.split("|")[1:-1]] for line in PAGE.splitlines() if "|" in line
    ]
    start = next(i for i, cells in enumerate(lines) if cells[:2] == ["backend", "device"])
    promises = lines[start + 2 : start + 9]
    assert len({tuple(cells[:3]) for cells in promises}) == 7
    for backend, device, deterministic, promised, _ in promises:
        for name in [NAMES[backend]] if backend in NAMES else NAMES.values():
            for kind in ["CPU", "GPU"] if device == "all" else [device]:
                stack = STACK.model_copy(
                    update={"backend": name, "device": "cpu" if kind == "CPU" else "NVIDIA H100"}
                )
                asked = Execution(deterministic=deterministic == "true")
                assert execution.reruns(asked, stack)[0] == promised
