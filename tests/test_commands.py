"""Measuring a command from outside."""

import sys

import numpy as np

from benchmarks import commands


def test_a_command_is_measured_apart_from_who_measures() -> None:
    held = np.ones(60 * 2**20 // 8)  # 60 MiB here are not the command's
    here = commands.measured([sys.executable, "-S", "-c", "raise SystemExit(3)"])
    more = commands.measured([sys.executable, "-S", "-c", "bytearray(90 * 2**20)"])
    assert held.size
    assert here.code == 3
    assert here.peak_bytes < 60 * 2**20
    assert more.code == 0
    assert more.peak_bytes - here.peak_bytes > 80 * 2**20


def test_the_time_is_that_of_the_command() -> None:
    slept = commands.measured([sys.executable, "-S", "-c", "import time; time.sleep(0.3)"])
    assert slept.seconds >= 0.3
