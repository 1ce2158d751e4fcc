"""What is tried in a process of its own: its answer, its error, its death."""

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.measuring import apart


def doubled(number: int) -> tuple[int, int]:
    return 2 * number, os.getpid()


def unfit() -> None:
    raise MemoryError("no\n  room")


def test_an_answer_comes_from_another_process() -> None:
    answer, process = apart.run(doubled, 21)
    assert answer == 42
    assert process != os.getpid()


def test_an_error_comes_back_as_its_text() -> None:
    with pytest.raises(apart.TriedError, match="MemoryError: no room"):
        apart.run(unfit)


def test_a_process_that_is_killed_is_an_answer_too() -> None:
    with pytest.raises(apart.TriedError, match="its process died"):
        apart.run(os._exit, 1)


def lingers(note: Path) -> None:
    """Says which process it is, by a file that is there only when it is whole."""
    made = note.with_suffix(".part")
    made.write_text(str(os.getpid()))
    made.rename(note)
    time.sleep(600)


def test_it_does_not_outlive_who_asked(tmp_path: Path) -> None:
    asking = (
        "import pathlib, sys; sys.path[:0] = sys.argv[2:]\n"
        "if __name__ == '__main__':\n"
        "    import test_apart; from bench.measuring import apart\n"
        "    apart.run(test_apart.lingers, pathlib.Path(sys.argv[1]))\n"
    )
    script, note = tmp_path / "asking.py", tmp_path / "note"
    script.write_text(asking)
    tests = Path(__file__).parent
    asker = psutil.Popen([sys.executable, str(script), str(note), str(tests), str(tests.parent)])
    until = time.monotonic() + 300
    while not note.exists():
        assert asker.poll() is None, (
            f"it ended with {asker.returncode} before it had tried anything"
        )
        assert time.monotonic() < until, "nothing was tried within 300 s"
        time.sleep(0.1)
    tried = psutil.Process(int(note.read_text()))
    asker.kill()
    asker.wait()
    gone, _ = psutil.wait_procs([tried], timeout=60)
    assert gone == [tried]


def test_what_runs_there_needs_no_framework() -> None:
    found = apart.run(frameworks)
    assert found == []


def frameworks() -> list[str]:
    return sorted({"keras", "tensorflow", "jax", "torch"} & set(sys.modules))
