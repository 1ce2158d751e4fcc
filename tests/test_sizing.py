"""The largest batch that fits: an injected out-of-memory is found, halved and recorded."""

import pytest

from bench.measuring import sizing


class ResourceExhaustedError(Exception):
    """What TensorFlow raises."""


class Device:
    """Has memory for so many pictures."""

    def __init__(self, room: int, error: type[Exception] = ResourceExhaustedError) -> None:
        self.room, self.error = room, error
        self.tried: list[int] = []

    def __call__(self, size: int) -> None:
        self.tried.append(size)
        if size > self.room:
            raise self.error("failed to allocate\nmemory")


def test_what_fits_at_once_is_taken() -> None:
    device = Device(5000)
    assert sizing.largest(device, 1024) == (1024, "1024 fits, not tried on")
    assert device.tried == [1024]


@pytest.mark.parametrize("error", [ResourceExhaustedError, MemoryError])
def test_memory_that_runs_out_halves_the_batch_and_is_recorded(error: type[Exception]) -> None:
    device = Device(300, error)
    size, how = sizing.largest(device, 1024)
    assert size == 256
    assert device.tried == [1024, 512, 256]
    refused = f"did not fit ({error.__name__}: failed to allocate memory)"
    assert how == f"1024 {refused}; 512 {refused}; 256 fits"


def test_where_not_even_one_fits_the_error_stays_what_it_is() -> None:
    with pytest.raises(ResourceExhaustedError):
        sizing.largest(Device(0), 4)


def test_another_error_is_no_reason_to_try_less() -> None:
    device = Device(1, ValueError)
    with pytest.raises(ValueError, match="failed"):
        sizing.largest(device, 8)
    assert device.tried == [8]
