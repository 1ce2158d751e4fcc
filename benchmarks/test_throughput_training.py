"""Throughput of a training step in each phase of the protocol, backbone by backbone."""

import pytest

from bench.records import Freeze
from benchmarks.conftest import BACKBONES, Case

FREEZES = {f.label: f for f in (Freeze(strategy="top_blocks", amount=2), Freeze(strategy="all"))}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_phase_1(backbone: str, throughput: Case) -> None:
    throughput(backbone, "phase 1")


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("freeze", FREEZES)
def test_phase_2(backbone: str, freeze: str, throughput: Case) -> None:
    throughput(backbone, "phase 2", FREEZES[freeze])
