"""The largest batch that fits: an injected out-of-memory is found, halved and recorded."""

import pytest

from bench.errors import BenchError
from bench.measuring import sizing
from bench.measuring.apart import TriedError
from bench.measuring.sizing import Found


class Device:
    """Has memory for so many pictures."""

    def __init__(self, room: int, error: type[Exception] = TriedError) -> None:
        self.room, self.error = room, error
        self.tried: list[int] = []

    def __call__(self, size: int) -> None:
        self.tried.append(size)
        if size > self.room:
            raise self.error("ResourceExhaustedError: failed to allocate memory")


def test_what_fits_at_once_is_taken() -> None:
    device = Device(5000)
    assert sizing.largest(device, 1024) == Found(1024, "1024 fits; more was not tried")
    assert device.tried == [1024]


def test_memory_that_runs_out_halves_the_batch_and_is_recorded() -> None:
    device = Device(300)
    found = sizing.largest(device, 1024)
    assert found.size == 256
    assert device.tried == [1024, 512, 256]
    refused = "did not fit (ResourceExhaustedError: failed to allocate memory)"
    assert found.reason == f"1024 {refused}; 512 {refused}; 256 fits"


def test_where_not_even_one_fits_the_error_stays_what_it_is() -> None:
    with pytest.raises(TriedError):
        sizing.largest(Device(0), 4)


def test_a_mistake_of_ours_is_no_reason_to_try_less() -> None:
    device = Device(1, BenchError)
    with pytest.raises(BenchError, match="failed"):
        sizing.largest(device, 8)
    assert device.tried == [8]
