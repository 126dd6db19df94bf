"""Groups of JAX's primitives for which ONNX has one node: relu, clip, softmax, mean, LRN.

A group is recognised at its last primitive, by the origins of its inputs. The nodes of its other
primitives are already in the graph and are dropped in the end, since nothing reads them.
"""

from collections.abc import Sequence

import numpy as np

from ageflax.export.onnx.elementwise import apply
from ageflax.export.onnx.graph import Const, Graph, Tensor, Value
from ageflax.export.onnx.shapes import reduced


def _number(value: Value) -> float | None:
    """Value of a constant scalar; None for others."""
    if isinstance(value, Const) and value.value.size == 1:
        return float(value.value.reshape(()))
    return None


def _inputs(value: Value | None, primitive: str) -> tuple[Value, ...]:
    """Inputs of a value that this primitive computed; () for others."""
    if isinstance(value, Tensor) and value.origin and value.origin[0] == primitive:
        return value.origin[2]
    return ()


def _input(value: Value | None, primitive: str) -> Value | None:
    """First input of a value that this primitive computed; None for others."""
    return next(iter(_inputs(value, primitive)), None)


def _pair(value: Value | None, primitive: str) -> tuple[Value | None, Value | None]:
    """Both inputs of a value that this primitive computed; None for others."""
    first, second = _inputs(value, primitive) or (None, None)
    return first, second


def _parameter(value: Value, name: str) -> tuple[int, ...]:
    """A parameter of the primitive that computed a value."""
    assert isinstance(value, Tensor) and value.origin
    return value.origin[1][name]


def _scaled(value: Value, primitive: str, neutral: float) -> tuple[float, Value]:
    """A number and the value it is added to or multiplied by; `neutral` if there is none."""
    pair = _inputs(value, primitive)
    for one, other in (pair, pair[::-1]) if pair else ():
        if (number := _number(one)) is not None:
            return number, other
    return neutral, value


def _response_norm(graph: Graph, x: Value, inverse: Value) -> Tensor | None:
    """LRN, from x / sqrt(s sqrt(s)) with s = 1 + c times the sum of squares around a channel."""
    scale, root = _pair(_input(inverse, "rsqrt"), "mul")
    if not isinstance(x, Tensor) or scale is None or _input(root, "sqrt") is not scale:
        return None
    bias, scaled_sum = _scaled(scale, "add", 0.0)
    factor, window_sum = _scaled(scaled_sum, "mul", 1.0)
    squares = _input(window_sum, "reduce_window_sum")
    if squares is None or _input(squares, "square") is not x:
        return None
    window = _parameter(window_sum, "window_dimensions")
    axis = x.layout[1]
    if x.rank != 4 or window[axis] == 1 or int(np.prod(window)) != window[axis]:
        return None
    size = window[axis]
    name = graph.node("LRN", [x.name], size=size, alpha=factor * size, beta=0.75, bias=float(bias))
    return Tensor(name, x.shape, x.layout)


def _softmax(graph: Graph, powers: Value, total: Value) -> Tensor | None:
    """Softmax, from exp(x - m) over its own sum, with m the largest x along the axis."""
    x, most = _pair(_input(powers, "exp"), "sub")
    summed = _input(total, "broadcast_in_dim")
    if not isinstance(x, Tensor) or most is None or summed is None:
        return None
    if _input(summed, "reduce_sum") is not powers:
        return None
    axes = _parameter(summed, "axes")
    if len(axes) != 1 or most.shape[axes[0]] != 1:
        return None
    return Tensor(graph.node("Softmax", [x.name], axis=x.place(axes[0])), x.shape, x.layout)


def _mean(graph: Graph, total: Value, count: Value) -> Tensor | None:
    """ReduceMean, from a sum divided by its count; the sum may have its axes back as 1s."""
    inner = _input(total, "broadcast_in_dim") or total
    x = _input(inner, "reduce_sum")
    if not isinstance(x, Tensor) or not isinstance(total, Tensor):
        return None
    axes = _parameter(inner, "axes")
    sizes = [x.shape[axis] for axis in axes]
    if not all(isinstance(size, int) for size in sizes) or _number(count) != np.prod(sizes):
        return None
    kept = total.rank == x.rank
    if kept and any(total.shape[axis] != 1 for axis in axes):
        return None
    return reduced(graph, "ReduceMean", x, axes, kept=kept)


def _rectified(graph: Graph, one: Value, other: Value) -> Value | None:
    """Relu, from the maximum of a value and zero; the value itself, from it and minus infinity."""
    if _number(one) == -np.inf:
        return other
    if _number(one) == 0.0 and isinstance(other, Tensor):
        return apply(graph, "Relu", other)
    return None


def _clipped(graph: Graph, most: Value, value: Value) -> Tensor | None:
    """Clip, from the minimum of a number and of what has a least value."""
    upper, (lower, x) = _number(most), _scaled(value, "max", -np.inf)
    if upper is None or lower == -np.inf or not isinstance(x, Tensor):
        return None
    bounds = [graph.weight(np.array(n, np.float32)) for n in (lower, upper)]
    return Tensor(graph.node("Clip", [x.name, *bounds]), x.shape, x.layout)


def recognised(graph: Graph, primitive: str, values: Sequence[Value]) -> Value | None:
    """Adds one node for the group that a primitive ends; None if it ends none."""
    if primitive not in ("div", "max", "min", "mul"):
        return None
    left, right = values
    if primitive == "div":
        return _softmax(graph, left, right) or _mean(graph, left, right)
    group = {"max": _rectified, "min": _clipped, "mul": _response_norm}[primitive]
    return group(graph, left, right) or group(graph, right, left)
