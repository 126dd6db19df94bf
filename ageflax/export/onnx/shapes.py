"""JAX's primitives that move, cut, join and sum axes, as ONNX nodes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ageflax.export.onnx.elementwise import apply
from ageflax.export.onnx.graph import Const, Graph, Tensor, Value, plain, result

# TensorProto.DataType by numpy's names.
_KINDS = {"bool": 9, "float16": 10, "float32": 1, "int32": 6, "int64": 7, "uint8": 2}


def reduced(graph: Graph, kind: str, x: Tensor, axes: Sequence[int], *, kept: bool) -> Tensor:
    """A sum, mean or maximum over axes, which stay with size 1 if `kept`."""
    places = sorted(x.place(axis) for axis in axes)
    # Axes became an input: of ReduceSum with opset 13, of the others with 18.
    if graph.opset >= (13 if kind == "ReduceSum" else 18):
        name = graph.node(kind, [x.name, graph.integers(places)], keepdims=int(kept))
    else:
        name = graph.node(kind, [x.name], axes=places, keepdims=int(kept))
    return x.resized(name, dict.fromkeys(axes, 1)) if kept else x.without(name, axes)


def _reduce_sum(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    return reduced(graph, "ReduceSum", x, eqn.params["axes"], kept=False)


def _reduce_max(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    return reduced(graph, "ReduceMax", x, eqn.params["axes"], kept=False)


def squeezed(graph: Graph, x: Tensor, axes: Sequence[int]) -> Tensor:
    """A tensor without some axes of size 1."""
    places = graph.integers(sorted(x.place(axis) for axis in axes))
    return x.without(graph.node("Squeeze", [x.name, places]), axes)


def _dropped(have: Sequence[Any], want: Sequence[Any]) -> list[int] | None:
    """Axes of size 1 whose removal turns one shape into another; None if that is not enough."""
    gone, k = [], 0
    for axis, size in enumerate(have):
        if k < len(want) and size == want[k]:
            k += 1
        elif size == 1:
            gone.append(axis)
        else:
            return None
    return gone if k == len(want) else None


def _reshape(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    source, shape = x, result(eqn)
    # None of these moves a value: a broadcast only adds axes of size 1 here.
    while source.origin and source.origin[0] in ("broadcast_in_dim", "reshape", "squeeze", "stack"):
        before = source.origin[2]
        if len(before) != 1 or not isinstance(before[0], Tensor):
            break
        source = before[0]
    if (gone := _dropped(source.shape, shape)) is not None:
        return squeezed(graph, source, gone) if gone else source
    # At most one axis depends on the batch, and -1 finds it.
    sizes = [-1 if graph.multiple(size) else int(size) for size in shape]
    return plain(graph.node("Reshape", [graph.plain(source), graph.integers(sizes)]), shape)


def spread(shape: Sequence[Any], eqn: Any) -> list[Any]:
    """The shape before broadcast_in_dim with its new axes, of size 1."""
    found: list[Any] = [1] * len(eqn.params["shape"])
    for axis, place in enumerate(eqn.params["broadcast_dimensions"]):
        found[place] = shape[axis]
    return found


def _broadcast(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    """Adds axes of size 1 only; whatever reads the value may need no more."""
    places, rank = eqn.params["broadcast_dimensions"], len(eqn.params["shape"])
    added = [axis for axis in range(rank) if axis not in places]
    if not added:
        return x
    name = graph.node("Unsqueeze", [graph.plain(x), graph.integers(added)])
    return plain(name, spread(x.shape, eqn))


def _transpose(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    order = eqn.params["permutation"]
    shape = tuple(x.shape[axis] for axis in order)
    return Tensor(x.name, shape, tuple(order.index(axis) for axis in x.layout))


def _squeeze(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    return squeezed(graph, x, [axis % x.rank for axis in eqn.params["dimensions"]])


def cut(graph: Graph, x: Tensor, bounds: dict[int, tuple[int, int]]) -> Tensor:
    """A part of a tensor, from start to end along some axes."""
    if not bounds:
        return x
    axes = sorted(bounds)
    starts = graph.integers([bounds[axis][0] for axis in axes])
    ends = graph.integers([bounds[axis][1] for axis in axes])
    places = graph.integers([x.place(axis) for axis in axes])
    name = graph.node("Slice", [x.name, starts, ends, places])
    return x.resized(name, {axis: end - start for axis, (start, end) in bounds.items()})


def _slice(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    starts, ends, strides = (
        eqn.params[key] for key in ("start_indices", "limit_indices", "strides")
    )
    if any(step != 1 for step in strides or ()):
        raise NotImplementedError("slice with steps")
    bounds = zip(starts, ends, strict=True)
    cuts = {axis: b for axis, b in enumerate(bounds) if b[0] != 0 or b[1] != x.shape[axis]}
    return cut(graph, x, cuts)


def _gather(graph: Graph, eqn: Any, x: Tensor, indices: Value) -> Tensor:
    """Slices and reversals at constant places, the form of jnp's indexing."""
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
        part = cut(graph, x, bounds)
        return squeezed(graph, part, collapsed) if collapsed else part
    (axis,) = axes
    whole = tuple(a for a in range(x.rank) if a != axis)
    if numbers.offset_dims != whole or collapsed != (axis,) or indices.value.ndim != 2:
        raise NotImplementedError("gather of several axes")
    return _picked(graph, x, axis, indices.value[:, 0])


