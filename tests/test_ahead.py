"""Batches made ahead: in order, on another thread, and never of an epoch that is over."""

import threading
import time

import pytest

from bench.training.ahead import DEPTH, Ahead


def test_what_follows_is_made_before_it_is_asked_for() -> None:
    made: list[int] = []
    ahead = Ahead(lambda n: made.append(n) or n, 10)
    assert ahead.get(0) == 0
    assert ahead.get(1) == 1
    deadline = time.monotonic() + 10
    while len(made) < 2 + DEPTH and time.monotonic() < deadline:
        time.sleep(0.001)
    assert made == [0, 1, 2, 3, 4]
    assert sorted(ahead.ready) == made


def test_every_batch_comes_once_and_the_thread_ends_with_the_last() -> None:
    before = threading.active_count()
    ahead = Ahead(lambda n: n * n, 7)
    assert [ahead.get(n) for n in range(7)] == [n * n for n in range(7)]
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threading.active_count() == before
    assert ahead.get(0) == 0  # and begins again


def test_forgetting_waits_for_what_is_under_way_and_drops_it() -> None:
    epoch = ["first"]
    slow = threading.Event()

    def make(number: int) -> str:
        if number:
            slow.wait(0.05)
        return f"{epoch[0]} {number}"

    ahead = Ahead(make, 5)
    assert ahead.get(0) == "first 0"
    ahead.forget()
    epoch[0] = "second"
    assert [ahead.get(n) for n in range(5)] == [f"second {n}" for n in range(5)]
    assert ahead.ready.keys() == set(range(5))


def test_a_batch_that_cannot_be_made_fails_whoever_asks() -> None:
    def make(number: int) -> int:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        Ahead(make, 3).get(0)
