"""Equal reruns: what a row promises, and that the same suite gives the same bits again."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import STACK, make_result, make_spec

from bench.analysis import details, evidence
from bench.errors import BenchError
from bench.records import Execution, TrialResult
from bench.running import store
from bench.training import execution
from benchmarks import determinism
from benchmarks.determinism import Report, Seen, Way

GPU = "NVIDIA H100 80GB HBM3"
TORCH_SAYS = (
    "put_ does not have a deterministic implementation, but you set "
    "'torch.use_deterministic_algorithms(True, warn_only=True)'. You can file an issue at ..."
)
CUBLAS_SAYS = (
    "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)` or "
    "`at::Context::setDeterministicAlgorithms(true)`, but this operation is not deterministic "
    "because it uses CuBLAS and you have CUDA >= 10.2. To enable deterministic behavior ..."
)


# ------------------------------------------------------------------------------ what a row promises


@pytest.mark.parametrize(
    ("backend", "device", "deterministic", "said", "promise", "words"),
    [
        ("tensorflow", "cpu", True, (), "equal", "same suite, stack and processor, with"),
        ("tensorflow", GPU, True, (), "equal", "same suite, stack and processor, with"),
        ("torch", "cpu", True, (), "equal", "threads"),
        ("jax", "cpu", True, (), "equal", "threads"),
        ("jax", GPU, True, (), "not promised", f"JAX on {GPU} does not heed"),
        ("torch", GPU, True, ("put_ has none", "put_ has none"), "not promised", "put_ has none"),
        *(
            (backend, "cpu", False, (), "not promised", "execution.deterministic = false")
            for backend in ("tensorflow", "torch", "jax")
        ),
    ],
)
def test_a_row_says_what_running_it_again_gives(
    backend: str, device: str, deterministic: bool, said: tuple[str, ...], promise: str, words: str
) -> None:
    stack = STACK.model_copy(update={"backend": backend, "device": device})
    found, reason = execution.reruns(Execution(deterministic=deterministic), stack, said)
    assert found == promise
    assert words in reason
    assert reason.count("put_") <= 1


def test_what_pytorch_says_of_a_kernel_is_heard_and_other_warnings_pass() -> None:
    with warnings.catch_warnings(record=True) as passed, execution.watched() as said:
        for text in (TORCH_SAYS, TORCH_SAYS, CUBLAS_SAYS, "something else"):
            warnings.warn(text, UserWarning, stacklevel=1)
    assert [str(w.message) for w in passed] == ["something else"]
    assert [text.split()[0] for text in said] == ["put_", "put_", "Deterministic"]
    assert said[2].endswith("because it uses CuBLAS and you have CUDA >= 10.2")


def test_rows_of_before_say_nothing_and_keep_their_key() -> None:
    row = make_result()
    content = row.model_dump(mode="json", exclude={"reruns", "reruns_reason"})
    earlier = TrialResult.model_validate(content)
    assert (earlier.reruns, earlier.reruns_reason) == (None, "")
    assert earlier.key == earlier.spec.key


def test_the_details_say_it_once_for_all_seeds() -> None:
    promised = {"reruns": "not promised", "reruns_reason": "execution.deterministic = false"}
    rows = tuple(make_result(make_spec(seed=seed), **promised) for seed in (0, 1))
    assert _settings(*rows)["reruns, bit for bit"] == (
        "not promised: execution.deterministic = false"
    )
    assert "reruns, bit for bit" not in _settings(make_result())


def _settings(*rows: TrialResult) -> dict[str, str]:
    source = evidence.Source("nowhere", Path("nowhere"), rows)
    (line,) = evidence.of([source]).lines
    return dict(details.detail(source, line).settings)


# ------------------------------------------------------------------------------- the comparison


def stored(folder: Path, probabilities: np.ndarray, **changes: object) -> Path:
    """A results folder of one row with its predictions."""
    row = make_result(**changes)
    row = row.model_copy(update={"predictions": f"predictions/{row.key}.npz"})
    place = folder / row.stack.id
    (place / "predictions").mkdir(parents=True)
    np.savez(place / str(row.predictions), probabilities=probabilities)
    (place / store.TRIALS).write_bytes(store.line(row))
    return folder


def test_rows_are_compared_bit_by_bit_but_for_times(tmp_path: Path) -> None:
    some = np.full((3, 2), 0.5, np.float32)
    first = stored(tmp_path / "a", some)
    slower = stored(tmp_path / "b", some, seconds=99.0, started_at="2031-01-01T00:00:00+00:00")
    bit = stored(tmp_path / "c", np.nextafter(some, np.float32(1)))
    loss = stored(tmp_path / "d", some, test_loss=0.123)
    assert str(determinism.compared(slower, first)) == "equal"
    assert determinism.compared(bit, first) == Seen(rows=1, equal=0, apart=2**-24)
    assert determinism.compared(loss, first) == Seen(rows=1, equal=0, apart=0.0)
    assert str(determinism.compared(loss, first)) == "1 of 1 differ (not their probabilities)"


TINY = """
description = "few quick trials of a tiny backbone"
phase1 = {{ epochs = 2, learning_rate = 1e-2 }}
phase2 = {{ epochs = 2, learning_rate = 1e-3 }}
execution = {{ batch_size = 16, deterministic = {deterministic} }}
[data]
image_size = 16
train_examples = 64
val_examples = 32
test_examples = 32
augmentation = [{{ rotation = 0.05 }}]
[[backbones]]
name = "tiny"
file = "FILE"
preprocessing = "minus_one_to_one"
blocks = 'block([0-9]+)_'
[[matrix]]
backbones = ["tiny"]
datasets = ["digits"]
freezes = [{freezes}]
seeds = [{seeds}]
[[matrix]]
backbones = ["tiny"]
datasets = ["digits"]
freezes = ["scratch"]
"""


@pytest.mark.slow
def test_the_same_suite_gives_the_same_bits_in_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another order; and step by step, stopped and gone on with: `test_kill` has the rest."""
    pytest.importorskip("sklearn")
    file, here = tmp_path / "tiny.keras", Path(__file__).parent
    make = f"import tiny; tiny.backbone().save({str(file)!r})"
    paths = f"{here.parent}:{here}"
    subprocess.run(
        [sys.executable, "-c", make], check=True, capture_output=True, env={"PYTHONPATH": paths}
    )
    monkeypatch.setattr(determinism, "SUITE", TINY.replace("FILE", str(file)))
    ways = {
        "in another order": Way("first", backwards=True),
        "literally": Way(
            "literal", words=("--literal",), before=("--only", "scratch"), backwards=True
        ),
    }
    found = determinism.measure(tmp_path, ways)
    assert {name: str(seen) for name, seen in found.seen.items()} == dict.fromkeys(ways, "equal")
    assert [seen.rows for seen in found.seen.values()] == [5, 5]
    rows = store.read(tmp_path / "first" / "few").rows
    assert {r.reruns for r in rows} == {"equal"}


