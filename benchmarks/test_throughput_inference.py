"""Throughput of a forward pass, backbone by backbone."""

import pytest

from benchmarks.conftest import BACKBONES, Case


@pytest.mark.parametrize("backbone", BACKBONES)
def test_inference(backbone: str, throughput: Case) -> None:
    throughput(backbone, "inference")
