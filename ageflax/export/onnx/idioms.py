"""Groups of JAX's primitives for which ONNX has one node: relu, softmax, mean, LRN.

They are recognised by what a value was computed of, at the last primitive of the group. Nodes of the
others are by then in the graph, and dropped in the end, since nothing reads them.
"""

from collections.abc import Sequence

import numpy as np

from ageflax.export.onnx.elementwise import apply
from ageflax.export.onnx.graph import Const, Graph, Tensor, Value
from ageflax.export.onnx.shapes import reduced


def _number(value: Value) -> float | None:
    """Of a constant scalar."""
    if isinstance(value, Const) and value.value.size == 1:
        return float(value.value.reshape(()))
    return None


def _of(value: Value, primitive: str) -> tuple[Value, ...] | None:
    """The inputs of a value that was computed by that primitive."""
    if isinstance(value, Tensor) and value.origin and value.origin[0] == primitive:
        return value.origin[2]
    return None


def _scaled(value: Value, primitive: str) -> tuple[float, Value] | None:
    """A number and what it is added to or multiplied with, in either order."""
    pair = _of(value, primitive) or ()
    for one, other in (pair, pair[::-1]) if pair else ():
        if (number := _number(one)) is not None:
            return number, other
    return None


def _response_norm(graph: Graph, x: Value, inverse: Value) -> Tensor | None:
    """LRN, of x times 1 / sqrt(s sqrt(s)), s = 1 + c times the sum of squares around a channel."""
    if not isinstance(x, Tensor) or not (product := _of(inverse, "rsqrt")):
        return None
    scale, root = _of(product[0], "mul") or (None, None)
    if scale is None or root is None or (_of(root, "sqrt") or (None,))[0] is not scale:
        return None
    bias, scaled_sum = _scaled(scale, "add") or (0.0, scale)
    factor, window_sum = _scaled(scaled_sum, "mul") or (0.0, scaled_sum)
    squares = _of(window_sum, "reduce_window_sum")
    if not squares or (_of(squares[0], "square") or (None,))[0] is not x:
        return None
    assert isinstance(window_sum, Tensor) and window_sum.origin
    window = window_sum.origin[1]["window_dimensions"]
    axis = x.layout[1]
    if x.rank != 4 or window[axis] == 1 or int(np.prod(window)) != window[axis]:
        return None
    size = window[axis]
    name = graph.node("LRN", [x.name], size=size, alpha=factor * size, beta=0.75, bias=float(bias))
    return Tensor(name, x.shape, x.layout)


def _softmax(graph: Graph, powers: Value, total: Value) -> Tensor | None:
    """Softmax, of exp(x - m) over its own sum; m is the largest x along the axis."""
    shifted = _of(powers, "exp")
    x, most = (_of(shifted[0], "sub") if shifted else None) or (None, None)
    summed = _of(total, "broadcast_in_dim")
    if not isinstance(x, Tensor) or most is None or not summed:
        return None
    if (_of(summed[0], "reduce_sum") or (None,))[0] is not powers:
        return None
    assert isinstance(summed[0], Tensor) and summed[0].origin
    axes = summed[0].origin[1]["axes"]
    if len(axes) != 1 or most.shape[axes[0]] != 1:
        return None
    return Tensor(graph.node("Softmax", [x.name], axis=x.place(axes[0])), x.shape, x.layout)


def _mean(graph: Graph, total: Value, count: Value) -> Tensor | None:
    """ReduceMean, of a sum over as many as there are; total may have its axes back as 1s."""
    inner = (_of(total, "broadcast_in_dim") or (total,))[0]
    summed = _of(inner, "reduce_sum")
    if not summed or not isinstance(total, Tensor) or not isinstance(inner, Tensor):
        return None
    assert inner.origin
    axes, x = inner.origin[1]["axes"], summed[0]
    sizes = [x.shape[axis] for axis in axes]
    numbers = all(isinstance(size, int) for size in sizes)
    if not isinstance(x, Tensor) or not numbers or _number(count) != np.prod(sizes):
        return None
    kept = total.rank == x.rank
    if kept and any(total.shape[axis] != 1 for axis in axes):
        return None
    return reduced(graph, "ReduceMean", x, axes, kept=kept)


def _rectified(graph: Graph, one: Value, other: Value) -> Value | None:
    """Relu, of the larger of a value and zero; the value itself, of it and minus infinity."""
    if _number(one) == -np.inf:
        return other
    if _number(one) == 0.0 and isinstance(other, Tensor):
        return apply(graph, "Relu", [other])
    return None


def recognised(graph: Graph, primitive: str, values: Sequence[Value]) -> Value | None:
    """What a primitive is the last of, as one node; None where it is only itself."""
    if primitive not in ("div", "max", "mul"):
        return None
    left, right = values
    if primitive == "div":
        return _softmax(graph, left, right) or _mean(graph, left, right)
    group = _rectified if primitive == "max" else _response_norm
    return group(graph, left, right) or group(graph, right, left)
