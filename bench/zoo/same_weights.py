"""Whether a backbone's weights are those that earlier rows were measured with.

A weights file that was replaced, or rotted on its disk, would otherwise go on measuring, and one
table would hold two models under one name.
"""

from collections.abc import Mapping

from bench.errors import WeightsError
from bench.records import Backbone, WeightsUsed


def name_of(backbone: Backbone) -> str:
    """What stands for a backbone in a mapping that goes through JSON."""
    return backbone.model_dump_json()


def check(backbone: Backbone, used: WeightsUsed, earlier: Mapping[str, str]) -> None:
    """See whether weights are the same as before. Random ones never are, and pass.

    Args:
        backbone: as the suite has it.
        used: what it was loaded with.
        earlier: SHA-256 by `name_of` a backbone; what is not in it passes.

    Raises:
        WeightsError: they are others.
    """
    before = earlier.get(name_of(backbone), used.sha256)
    if used.source != "random" and before != used.sha256:
        raise WeightsError(
            f"backbone {backbone.name!r}: the weights of {used.source} are not those of earlier "
            f"rows in this results folder (SHA-256 {before[:12]} there, {used.sha256[:12]} now): "
            "put the file back as it was, or give another --results"
        )
