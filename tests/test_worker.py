import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from conftest import make_spec

from bench.records import Backbone, Data, Dataset, Execution, Freeze, Phase, TrialSpec
from bench.running.messages import REPLY, Finished, Ready, Reply, Running, Setup, Task
from bench.settings import Settings

STUBBED = Path(__file__).parent / "faults" / "misbehaving.py"


def converse(
    command: tuple[str, ...], lines: list[str], environ: Mapping[str, str] | None = None
) -> tuple[list[Reply], str, int]:
    """Say the lines to a worker, one for each reply that ends a task, then close its input.

    Returns:
        Its replies (every line must be one), its standard error, and its exit code.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(environ or {})},
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        replies: list[Reply] = []
        for line in lines:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            for raw in filter(bytes.strip, process.stdout):  # each reply begins with a line end
                replies.append(REPLY.validate_json(raw))
                if not isinstance(replies[-1], Running):
                    break
        process.stdin.close()
        assert process.stdout.read() == b""
        code = process.wait(timeout=20)
        errors.seek(0)
        return replies, errors.read().decode(), code


def setup_for(folder: Path) -> Setup:
    return Setup(
        settings=Settings(cache=folder / "cache"),
        folder=folder,
        scratch=folder,
        execution=Execution(batch_size=16),
    )


def stubbed(folder: Path, trials: dict[int, str] | None = None) -> tuple[str, ...]:
    orders = {"trials": trials or {}, "notes": str(folder / "notes")}
    return sys.executable, str(STUBBED), json.dumps(orders)


def task(spec: TrialSpec) -> str:
    return Task(work=spec).model_dump_json()


def test_a_worker_ends_well_when_its_input_closes(tmp_path: Path) -> None:
    lines = [setup_for(tmp_path).model_dump_json(), task(make_spec())]
    replies, _, code = converse(stubbed(tmp_path), lines)
    assert [type(r) for r in replies] == [Ready, Finished]
    assert code == 0


def test_what_a_framework_prints_goes_to_standard_error(tmp_path: Path) -> None:
    """The stub prints, and writes to file descriptor 1 what could pass for a reply."""
    setup = setup_for(tmp_path).model_dump_json()
    script = (
        "import os, sys, subprocess; sys.argv[1:] = [{orders!r}]; sys.path.insert(0, {folder!r})\n"
        "import misbehaving as m\n"
        "def trial_prints(report):\n"
        "    print('printed')\n"
        "    os.write(1, b'written\\n')\n"
        "    subprocess.run(['echo', 'by a child'], check=True)\n"
        "m.trial_prints = trial_prints\n"
        "m.stub_training()\n"
        "m.worker.main()\n"
    ).format(orders=stubbed(tmp_path, {0: "prints"})[-1], folder=str(STUBBED.parent))
    replies, errors, code = converse(
        (sys.executable, "-u", "-c", script), [setup, task(make_spec())]
    )
    assert [type(r) for r in replies] == [Ready, Finished]
    assert sorted(errors.split("\n")) == ["", "by a child", "printed", "written"]
    assert code == 0


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-16"])
def test_the_locale_does_not_garble_a_spec(tmp_path: Path, encoding: str) -> None:
    spec = make_spec(dataset="Blüten 花\u2028\x85")
    replies, _, code = converse(
        stubbed(tmp_path),
        [setup_for(tmp_path).model_dump_json(), task(spec)],
        {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
    )
    last = replies[-1]
    assert isinstance(last, Finished)
    assert last.result.spec == spec
    assert code == 0


def test_a_line_that_is_no_task_ends_the_worker_with_a_reason(tmp_path: Path) -> None:
    lines = [setup_for(tmp_path).model_dump_json(), '{"spec": 1}']
    replies, errors, code = converse(stubbed(tmp_path), lines)
    assert [type(r) for r in replies] == [Ready]
    assert code == 1
    assert "for Task\n" in errors


@pytest.mark.slow
def test_the_real_worker_measures_a_real_trial(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    spec = TrialSpec(
        backbone=Backbone(name="MobileNetV2", weights="random"),
        data=Data(
            dataset=Dataset(name="digits"),
            image_size=32,
            train_examples=48,
            val_examples=20,
            test_examples=30,
        ),
        head=make_spec().head,
        freeze=Freeze(strategy="top_blocks", amount=2),
        phase1=Phase(epochs=1, learning_rate=1e-3),
        phase2=Phase(epochs=1, learning_rate=1e-4),
        execution=Execution(batch_size=16),
    )
    replies, _, code = converse(
        (sys.executable, "-m", "bench.running.worker"),
        [setup_for(tmp_path).model_dump_json(), task(spec)],
        {"TF_CPP_MIN_LOG_LEVEL": "0"},
    )
    ready, *running, finished = replies
    assert isinstance(ready, Ready)
    assert isinstance(finished, Finished)
    assert code == 0
    row = finished.result
    assert (row.status, row.reason) == ("ok", "")
    assert (row.key, row.spec, row.stack) == (spec.key, spec, ready.stack)
    assert row.environment == ready.environment
    told = list(dict.fromkeys(r.progress.stage for r in running if isinstance(r, Running)))
    # Passes over the pictures tell of themselves once a second: on a fast machine, not at all.
    stages = [stage for stage in told if stage != "activations"]
    assert stages[:4] == ["images", "weights", "phase 1", "phase 2"]
    assert finished.predictions == tmp_path / f"{spec.key}.npz"
    with np.load(finished.predictions, allow_pickle=False) as arrays:
        assert arrays["probabilities"].shape == (30, 10)
        right = arrays["probabilities"].argmax(axis=1) == arrays["labels"]
    assert row.test_accuracy == pytest.approx(right.mean())
