"""JAX's convolutions, matrix products and pools as ONNX nodes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ageflax.export.onnx.graph import Graph, Tensor, Value, plain, result


def _sides(pads: Sequence[tuple[int, int]]) -> list[int]:
    """Padding in ONNX's order: all lower sides, then all upper ones."""
    return [low for low, _ in pads] + [high for _, high in pads]


def _convolution(graph: Graph, eqn: Any, x: Tensor, kernel: Value) -> Tensor:
    params = eqn.params
    numbers = params["dimension_numbers"]
    if params["batch_group_count"] != 1 or any(n != 1 for n in params["lhs_dilation"]):
        raise NotImplementedError("transposed convolution")
    name = graph.node(
        "Conv",
        [graph.laid(x, numbers.lhs_spec), graph.laid(kernel, numbers.rhs_spec)],
        strides=list(params["window_strides"]),
        dilations=list(params["rhs_dilation"]),
        pads=_sides(params["padding"]),
        group=params["feature_group_count"],
        kernel_shape=[kernel.shape[axis] for axis in numbers.rhs_spec[2:]],
    )
    return Tensor(name, result(eqn), tuple(numbers.out_spec))


def _product(graph: Graph, eqn: Any, left: Value, right: Value) -> Tensor:
    """A product with the axes of ONNX's MatMul: batch axes, then one free axis of each side."""
    (left_sum, right_sum), (left_batch, right_batch) = eqn.params["dimension_numbers"]
    if len(left_sum) != 1:
        raise NotImplementedError("product over several axes")
    left_free, right_free = (
        [axis for axis in range(len(value.shape)) if axis not in (*batch, *summed)]
        for value, batch, summed in ((left, left_batch, left_sum), (right, right_batch, right_sum))
    )
    # Without batch axes, MatMul takes all of the left's free axes for it, and a vector on the right.
    if len(right_free) > 1 or (left_batch and not len(left_free) == len(right_free) == 1):
        raise NotImplementedError("product with several free axes")
    names = [
        graph.laid(left, [*left_batch, *left_free, *left_sum]),
        graph.laid(right, [*right_batch, *right_sum, *right_free]),
    ]
    return plain(graph.node("MatMul", names), result(eqn))


def _windows(eqn: Any, x: Tensor) -> tuple[list[int], list[int]]:
    """JAX axes with a window, and without."""
    params = eqn.params
    if any(n != 1 for key in ("base_dilation", "window_dilation") for n in params[key]):
        raise NotImplementedError("pool with holes")
    pooled = [
        axis for axis in range(x.rank)
        if params["window_dimensions"][axis] != 1 or params["window_strides"][axis] != 1
    ]  # fmt: skip
    return pooled, [axis for axis in range(x.rank) if axis not in pooled]


def _max_pool(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    """A maximum over windows; padding is never the largest, in ONNX as in JAX."""
    pooled, others = _windows(eqn, x)
    if len(pooled) != 2 or len(others) != 2:
        raise NotImplementedError("pool over other than two axes")
    params, layout = eqn.params, (*others, *pooled)
    name = graph.node(
        "MaxPool",
        [graph.laid(x, layout)],
        kernel_shape=[params["window_dimensions"][axis] for axis in pooled],
        strides=[params["window_strides"][axis] for axis in pooled],
        pads=_sides([params["padding"][axis] for axis in pooled]),
    )
    return Tensor(name, result(eqn), layout)


def _window_sum(graph: Graph, eqn: Any, x: Tensor) -> Tensor:
    """A sum along the channels with stride 1, as in LRN: a convolution with a band of ones.

    LRN itself becomes one node, and this one is then dropped.
    """
    pooled, _ = _windows(eqn, x)
    params = eqn.params
    channels = x.shape[-1]
    if pooled != [x.rank - 1] or params["window_strides"][-1] != 1 or x.rank != 4:
        raise NotImplementedError("sum over windows, other than of channels")
    size, (low, high) = params["window_dimensions"][-1], params["padding"][-1]
    if low + high != size - 1:
        raise NotImplementedError("sum over windows that changes the number of channels")
    away = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    band = ((away >= -low) & (away <= high)).astype(np.float32)
    kernel = graph.weight(band[:, :, None, None])
    layout = (0, 3, 1, 2)
    name = graph.node("Conv", [graph.laid(x, layout), kernel], kernel_shape=[1, 1])
    return Tensor(name, x.shape, layout)


RULES: dict[str, Callable[..., Tensor]] = {
    "conv_general_dilated": _convolution,
    "dot_general": _product,
    "reduce_window_max": _max_pool,
    "reduce_window_sum": _window_sum,
}
