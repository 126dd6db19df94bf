"""JAX's elementwise primitives as ONNX nodes, and the few groups of them that ONNX has one node for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ageflax.export.onnx.graph import Const, Graph, Tensor, Value

UNARY = {
    "abs": "Abs",
    "erf": "Erf",
    "exp": "Exp",
    "log": "Log",
    "logistic": "Sigmoid",
    "neg": "Neg",
    "sqrt": "Sqrt",
}
BINARY = {
    "add": "Add",
    "div": "Div",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "lt": "Less",
    "max": "Max",
    "min": "Min",
    "mul": "Mul",
    "sub": "Sub",
}
# What the following functions take; of constants alone, JAX computes them itself.
ELEMENTWISE = {*UNARY, *BINARY, "erfc", "expm1", "log1p", "ne", "rsqrt", "select_n", "square"}


def _joined(shapes: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The shape that all broadcast to."""
    ranked = [shape for shape in shapes if shape]
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*ranked, strict=True))


def apply(graph: Graph, kind: str, values: Sequence[Value], **attributes: Any) -> Tensor:
    """A node over values of one shape, or of size 1, or scalars; its layout is the first tensor's."""
    shape = _joined([value.shape for value in values])
    tensors = [value for value in values if isinstance(value, Tensor) and value.rank]
    # The largest has the say: a small one is transposed for less.
    largest = max(tensors, key=lambda value: sum(n != 1 for n in value.shape))
    names = [graph.laid(value, largest.layout if value.shape else ()) for value in values]
    return Tensor(graph.node(kind, names, **attributes), shape, largest.layout)


def unary(graph: Graph, primitive: str, x: Value) -> Tensor:
    """Of one value."""
    return apply(graph, UNARY[primitive], [x])


def binary(graph: Graph, primitive: str, left: Value, right: Value) -> Tensor:
    """Of two values."""
    return apply(graph, BINARY[primitive], [left, right])


def other(graph: Graph, primitive: str, values: Sequence[Value]) -> Value:
    """Of those that take more than one node."""
    x = values[0]
    one = Const(np.array(1.0, np.float32))
    if primitive == "square":
        return apply(graph, "Mul", [x, x])
    if primitive == "rsqrt":
        return apply(graph, "Reciprocal", [apply(graph, "Sqrt", [x])])
    if primitive == "log1p":
        return apply(graph, "Log", [apply(graph, "Add", [x, one])])
    if primitive == "expm1":
        return apply(graph, "Sub", [apply(graph, "Exp", [x]), one])
    if primitive == "erfc":
        return apply(graph, "Sub", [one, apply(graph, "Erf", [x])])
    if primitive == "ne":
        return apply(graph, "Not", [apply(graph, "Equal", values)])
    # select_n: of false, then of true.
    which, if_false, if_true = values
    return apply(graph, "Where", [which, if_true, if_false])
