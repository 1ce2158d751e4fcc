"""Multiply-accumulates (MACs) of a Keras model, counted from its graph without running it.

Counted are products: convolutions, dense layers, matrix products, attention. Element-wise work,
normalisation, pooling, activations and biases count nothing, and a product with padding's zeros
counts like any other: the convention behind published numbers, which often call MACs FLOPs. One
MAC is two floating-point operations.

Shapes are worked out through the whole graph for a batch of one picture. A layer that Bench has no
rule for is asked for its own operations, by calling it on symbolic tensors.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from bench.errors import BenchError


@dataclass(frozen=True)
class Macs:
    """How many multiply-accumulates, and how sure that is.

    Attributes:
        total: of one picture.
        uncounted: layers and operations that multiply, or may, and are not in the total.
    """

    total: int
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """MACs of a forward pass, as rounded in a publication, and where it says so."""

    macs: float
    source: str


PUBLISHED: Mapping[str, Published] = {
    "MobileNetV2": Published(300e6, "Sandler et al. 2018, arXiv:1801.04381, table 4: 300M"),
    "ResNet50": Published(3.8e9, "He et al. 2015, arXiv:1512.03385, table 1: 3.8 x 10^9"),
    "EfficientNetV2B0": Published(
        0.72e9, "Tan & Le 2021, github.com/google/automl, efficientnetv2/README.md: 0.72B"
    ),
    "ConvNeXtTiny": Published(4.5e9, "Liu et al. 2022, arXiv:2201.03545, table 1: 4.5G"),
}
"""Of backbones with their ImageNet top, at 224 px, by the constructor's name in keras.applications.
All four call them FLOPs or MAdds and count one for each multiply-add."""


def forward_macs(model: Any) -> Macs:
    """MACs of a forward pass of one picture.

    Args:
        model: functional or sequential Keras model, built for one image size. Nested models and
            wrapper layers are looked through; a shared layer counts at each of its calls.

    Raises:
        BenchError: the model has no graph, or a size is not known.
    """
    return _counted(model, lambda product: product.macs)


def step_macs(model: Any) -> Macs:
    """MACs of one picture in a training step, with the ``trainable`` flags as they are now.

    The forward pass once; each product again for the gradient of its kernel, if that trains; and
    again for the gradient of its input, if anything below it in the graph trains. The optimizer's
    own work is element-wise and counts nothing.

    Args:
        model: as in `forward_macs`; the whole model that trains, head included.

    Raises:
        BenchError: the model has no graph, or a size is not known.
    """
    return _counted(model, lambda product: product.macs * (1 + sum(product.gradients)))


# ------------------------------------------------------------------------------ rules for layers

_Part = tuple[int, Any]
"""MACs of one product of a layer, and the kernel it multiplies by."""


def _size(spec: Any, name: str) -> int:
    """How many numbers a symbolic tensor holds."""
    if None in spec.shape:
        raise BenchError(
            f"multiply-accumulates of layer {name!r}: a tensor has shape {tuple(spec.shape)}: "
            "expected every size known, in a model built for one image size"
        )
    return math.prod(spec.shape)


def _plain(layer: Any, taken: Any, given: Any) -> list[_Part]:
    # Kernel (..., inputs / groups, outputs): without its last axis, what one output is summed over.
    return [(_size(given, layer.name) * math.prod(layer.kernel.shape[:-1]), layer.kernel)]


def _transposed(layer: Any, taken: Any, given: Any) -> list[_Part]:
    # Kernel (..., outputs, inputs): each input goes everywhere; what is cropped counts as well.
    return [(_size(taken, layer.name) * math.prod(layer.kernel.shape[:-1]), layer.kernel)]


def _depthwise(layer: Any, taken: Any, given: Any) -> list[_Part]:
    return [(_size(given, layer.name) * math.prod(layer.kernel.shape[:-2]), layer.kernel)]


def _separable(layer: Any, taken: Any, given: Any) -> list[_Part]:
    first, second = layer.depthwise_kernel, layer.pointwise_kernel
    positions = _size(given, layer.name) // layer.filters
    return [
        (positions * math.prod(first.shape), first),
        (positions * math.prod(second.shape), second),
    ]


def _einsum_dense(layer: Any, taken: Any, given: Any) -> list[_Part]:
    each = _summed(layer.equation, layer.kernel.shape)
    return [(_size(given, layer.name) * each, layer.kernel)]


_LAYERS: Mapping[str, Callable[[Any, Any, Any], list[_Part]]] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Dense"), _plain),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
    "EinsumDense": _einsum_dense,
}
"""By the layer's name in keras.layers; classes that derive from it are counted alike."""

