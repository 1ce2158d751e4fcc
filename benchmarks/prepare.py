"""What both sides need of a case before any clock runs, worked out in a process of its own.

    python -m benchmarks.prepare CASE.json WEIGHTS.h5

Decodes the dataset into Bench's image cache, writes the backbone's weights to a file that the plain
script can read, and works out where phase 2 begins for each strategy. The last line of its output
is a `benchmarks.cases.Prepared` as JSON.
"""

import sys
from pathlib import Path

from bench.data import images
from bench.records import Backbone, Dataset
from bench.settings import Settings
from bench.zoo import backbones, freezing, weights
from benchmarks.cases import Case, Prepared


def main() -> None:
    """Prepare the case in the file given."""
    case = Case.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(prepare(case, Settings.from_environment(), Path(sys.argv[2])).model_dump_json())


def prepare(case: Case, settings: Settings, file: Path) -> Prepared:
    """Fill the image cache, and give what the plain script must know.

    Args:
        case: what to prepare.
        settings: this machine's.
        file: where to write the weights; not written where they are random.
    """
    images.open_images(Dataset(name=case.dataset), case.image_size, settings)
    backbone = Backbone(name=case.backbone, weights=case.weights)
    loaded = weights.load(backbone, case.image_size, settings)
    if case.weights != "random":
        loaded.model.save_weights(file)
    names = tuple(layer.name for layer in loaded.model.layers)
    starts = backbones.block_starts(loaded.blocks, names) if loaded.blocks else ()
    layers = freezing.BackboneLayers(names, starts)
    firsts = {f.label: freezing.first_trainable(f, layers) for f in case.freezes}
    return Prepared(
        weights=None if case.weights == "random" else str(file),
        rescale=_rescale(case.backbone, loaded.preprocessing),
        first_layers={n: None if i == len(names) else i for n, i in firsts.items()},
    )


def _rescale(backbone: str, preprocessing: str) -> bool:
    """Whether the plain script must rescale.

    Raises:
        ValueError: the backbone wants what the plain script does not do.
    """
    if preprocessing not in ("raw", "minus_one_to_one"):
        raise ValueError(f"{backbone}: the plain script has no preprocessing {preprocessing!r}")
    return preprocessing == "minus_one_to_one"


if __name__ == "__main__":
    main()
