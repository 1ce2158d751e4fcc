"""The peak of a device: arithmetic on a clock that only fake products move, and a real product."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bench.errors import UnknownNameError
from bench.measuring import peak


@dataclass
class Device:
    """Multiplies at `rate` operations/s; each wait for it takes `waiting` seconds more.

    Every third burst takes `disturbed` times as long.
    """

    rate: float
    waiting: float = 0.0
    compiling: float = 10.0
    disturbed: float = 5.0
    now: float = 0.0
    built: list[tuple[int, str]] = field(default_factory=list)
    bursts: list[int] = field(default_factory=list)

    def product(self, size: int, dtype: str) -> Callable[[int], None]:
        self.built.append((size, dtype))
        fresh = [True]

        def run(count: int) -> None:
            self.now += self.compiling if fresh else 0.0
            fresh.clear()
            self.bursts.append(count)
            factor = self.disturbed if len(self.bursts) % 3 == 0 else 1.0
            self.now += factor * (count * 2 * size**3 / self.rate + self.waiting)

        return run


def use(device: Device, monkeypatch: pytest.MonkeyPatch) -> Device:
    monkeypatch.setattr(peak, "_product", device.product)
    monkeypatch.setattr(peak, "_clock", lambda: device.now)
    return device


@pytest.mark.parametrize(
    ("rate", "sizes"),
    [
        (5e8, [256]),  # 67 ms: terribly slow, and not made slower
        (5e9, [256, 512]),
        (2e11, [256, 1024, 2048]),
        (1e13, [256, 1024, 4096, 8192]),
        (1e15, [256, 1024, 4096, 8192]),  # 1.1 ms at the largest
    ],
)
def test_sizes_grow_until_a_product_takes_a_while(
    rate: float, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = use(Device(rate), monkeypatch)
    assert peak.peak_flops("float32") == pytest.approx(rate)
    assert [size for size, _ in device.built] == sizes
    last = 2 * sizes[-1] ** 3 / rate
    assert device.bursts[-1] * last >= peak.LONG
    assert set(device.bursts) == {1, device.bursts[-1]}


def test_starting_and_waiting_hardly_count(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a fast GPU a wait takes a tenth of the largest product, and 1/500 of a burst.
    use(Device(1e15, waiting=1e-4), monkeypatch)
    assert 0.99e15 < peak.peak_flops("float32") < 1e15


def test_the_slowest_case_of_all_takes_less_than_three_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each size before the last takes just too little.
    device = use(Device(2 * 2048**3 / 0.0499, compiling=0.0, disturbed=1.0), monkeypatch)
    peak.peak_flops("float32")
    assert [size for size, _ in device.built] == [256, 1024, 2048, 4096]
    assert device.now < 3


def test_compiling_counts_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    device = use(Device(2e11, compiling=100.0, disturbed=1.0), monkeypatch)
    assert peak.peak_flops("float32") == pytest.approx(2e11)
    assert device.now > 100 * len(device.built)
    assert len(device.bursts) == 5 * len(device.built)  # the first apart, four are left of each


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", "float32"), ("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")],
)
def test_the_dtype_is_what_a_precision_computes_in(
    precision: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = use(Device(1e8), monkeypatch)
    peak.peak_flops(precision)
    assert device.built == [(256, dtype)]


def test_an_unknown_precision_says_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match=r"precision 'bfloat16'.*mixed_bfloat16"):
        peak.peak_flops("bfloat16")


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_real_product(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "SMALLEST", 16)
    monkeypatch.setattr(peak, "LARGEST", 32)
    ticks = iter(range(1000))
    with monkeypatch.context() as patched:
        patched.setattr(peak, "_clock", lambda: next(ticks) / 1000)  # 1 ms a burst, always
        patched.setattr(peak, "LONG", 0.0095)
        # Bursts of 10 at side 32, on a clock that gives each burst 1 ms.
        assert peak.peak_flops(precision) == pytest.approx(10 * 2 * 32**3 / 1e-3)
    assert 0 < peak.peak_flops(precision) < 1e15


def test_a_product_has_the_dtype_and_the_size_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    seen = []

    def spying(multiply: peak.Multiply) -> peak.Compiled:
        return multiply, lambda result: seen.append(result)

    monkeypatch.setitem(peak._BACKENDS, keras.backend.backend(), spying)
    peak._product(24, "bfloat16")(3)
    (result,) = seen
    assert tuple(result.shape) == (24, 24)
    assert keras.backend.standardize_dtype(result.dtype) == "bfloat16"
    assert float(keras.ops.std(keras.ops.cast(result, "float32"))) > 1  # no zeros, no constants