_RULES = {getattr(keras.layers, name): rule for name, rule in _LAYERS.items()}

_ELEMENTWISE = (
    *(getattr(keras.layers, f"{kind}Normalization") for kind in ("Batch", "Group", "Layer", "")),
    *(keras.layers.Embedding, keras.layers.PReLU),
)
"""Keras' own layers that may have a weight with several axes, and yet multiply no matrices."""

_PRODUCTS_WITHOUT_WEIGHTS = (keras.layers.Attention, keras.layers.Dot)
"""Keras' own layers that multiply matrices and have none."""


def _summed(equation: str, second: Sequence[int]) -> int:
    """Over how many products each output of an einsum of two operands is summed.

    Args:
        equation: with its output written out; an ellipsis stands for axes that are kept.
        second: shape of the second operand.
    """
    operands, output = equation.replace(" ", "").split("->")
    first, labels = operands.split(",")
    before, _, after = labels.partition("...")
    sizes = dict(zip(before, second, strict=False))
    sizes |= dict(zip(reversed(after), reversed(second), strict=False))
    return math.prod(n for label, n in sizes.items() if label in first and label not in output)


# -------------------------------------------------------------------------- rules for operations


@dataclass(frozen=True)
class _Operand:
    """What an operation takes: its shape, and whether it needs a gradient."""

    shape: tuple[int, ...]
    varies: bool


@dataclass(frozen=True)
class _Product:
    """So many multiply-accumulates, and which of the two operands need a gradient."""

    macs: int
    gradients: tuple[bool, bool]


_Rule = Callable[[Any, Sequence[_Operand], int], list[_Product] | None]
"""(operation, operands, numbers in its output) -> products; None where it cannot be said."""


def _between(macs: int, first: _Operand, second: _Operand) -> list[_Product]:
    return [_Product(macs, (first.varies, second.varies))]


def _uncounted(operation: Any, operands: Sequence[_Operand], size: int) -> None:
    return None


def _matmul(operation: Any, operands: Sequence[_Operand], size: int) -> list[_Product]:
    return _between(size * operands[0].shape[-1], operands[0], operands[1])


def _einsum(operation: Any, operands: Sequence[_Operand], size: int) -> list[_Product] | None:
    if len(operands) != 2 or "->" not in operation.subscripts:
        return None
    each = _summed(operation.subscripts, operands[1].shape)
    return _between(size * each, operands[0], operands[1])


def _conv(operation: Any, operands: Sequence[_Operand], size: int) -> list[_Product]:
    return _between(size * math.prod(operands[1].shape[:-1]), operands[0], operands[1])


def _attention(operation: Any, operands: Sequence[_Operand], size: int) -> list[_Product]:
    query, key, value = operands[:3]  # (batch, positions, heads, size of a head)
    scores = math.prod(query.shape[:3]) * key.shape[1]
    weights = _Operand((), query.varies or key.varies)
    return [
        *_between(scores * query.shape[-1], query, key),
        *_between(scores * value.shape[-1], weights, value),
    ]


