"""Heads that phase 1 trained, kept in the cache."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench import cache
from bench.records import Epoch
from bench.settings import Settings
from bench.training.recording import LossScaling
from bench.training.stacking import TrainedHead

KIND = "heads"


def read(settings: Settings, identity: Mapping[str, Any]) -> TrainedHead | None:
    """The head of this identity; None where it is not kept."""
    entry = cache.read(settings, KIND, identity)
    if entry is None:
        return None
    content, arrays = entry.content, entry.arrays
    scaling = content.get("scaling")
    return TrainedHead(
        weights=[np.array(arrays[f"weight{i}"]) for i in range(content["weights"])],
        dropout_states=[np.array(arrays[f"state{i}"]) for i in range(content["states"])],
        epochs=tuple(Epoch.model_validate(e) for e in content["epochs"]),
        first_rate=content["first_rate"],
        input_wait=content["input_wait"],
        scaling=LossScaling(**scaling) if scaling else None,
    )


def write(
    settings: Settings,
    identity: Mapping[str, Any],
    label: str,
    about: Mapping[str, Any],
    head: TrainedHead,
) -> None:
    """Keep a head.

    Args:
        settings: whose cache keeps it.
        identity: all that it depends on; JSON values.
        label: for lists.
        about: what the entry says of itself besides; JSON values.
        head: as phase 1 left it.

    Raises:
        CacheError: the cache cannot be written.
    """
    with cache.building(settings, KIND, identity, label) as writer:
        if writer is None:
            return
        for i, weight in enumerate(head.weights):
            writer.put(f"weight{i}", weight)
        for i, state in enumerate(head.dropout_states):
            writer.put(f"state{i}", state)
        writer.content |= {
            **about,
            "weights": len(head.weights),
            "states": len(head.dropout_states),
            "epochs": [e.model_dump(mode="json") for e in head.epochs],
            "first_rate": head.first_rate,
            "input_wait": head.input_wait,
            "scaling": dataclasses.asdict(head.scaling) if head.scaling else None,
        }
