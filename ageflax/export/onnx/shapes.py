"""JAX's primitives that move, cut, join and sum axes, as ONNX nodes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ageflax.export.onnx.elementwise import apply
from ageflax.export.onnx.graph import Const, Graph, Tensor, Value

_KINDS = {
    "bool": 9,
    "float16": 10,
    "float32": 1,
    "int32": 6,
    "int64": 7,
    "uint8": 2,
}  # of TensorProto.DataType


def reduced(graph: Graph, kind: str, x: Tensor, axes: Sequence[int], *, kept: bool) -> Tensor:
    """A sum, mean or maximum over axes, which stay as 1s where they are kept."""
    places = sorted(x.place(axis) for axis in axes)
    # Axes became an input: of ReduceSum with opset 13, of the others with 18.
    if graph.opset >= (13 if kind == "ReduceSum" else 18):
        name = graph.node(kind, [x.name, graph.integers(places)], keepdims=int(kept))
    else:
        name = graph.node(kind, [x.name], axes=places, keepdims=int(kept))
    if kept:
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        return Tensor(name, shape, x.layout)
    left = [axis for axis in range(x.rank) if axis not in axes]
    layout = tuple(left.index(axis) for axis in x.layout if axis in left)
    return Tensor(name, tuple(x.shape[axis] for axis in left), layout)


def _reduce_sum(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    return reduced(graph, "ReduceSum", x, eqn.params["axes"], kept=False)


def _reduce_max(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    return reduced(graph, "ReduceMax", x, eqn.params["axes"], kept=False)


def squeezed(graph: Graph, x: Tensor, gone: Sequence[int]) -> Tensor:
    """Without some axes of size 1."""
    name = graph.node("Squeeze", [x.name, graph.integers(sorted(x.place(axis) for axis in gone))])
    left = [axis for axis in range(x.rank) if axis not in gone]
    layout = tuple(left.index(axis) for axis in x.layout if axis in left)
    return Tensor(name, tuple(x.shape[axis] for axis in left), layout)


def _dropped(have: Sequence[Any], want: Sequence[Any]) -> list[int] | None:
    """Axes of size 1 by which two shapes differ; None where they differ by more."""
    gone, k = [], 0
    for axis, size in enumerate(have):
        if k < len(want) and size == want[k]:
            k += 1
        elif size == 1:
            gone.append(axis)
        else:
            return None
    return gone if k == len(want) else None


def reshaped(graph: Graph, x: Tensor, shape: Sequence[Any]) -> Tensor:
    """The same values in JAX's order under another shape."""
    source, shape = x, tuple(shape)
    # None of these moves a value: a broadcast adds axes of size 1, and no more than that here.
    while source.origin and source.origin[0] in ("broadcast_in_dim", "reshape", "squeeze", "stack"):
        before = source.origin[2]
        if len(before) != 1 or not isinstance(before[0], Tensor):
            break
        source = before[0]
    if (gone := _dropped(source.shape, shape)) is not None:
        return squeezed(graph, source, gone) if gone else source
    # At most one axis depends on the batch, and -1 finds it.
    sizes = [-1 if graph.multiple(size) else int(size) for size in shape]
    name = graph.node("Reshape", [graph.plain(source), graph.integers(sizes)])
    return Tensor(name, shape, tuple(range(len(shape))))