# ---------------------------------------------------------------------------------- in words


def test_the_table_has_a_line_for_each_way_and_a_column_for_each_stack(tmp_path: Path) -> None:
    seen = {"again": Seen(rows=5, equal=5, apart=0.0)}
    cores = {"on one core": Seen(rows=5, equal=1, apart=2e-7)}
    one = _on("tensorflow", seen | cores)
    text = determinism.document(Report(stacks={"a": one, "b": _on("jax", seen)}), "github")
    lines = text.splitlines()
    assert [c.strip() for c in lines[0].split("|")[1:4]] == [
        *("run", "tensorflow 2.21.0, cpu", "jax 2.21.0, cpu")
    ]
    assert [c.strip() for c in lines[2].split("|")[1:4]] == ["again", "equal", "equal"]
    assert [c.strip() for c in lines[3].split("|")[1:4]] == [
        *("on one core", "4 of 5 differ (probabilities by 2e-07)", "–")
    ]
    file = tmp_path / "r.json"
    file.write_text(Report(stacks={"a": one}).model_dump_json())
    assert determinism.read(file).stacks == {"a": one}
    file.write_text("{}")
    with pytest.raises(BenchError, match=r"expected a file of benchmarks\.determinism"):
        determinism.read(file)


def _on(backend: str, seen: dict[str, Seen]) -> determinism.OnStack:
    return determinism.OnStack(
        stack=STACK.model_copy(update={"backend": backend}),
        environment=execution.environment(),
        measured_at="2026-01-01T00:00:00+00:00",
        seen=seen,
    )