def _picked(graph: Graph, x: Tensor, axis: int, places: np.ndarray) -> Tensor:
    """Elements at some places along an axis."""
    if np.array_equal(places, np.arange(x.shape[axis])):
        return x
    layout = x.layout
    if layout[-1] == axis and sum(size != 1 for size in x.shape) == 4:
        # Whole planes are copied faster than channels pixel by pixel, and convolutions want them so.
        layout = (layout[0], axis, *layout[1:-1])
    indices = graph.integers(places.tolist())
    name = graph.node("Gather", [graph.laid(x, layout), indices], axis=layout.index(axis))
    return Tensor(name, x.resized(name, {axis: len(places)}).shape, layout)


def _rev(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    for axis in eqn.params["dimensions"]:
        x = _picked(graph, x, axis, np.arange(x.shape[axis])[::-1])
    return x


def whole(graph: Graph, eqn: Any, values: Sequence[Value]) -> list[Value]:
    """An equation's inputs, broadcast to their shapes in JAX."""
    return [
        graph.broadcast(value, var.aval.shape)
        for value, var in zip(values, eqn.invars, strict=True)
    ]


def _concatenate(graph: Graph, eqn: Any, *values: Value) -> Tensor:
    parts, axis = whole(graph, eqn, values), eqn.params["dimension"]
    layout = next(value.layout for value in parts if isinstance(value, Tensor))
    names = [graph.laid(value, layout) for value in parts]
    name = graph.node("Concat", names, axis=layout.index(axis))
    return Tensor(name, result(eqn), layout)


def _stack(graph: Graph, eqn: Any, *values: Value) -> Tensor:
    axis = eqn.params["axis"]
    added = graph.integers([axis])
    names = [
        graph.node("Unsqueeze", [graph.plain(value), added]) for value in whole(graph, eqn, values)
    ]
    return plain(
        names[0] if len(names) == 1 else graph.node("Concat", names, axis=axis), result(eqn)
    )


def _unstack(graph: Graph, eqn: Any, x: Tensor) -> list[Tensor]:
    """A tensor for each element along an axis; a primitive of jax 0.12, slices before it."""
    axis = eqn.params["axis"]
    return [
        squeezed(graph, cut(graph, x, {axis: (k, k + 1)}), [axis]) for k in range(x.shape[axis])
    ]


def _pad(graph: Graph, eqn: Any, x: Tensor, value: Value) -> Tensor:
    widths = eqn.params["padding_config"]
    if any(low < 0 or high < 0 or inner for low, high, inner in widths):
        raise NotImplementedError("pad that cuts or spreads")
    sides = [int(widths[axis][side]) for side in (0, 1) for axis in x.layout]
    name = graph.node("Pad", [x.name, graph.integers(sides), graph.plain(value)])
    return Tensor(name, result(eqn), x.layout)


def _cast(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    kind = np.dtype(eqn.params["new_dtype"]).name
    if np.dtype(eqn.invars[0].aval.dtype).name == kind:
        return x
    return x.resized(graph.node("Cast", [x.name], to=_KINDS[kind]), {})


def _cumsum(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    place = graph.weight(np.array(x.place(eqn.params["axis"]), np.int64))
    name = graph.node("CumSum", [x.name, place], reverse=int(eqn.params["reverse"]))
    return x.resized(name, {})


def _cummin(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    """A running minimum by doubling: over 2, 4, 8 neighbours; ONNX has no operator for it."""
    axis, reach = eqn.params["axis"], 1
    size = x.shape[axis]
    if eqn.params["reverse"]:
        raise NotImplementedError("cummin from the end")
    while reach < size:
        head, tail, before = (
            cut(graph, x, {axis: ends}) for ends in ((0, reach), (reach, size), (0, size - reach))
        )
        least = apply(graph, "Min", tail, before)
        name = graph.node("Concat", [head.name, least.name], axis=x.place(axis))
        x = x.resized(name, {})
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
