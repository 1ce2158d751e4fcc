"""The freeze boundary inside a backbone: what is constant below it, and what trains above.

Below the boundary nothing trains and, the backbone being pinned, nothing is random: the tensors
that cross it are a fixed function of the pictures and can be computed once.
"""

from typing import Any

import keras


def crossing(backbone: Any, start: int) -> list[Any]:
    """The tensors that enter the first operations that layers from ``start`` on train.

    Found among the model's own nodes: an operation varies if its layer trains or anything it takes
    varies; what varying operations take from the others crosses the boundary. So a residual
    connection across it is one more tensor, not a special case.

    Args:
        backbone: Keras functional model.
        start: index into ``backbone.layers``.

    Returns:
        Symbolic tensors, batch first; none where nothing would be gained: no layer from ``start``
        on has weights, or the model's input crosses.
    """
    trains = {id(layer) for layer in backbone.layers[start:] if layer.weights}
    varies: set[int] = set()
    found: dict[int, Any] = {}
    for node in _nodes(backbone):
        taken = node.input_tensors
        if id(node.operation) not in trains and not any(id(t) in varies for t in taken):
            continue
        found.update({id(t): t for t in taken if id(t) not in varies})
        varies.update(id(t) for t in node.output_tensors)
    if any(id(i) in found for i in backbone.inputs):
        return []
    return list(found.values())


def above(backbone: Any, tensors: list[Any]) -> Any:
    """The part of a backbone above crossing tensors, sharing its layers: tensors -> feature map."""
    return keras.Model(tensors, backbone.outputs[0])


def _nodes(backbone: Any) -> list[Any]:
    """The nodes of a functional model, each after those it takes from."""
    depths = backbone._nodes_by_depth
    return [node for depth in sorted(depths, reverse=True) for node in depths[depth]]