_OPERATIONS: Mapping[str, _Rule] = {
    "Conv": _conv,
    "DotProductAttention": _attention,
    "Einsum": _einsum,
    "Matmul": _matmul,
    **dict.fromkeys(("ConvTranspose", "DepthwiseConv", "SeparableConv"), _uncounted),
    **dict.fromkeys(("Dot", "Inner", "Tensordot", "Vdot"), _uncounted),
    **dict.fromkeys(("Cond", "ForiLoop", "Map", "Scan", "Switch"), _uncounted),
    **dict.fromkeys(("AssociativeScan", "VectorizedMap", "WhileLoop"), _uncounted),
}
"""By the class' name in keras.ops. Every other operation is element-wise, moves numbers or takes
them together."""


# ------------------------------------------------------------------------------------- the graph


def _counted(model: Any, macs: Callable[[_Product], int]) -> Macs:
    graph = _graph(model)
    if graph is None:
        raise BenchError(
            f"multiply-accumulates of {getattr(model, 'name', model)!r}, "
            f"a {type(model).__name__}: expected a functional or sequential Keras model, built"
        )
    walk = _Walk(frozenset(id(w) for w in model.trainable_weights))
    one = [keras.KerasTensor((1, *t.shape[1:]), t.dtype) for t in graph.inputs]
    walk.through(graph, one, [False] * len(one))
    return Macs(sum(map(macs, walk.products)), tuple(dict.fromkeys(walk.uncounted)))


def _graph(operation: Any) -> Any:
    """The graph of a functional or sequential model; None for any other operation."""
    found = getattr(operation, "_functional", None) or operation
    return found if isinstance(found, keras.Function) else None


def _nodes(graph: Any) -> list[Any]:
    """The calls in a graph, each after those it takes from."""
    depths = graph._nodes_by_depth
    return [n for d in sorted(depths, reverse=True) for n in depths[d] if not n.is_input]


def _symbolic(arguments: Any) -> list[Any]:
    return [a for a in keras.tree.flatten(arguments) if isinstance(a, keras.KerasTensor)]


_Flow = tuple[list[Any], list[bool]]
"""Symbolic tensors, and which of them depend on a weight that trains."""


