"""How many planted wrong labels a probe's suspects hold, and how many suspects are such.

    python -m benchmarks.mislabelled    prints the table, writes results/reference/mislabelled.json

A twentieth of the labels of train and val is changed to another class at random, ten times; that is
what `bench.training.transferability.suspects` then sees, with MobileNetV2's features. Labels that
were wrong before count as right, so that precision is a lower bound. Real mistakes are between
classes that look alike, and harder to find than these.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from bench.records import Stack

CASES = (("tf_flowers", None), ("tf_flowers", 500), ("cats_vs_dogs", None), ("cats_vs_dogs", 250))
"""Dataset, and how many pictures of train and of val; None for all: 55% and 20%."""
SHARE, TIMES, IMAGE_SIZE = 0.05, 10, 160
OUTPUT = Path("results/reference/mislabelled.json")


def planted(features: Any, labels: Any, classes: int) -> tuple[float, float]:
    """Precision and recall, over all times together."""
    from bench.training.transferability import suspects

    found = hits = wrong = 0
    for seed in range(TIMES):
        rng = np.random.default_rng(seed)
        changed = rng.permutation(len(labels))[: round(SHARE * len(labels))]
        given = labels.copy()
        given[changed] = (given[changed] + rng.integers(1, classes, len(changed))) % classes
        pictures = {d.picture for d in suspects(features, given, classes)}
        found, wrong = found + len(pictures), wrong + len(changed)
        hits += len(pictures & set(changed.tolist()))
    return hits / max(found, 1), hits / wrong


def measure(dataset: str, examples: int | None, place: Any) -> dict[str, Any]:
    """One case."""
    from bench.records import Backbone, Data, Dataset, Freeze, Head, Phase, Splits, TrialSpec
    from bench.steps import pooled_name
    from bench.training.grounds import prepared_for

    data = Data(
        dataset=Dataset(name=dataset),
        image_size=IMAGE_SIZE,
        splits=Splits(train=0.55, val=0.2, test=0.25),
        train_examples=examples,
        val_examples=examples,
    )
    spec = TrialSpec(
        backbone=Backbone(name="MobileNetV2"),
        data=data,
        head=Head(name="linear"),
        freeze=Freeze(strategy="head_only"),
        phase1=Phase(epochs=1, learning_rate=1e-3),
        phase2=None,
        seed=0,
    )
    prepared = prepared_for(spec, place, False, lambda _: None, {})
    assert prepared.bench is not None
    parts = [
        prepared.bench.at(pooled_name(spec), s, None, lambda _: None) for s in ("train", "val")
    ]
    features = np.concatenate([part[0] for part in parts])
    given = prepared.given
    labels = np.concatenate([given.train.labels, given.val.labels])
    precision, recall = planted(features, labels, given.classes)
    return {
        "dataset": dataset,
        "fingerprint": prepared.dataset.fingerprint,
        "pictures": len(labels),
        "classes": given.classes,
        "precision": precision,
        "recall": recall,
    }


def document(content: Mapping[str, Any]) -> str:
    """What such a file says, as Markdown."""
    titles = ("dataset", "pictures", "classes", "precision", "recall")
    lines = [
        [m["dataset"], f"{m['pictures']:,}", m["classes"]]
        + [f"{100 * m[name]:.0f}%" for name in ("precision", "recall")]
        for m in content["measured"]
    ]
    table = tabulate(lines, titles, tablefmt="github", disable_numparse=True)
    stack = Stack.model_validate(content["stack"])
    planted = content["planted"]
    return (
        f"{table}\n\nMobileNetV2 at {IMAGE_SIZE} px, {100 * planted['share']:.0f}% of the labels "
        f"changed, {planted['times']} times each; {stack.id}."
    )


def main() -> None:
    """Measure and print."""
    from bench.records import Execution
    from bench.settings import Settings
    from bench.training import execution
    from bench.training.grounds import Workplace
    from bench.training.transferability import SUSPECT_NEIGHBOURS, SUSPECT_SHARE

    stack = execution.configure(Execution())
    settings = Settings.from_environment()
    place = Workplace(settings, Path(), stack, execution.environment())
    measured = [measure(dataset, examples, place) for dataset, examples in CASES]
    content = {
        "stack": stack.model_dump(mode="json"),
        "environment": place.environment.model_dump(mode="json"),
        "rule": {"neighbours": SUSPECT_NEIGHBOURS, "share": SUSPECT_SHARE},
        "planted": {"share": SHARE, "times": TIMES},
        "measured": measured,
    }
    OUTPUT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(document(content))


if __name__ == "__main__":
    main()
