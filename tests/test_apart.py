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


@pytest.mark.slow
def test_an_answer_comes_from_another_process() -> None:
    answer, process = apart.run(doubled, 21)
    assert answer == 42
    assert process != os.getpid()


@pytest.mark.slow
def test_an_error_comes_back_as_its_text() -> None:
    with pytest.raises(apart.TriedError, match="MemoryError: no room"):
        apart.run(unfit)


@pytest.mark.slow
def test_a_process_that_is_killed_is_an_answer_too() -> None:
    with pytest.raises(apart.TriedError, match="its process died"):
        apart.run(os._exit, 1)


def lingers() -> None:
    time.sleep(600)


@pytest.mark.slow
def test_it_does_not_outlive_who_asked(tmp_path: Path) -> None:
    asking = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "if __name__ == '__main__':\n"
        "    import test_apart; from bench.measuring import apart\n"
        "    apart.run(test_apart.lingers)\n"
    )
    script = tmp_path / "asking.py"
    script.write_text(asking)
    tests = Path(__file__).parent
    asker = psutil.Popen([sys.executable, str(script), str(tests), str(tests.parent)])
    children: list[psutil.Process] = []
    until = time.monotonic() + 120
    while len(children) < 2 and time.monotonic() < until:  # with Python's resource tracker
        time.sleep(0.2)
        children = asker.children()
    asker.kill()
    asker.wait()
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert len(gone) >= 2
    assert not alive