@dataclass
class _Walk:
    """One way through a graph, shapes and all.

    Attributes:
        trains: `id` of each weight that trains.
        products: found on the way.
        uncounted: names of what could not be counted.
    """

    trains: frozenset[int]
    products: list[_Product] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)

    def through(
        self, graph: Any, inputs: list[Any], varying: list[bool], arrays_vary: bool = False
    ) -> _Flow:
        """Walk a graph, whose own tensors need not have the shapes of what enters.

        `arrays_vary` says whether arrays that its operations take come from weights that train.
        """
        known = {id(t): i for t, i in zip(graph.inputs, inputs, strict=True)}
        varies = {id(t): v for t, v in zip(graph.inputs, varying, strict=True)}
        for node in _nodes(graph):
            arguments = node.arguments.fill_in(known)
            flags = [varies[id(t)] for t in node.input_tensors]
            if isinstance(node.operation, keras.Layer):
                outputs, after = self._layer(node.operation, arguments, flags)
            else:
                outputs, after = self._operation(node.operation, arguments, flags, arrays_vary)
            known |= {id(t): o for t, o in zip(node.outputs, outputs, strict=True)}
            varies |= {id(t): v for t, v in zip(node.outputs, after, strict=True)}
        return [known[id(t)] for t in graph.outputs], [varies[id(t)] for t in graph.outputs]

    def _trained(self, weights: Sequence[Any]) -> bool:
        return any(id(w) in self.trains for w in weights)

    def _layer(self, layer: Any, arguments: Any, varying: list[bool]) -> _Flow:
        """A layer's call: a nested model, one with a rule, one to look into, or a free one."""
        if (graph := _graph(layer)) is not None:
            return self.through(graph, _symbolic(arguments), varying)
        rule = next((_RULES[c] for c in type(layer).__mro__ if c in _RULES), None)
        if rule is None and _may_multiply(layer):
            if (graph := _inside(layer, arguments)) is not None:
                return self._through_inside(layer, graph, arguments, varying)
            if any(map(_is_kernel, layer.weights)):
                self.uncounted.append(layer.name)
        outputs = _outputs(layer, arguments)
        upstream = any(varying)
        for macs, kernel in rule(layer, _symbolic(arguments)[0], outputs[0]) if rule else []:
            trained = self._trained([kernel])
            self.products.append(_Product(macs, (upstream, trained)))
            upstream = upstream or trained
        return outputs, [upstream or self._trained(layer.weights)] * len(outputs)

    def _through_inside(self, layer: Any, graph: Any, arguments: Any, varying: list[bool]) -> _Flow:
        flags = dict(zip(map(id, _symbolic(arguments)), varying, strict=True))
        own = self._trained(layer._trainable_variables)
        entering = [flags[id(t)] for t in graph.inputs]
        outputs, after = self.through(graph, graph.inputs, entering, own)
        return outputs, [flag or own for flag in after]

    def _operation(
        self, operation: Any, arguments: Any, varying: list[bool], arrays_vary: bool
    ) -> _Flow:
        """An operation that is no layer, as in ``x + y`` or ``keras.ops.matmul(x, y)``."""
        flags = iter(varying)
        operands = []
        for value in keras.tree.flatten(arguments):
            if isinstance(value, keras.KerasTensor):
                operands.append(_Operand(tuple(value.shape), next(flags)))
            elif isinstance(value, keras.Variable):
                operands.append(_Operand(tuple(value.shape), self._trained([value])))
            elif hasattr(value, "shape"):
                operands.append(_Operand(tuple(value.shape), arrays_vary))
        outputs = _outputs(operation, arguments)
        name = type(operation).__name__
        if rule := _OPERATIONS.get(name):
            found = rule(operation, operands, _size(outputs[0], operation.name))
            self.products += found or []
            self.uncounted += [operation.name] if found is None else []
        varies = name != "StopGradient" and any(o.varies for o in operands)
        return outputs, [varies] * len(outputs)


def _outputs(operation: Any, arguments: Any) -> list[Any]:
    args, kwargs = arguments
    if isinstance(operation, keras.layers.EinsumDense):  # itself it may forget known sizes
        kernel = keras.KerasTensor(operation.kernel.shape)
        return [keras.ops.einsum(operation.equation, args[0], kernel)]
    return list(keras.tree.flatten(operation.compute_output_spec(*args, **kwargs)))


def _is_kernel(weight: Any) -> bool:
    return len([n for n in weight.shape if n > 1]) > 1


def _may_multiply(layer: Any) -> bool:
    """Whether a layer without a rule may hold products; of Keras' own layers, most cannot."""
    if isinstance(layer, _ELEMENTWISE):
        return False
    return (
        isinstance(layer, _PRODUCTS_WITHOUT_WEIGHTS)
        or not type(layer).__module__.startswith("keras.")
        or bool(layer._layers)
        or any(map(_is_kernel, layer.weights))
    )


def _inside(layer: Any, arguments: Any) -> Any:
    """The graph of what a layer does with symbolic arguments; None if it cannot be had.

    The layers inside are left without a trace of it: Keras would otherwise take them for shared.
    """
    args, kwargs = arguments
    inside = layer._flatten_layers()
    before = [(x, len(x._inbound_nodes), len(x._outbound_nodes)) for x in inside]
    inputs = list({id(t): t for t in _symbolic(arguments)}.values())
    try:
        with keras.StatelessScope():
            return keras.Function(inputs, layer.call(*args, **kwargs))
    # Whatever a layer's code says when it is handed something without numbers.
    except Exception:
        return None
    finally:
        for inner, taking, given in before:
            del inner._inbound_nodes[taking:]
            del inner._outbound_nodes[given:]
