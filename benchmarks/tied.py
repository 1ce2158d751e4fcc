"""Two backbones whose heads a val and a test split rank differently: which one is better, really?

    python -m benchmarks.tied    prints the table, writes results/reference/tied.json

On stanford_dogs `bench choose` picked a head that test puts below another (benchmarks.choosing).
A test split is a sample, too. Here every picture that there is takes its turn as a test picture:
linear classifiers (ridge regression, its strength found on the other pictures) on the frozen
features, cross-validated over train, val and test together, several times with other folds. The two
backbones are paired picture by picture. Val chose the pick and flatters it: train and test
together are the fair judges.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tabulate import tabulate

from bench.records import SplitName, Stack, TrialSpec

SUITE = Path("suites/small_zoo.toml")
DATASET, PICKED, BEST = "stanford_dogs", "EfficientNetLite2", "EfficientNetLite1"
FOLDS, TIMES = 10, 2
STRENGTHS = tuple(10.0 ** np.arange(0, 6))
OUTPUT = Path("results/reference/tied.json")


def trial_of(backbone: str) -> TrialSpec:
    """The suite's head on a frozen backbone."""
    from bench import suite

    changes = [f'matrix.datasets=["{DATASET}"]', f'matrix.backbones=["{backbone}"]']
    trials = suite.load(SUITE, changes=changes).trials
    return next(t for t in trials if t.freeze.strategy == "head_only")


def right(backbone: str, place: Any) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """How often each picture was classified rightly, and in which split it is."""
    from bench.steps import pooled_name
    from bench.training.grounds import prepared_for

    spec = trial_of(backbone)
    prepared = prepared_for(spec, place, False, lambda _: None, {})
    assert prepared.bench is not None
    splits: tuple[SplitName, ...] = ("train", "val", "test")
    labels = np.concatenate([getattr(prepared.given, split).labels for split in splits])
    features = np.concatenate(
        [prepared.bench.at(pooled_name(spec), s, None, lambda _: None)[0] for s in splits]
    )
    sizes = [len(getattr(prepared.given, split).labels) for split in splits]
    return crossed(features, labels), np.repeat(np.array(splits), sizes)


def crossed(features: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    """The share of times that each picture was right, by classifiers that did not see it."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(STRENGTHS))
    found = [
        cross_val_predict(
            classifier, features, labels, cv=StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        )
        == labels
        for seed in range(TIMES)
    ]
    return np.asarray(np.mean(found, axis=0), np.float64)


def compared(picked: NDArray[np.float64], best: NDArray[np.float64]) -> dict[str, Any]:
    """Both accuracies, and what the pick loses with its 95% interval, paired by picture."""
    lost = best - picked
    mean, error = float(lost.mean()), float(stats.sem(lost))
    low, high = stats.t.interval(0.95, len(lost) - 1, mean, error)
    return {
        "pictures": len(lost),
        "picked": float(picked.mean()),
        "best": float(best.mean()),
        "lost": [mean, float(low), float(high)],
    }


def document(content: Mapping[str, Any]) -> str:
    """What such a file says, as Markdown."""
    titles = ("judged by", "pictures", f"{PICKED}, %", f"{BEST}, %", "lost by the pick (95%)")
    lines = []
    for name, part in content["compared"].items():
        lost, low, high = (100 * value for value in part["lost"])
        lines.append(
            [name, f"{part['pictures']:,}"]
            + [f"{100 * part[which]:.1f}" for which in ("picked", "best")]
            + [f"{lost:+.1f} ({low:+.1f} to {high:+.1f})"]
        )
    table = tabulate(lines, titles, tablefmt="github", disable_numparse=True)
    stack = Stack.model_validate(content["stack"])
    return (
        f"{table}\n\n{DATASET}, heads alone: ridge classifiers on frozen features, {FOLDS} folds, "
        f"{TIMES} times; {stack.id}."
    )


def main() -> None:
    """Measure and print."""
    from bench.records import Execution
    from bench.settings import Settings
    from bench.training import execution
    from bench.training.grounds import Workplace

    stack = execution.configure(Execution())
    settings = Settings.from_environment()
    place = Workplace(settings, SUITE.parent, stack, execution.environment())
    (picked, split), (best, _) = right(PICKED, place), right(BEST, place)
    parts = {f"{s} pictures": split == s for s in ("train", "val", "test")}
    parts |= {"train and test": split != "val", "all pictures": split != ""}
    content = {
        "stack": stack.model_dump(mode="json"),
        "environment": place.environment.model_dump(mode="json"),
        "compared": {name: compared(picked[at], best[at]) for name, at in parts.items()},
    }
    OUTPUT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(document(content))


if __name__ == "__main__":
    main()