def _reshape(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    return reshaped(graph, x, eqn.outvars[0].aval.shape)


def _broadcast(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    """Axes of size 1 where others are to come; what reads the value may need no more than that."""
    places, rank = eqn.params["broadcast_dimensions"], len(eqn.params["shape"])
    shape = [1] * rank
    for axis, place in enumerate(places):
        shape[place] = x.shape[axis]
    if list(places) == list(range(rank)):
        return x
    name = graph.plain(x)
    added = [axis for axis in range(rank) if axis not in places]
    name = graph.node("Unsqueeze", [name, graph.integers(added)])
    return Tensor(name, tuple(shape), tuple(range(rank)))


def _transpose(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    order = eqn.params["permutation"]
    shape = tuple(x.shape[axis] for axis in order)
    return Tensor(x.name, shape, tuple(order.index(axis) for axis in x.layout))


def _squeeze(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    return squeezed(graph, x, [axis % x.rank for axis in eqn.params["dimensions"]])


def cut(
    graph: Graph, x: Tensor, bounds: dict[int, tuple[int, int]], shape: tuple[Any, ...]
) -> Tensor:
    """From start to end along some axes."""
    if not bounds:
        return x
    axes = sorted(bounds)
    starts = graph.integers([bounds[axis][0] for axis in axes])
    ends = graph.integers([bounds[axis][1] for axis in axes])
    places = graph.integers([x.place(axis) for axis in axes])
    return Tensor(graph.node("Slice", [x.name, starts, ends, places]), shape, x.layout)


def _slice(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    starts, ends, strides = (
        eqn.params[key] for key in ("start_indices", "limit_indices", "strides")
    )
    if any(step != 1 for step in strides or ()):
        raise NotImplementedError("slice with steps")
    bounds = {
        axis: (starts[axis], ends[axis])
        for axis in range(x.rank)
        if not (starts[axis] == 0 and ends[axis] == x.shape[axis])
    }
    return cut(graph, x, bounds, tuple(eqn.outvars[0].aval.shape))


def _gather(graph: Graph, eqn: Any, x: Tensor, indices: Value) -> Tensor:
    """Slices and reversals whose places are known, as jnp's indexing writes them."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    axes, collapsed = numbers.start_index_map, numbers.collapsed_slice_dims
    if not isinstance(indices, Const) or numbers.operand_batching_dims:
        raise NotImplementedError("gather at places that are not known beforehand")
    if indices.value.ndim == 1:
        starts = dict(zip(axes, indices.value.tolist(), strict=True))
        bounds = {
            axis: (starts.get(axis, 0), starts.get(axis, 0) + size)
            for axis, size in enumerate(sizes)
            if isinstance(size, int) and size != x.shape[axis]
        }
        part = cut(graph, x, bounds, tuple(sizes))
        return squeezed(graph, part, collapsed) if collapsed else part
    (axis,) = axes
    whole = tuple(a for a in range(x.rank) if a != axis)
    if numbers.offset_dims != whole or collapsed != (axis,) or indices.value.ndim != 2:
        raise NotImplementedError("gather of several axes")
    return _picked(graph, x, axis, indices.value[:, 0])


def _picked(graph: Graph, x: Tensor, axis: int, places: np.ndarray) -> Tensor:
    """What lies at some places along an axis; twice reversed is as before."""
    if np.array_equal(places, np.arange(x.shape[axis])):
        return x
    layout = x.layout
    if layout[-1] == axis and sum(size != 1 for size in x.shape) == 4:
        # Whole planes are copied faster than channels pixel by pixel, and convolutions want them so.
        layout = (layout[0], axis, *layout[1:-1])
    indices = graph.integers(places.tolist())
    name = graph.node("Gather", [graph.laid(x, layout), indices], axis=layout.index(axis))
    shape = tuple(len(places) if a == axis else n for a, n in enumerate(x.shape))
    return Tensor(name, shape, layout)


def _rev(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    for axis in eqn.params["dimensions"]:
        x = _picked(graph, x, axis, np.arange(x.shape[axis])[::-1])
    return x


def _whole(graph: Graph, eqn: Any, values: Sequence[Value]) -> list[Value]:
    return [
        graph.broadcast(value, var.aval.shape)
        for value, var in zip(values, eqn.invars, strict=True)
    ]


def _concatenate(graph: Graph, eqn: Any, *values: Value) -> Tensor:
    parts, axis = _whole(graph, eqn, values), eqn.params["dimension"]
    layout = next(value.layout for value in parts if isinstance(value, Tensor))
    names = [graph.laid(value, layout) for value in parts]
    name = graph.node("Concat", names, axis=layout.index(axis))
    return Tensor(name, tuple(eqn.outvars[0].aval.shape), layout)


def _stack(graph: Graph, eqn: Any, *values: Value) -> Tensor:
    axis, shape = eqn.params["axis"], tuple(eqn.outvars[0].aval.shape)
    added = graph.integers([axis])
    names = [
        graph.node("Unsqueeze", [graph.plain(value), added]) for value in _whole(graph, eqn, values)
    ]
    name = names[0] if len(names) == 1 else graph.node("Concat", names, axis=axis)
    return Tensor(name, shape, tuple(range(len(shape))))


def _unstack(graph: Graph, eqn: Any, x: Tensor) -> list[Tensor]:
    """As many as the axis is long; a primitive of jax 0.12, of slices before it."""
    axis = eqn.params["axis"]
    shape = tuple(1 if a == axis else n for a, n in enumerate(x.shape))
    return [
        squeezed(graph, cut(graph, x, {axis: (k, k + 1)}, shape), [axis])
        for k in range(x.shape[axis])
    ]


def _pad(graph: Graph, eqn: Any, x: Tensor, value: Value) -> Tensor:
    widths = eqn.params["padding_config"]
    if any(low < 0 or high < 0 or inner for low, high, inner in widths):
        raise NotImplementedError("pad that cuts or spreads")
    sides = [int(widths[axis][side]) for side in (0, 1) for axis in x.layout]
    name = graph.node("Pad", [x.name, graph.integers(sides), graph.plain(value)])
    return Tensor(name, tuple(eqn.outvars[0].aval.shape), x.layout)


def _cast(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    kind = np.dtype(eqn.params["new_dtype"]).name
    if np.dtype(eqn.invars[0].aval.dtype).name == kind:
        return x
    return Tensor(graph.node("Cast", [x.name], to=_KINDS[kind]), x.shape, x.layout)


def _cumsum(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    place = graph.weight(np.array(x.place(eqn.params["axis"]), np.int64))
    name = graph.node("CumSum", [x.name, place], reverse=int(eqn.params["reverse"]))
    return Tensor(name, x.shape, x.layout)


def _cummin(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    """By doubling: the least of 2, of 4, of 8 neighbours; ONNX has no operator for it."""
    axis, reach = eqn.params["axis"], 1
    size = x.shape[axis]
    if eqn.params["reverse"]:
        raise NotImplementedError("cummin from the end")

    def part(start: int, end: int) -> Tensor:
        shape = tuple(end - start if a == axis else n for a, n in enumerate(x.shape))
        return cut(graph, x, {axis: (start, end)}, shape)

    while reach < size:
        head, tail, before = part(0, reach), part(reach, size), part(0, size - reach)
        least = apply(graph, "Min", [tail, before])
        name = graph.node("Concat", [head.name, least.name], axis=x.place(axis))
        x = Tensor(name, x.shape, x.layout)
        reach *= 2
    return x


def _same(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    return x


RULES: dict[str, Callable[..., Tensor | list[Tensor]]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "convert_element_type": _cast,
    "copy": _same,
    "cummin": _cummin,
    "cumsum": _cumsum,
    "gather": _gather,
    "pad": _pad,
    "reduce_max": _reduce_max,
    "reduce_sum": _reduce_sum,
    "reshape": _reshape,
    "rev": _rev,
    "slice": _slice,
    "squeeze": _squeeze,
    "stack": _stack,
    "stop_gradient": _same,
    "transpose": _transpose,
    "unstack": _unstack,
}
