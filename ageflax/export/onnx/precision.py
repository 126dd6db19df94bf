"""Weights in fewer bits: half the file, or a quarter of it. What is computed stays float32."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ageflax.export.onnx.graph import Graph, Node

PRECISIONS = ("float32", "float16", "int8")
_LEAST = 256  # elements of a weight that is worth it
_WEIGHED = {
    "Conv": 0,
    "Gemm": 1,
    "MatMul": 1,
}  # operator: the axis of its weights that is the output


def _quantised(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 and a scale a channel along the axis, the largest weight of a channel being 127."""
    others = tuple(k for k in range(array.ndim) if k != axis)
    scale = np.abs(array).max(others, keepdims=True) / 127.0
    scale = np.where(scale == 0, 1.0, scale).astype(np.float32)
    return np.round(array / scale).astype(np.int8), scale


def _halved(array: np.ndarray) -> np.ndarray:
    """float16; what is too large for it becomes infinite, which verification refuses."""
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def compress(graph: Graph, precision: str) -> None:
    """Stores the weights of a graph's convolutions and matrix products in fewer bits.

    They are turned into float32 again by Cast, and of int8 by Mul with a scale an output channel, which
    runtimes do once, as they load the file. (DequantizeLinear says the same, and onnxruntime runs it
    for every batch anew: of a face, Levi's network took twice as long.) Biases, norms and the mean image
    stay as they are: they are small, and what they lose is felt at once.
    """
    if precision == "float32":
        return
    nodes: list[Node] = []
    done: dict[str, str] = {}
    for node in graph.nodes:
        name = node.inputs[1] if node.kind in _WEIGHED else ""
        array = graph.weights.get(name)
        if name in done:
            node.inputs[1] = done[name]
        elif array is not None and array.ndim >= 2 and array.size >= _LEAST:
            axis = _WEIGHED[node.kind]
            del graph.weights[name]
            done[name] = node.inputs[1] = f"{name}/float32"
            if precision == "float16":
                stored = [graph.weight(_halved(array), name)]
                nodes.append(Node("Cast", stored, done[name], {"to": 1}))
            else:
                values, scale = _quantised(array, axis)
                whole = f"{name}/whole"
                nodes.append(Node("Cast", [graph.weight(values, name)], whole, {"to": 1}))
                scales = graph.weight(scale, f"{name}/scale")
                nodes.append(Node("Mul", [whole, scales], done[name], {}))
        nodes.append(node)
    graph.nodes = nodes


def compressed(variables: Any, precision: str) -> Any:
    """Variables of a network, its kernels in fewer bits, as `restored` takes them."""

    def one(array: Any) -> Any:
        array = np.asarray(array)
        if precision == "float32" or array.ndim < 2 or array.size < _LEAST:
            return array
        if precision == "float16":
            return _halved(array)
        return _quantised(array, array.ndim - 1)

    return jax.tree.map(one, variables)


def restored(variables: Any) -> Any:
    """The variables in float32 again."""

    def one(leaf: Any) -> jax.Array:
        if isinstance(leaf, tuple):
            return jnp.asarray(leaf[0]).astype(jnp.float32) * jnp.asarray(leaf[1])
        return jnp.asarray(leaf).astype(jnp.float32)

    return jax.tree.map(one, variables, is_leaf=lambda leaf: isinstance(leaf, tuple))
