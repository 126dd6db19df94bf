"""JAX's elementwise primitives as ONNX nodes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ageflax.export.onnx.graph import Const, Graph, Tensor, Value

_OPERATORS = {
    "abs": "Abs", "add": "Add", "div": "Div", "erf": "Erf", "exp": "Exp", "ge": "GreaterOrEqual",
    "gt": "Greater", "log": "Log", "logistic": "Sigmoid", "lt": "Less", "max": "Max", "min": "Min",
    "mul": "Mul", "neg": "Neg", "sqrt": "Sqrt", "sub": "Sub",
}  # fmt: skip
# Primitives that `elementwise` takes. JAX itself computes those of constants alone.
PRIMITIVES = {*_OPERATORS, "erfc", "expm1", "log1p", "ne", "rsqrt", "select_n", "square"}


def _joined(shapes: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The shape that all broadcast to."""
    ranked = [shape for shape in shapes if shape]
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*ranked, strict=True))


def apply(graph: Graph, kind: str, *values: Value) -> Tensor:
    """Adds a node over values of one shape, of size 1, or scalars."""
    shape = _joined([value.shape for value in values])
    tensors = [value for value in values if isinstance(value, Tensor) and value.rank]
    # The layout is the largest tensor's: transposing a small one costs less.
    largest = max(tensors, key=lambda value: sum(n != 1 for n in value.shape))
    names = [graph.laid(value, largest.layout if value.shape else ()) for value in values]
    return Tensor(graph.node(kind, names), shape, largest.layout)


def elementwise(graph: Graph, primitive: str, values: Sequence[Value]) -> Tensor:
    """Adds the nodes of one of PRIMITIVES."""

    def node(kind: str, *inputs: Value) -> Tensor:
        return apply(graph, kind, *inputs)

    if primitive in _OPERATORS:
        return node(_OPERATORS[primitive], *values)
    x, one = values[0], Const(np.array(1.0, np.float32))
    if primitive == "square":
        return node("Mul", x, x)
    if primitive == "rsqrt":
        return node("Reciprocal", node("Sqrt", x))
    if primitive == "log1p":
        return node("Log", node("Add", x, one))
    if primitive == "expm1":
        return node("Sub", node("Exp", x), one)
    if primitive == "erfc":
        return node("Sub", one, node("Erf", x))
    if primitive == "ne":
        return node("Not", node("Equal", *values))
    which, if_false, if_true = values  # select_n
    return node("Where", which, if_true, if_false)
