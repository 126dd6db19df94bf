"""Stores weights in fewer bits: half or a quarter of the file. Computation stays in float32."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ageflax.export.onnx.graph import Graph, Node
from ageflax.weights.formats.precision import halved, is_reduced, quantised

_WEIGHTED = {"Conv": 0, "Gemm": 1, "MatMul": 1}  # operator: output axis of its weights


def compress(graph: Graph, precision: str) -> None:
    """Stores the weights of a graph's convolutions and matrix products in fewer bits.

    Cast turns them into float32 again, and for int8 Mul with a scale per output channel; runtimes do so
    once, when they load the file. (onnxruntime runs DequantizeLinear for every batch: Levi's network
    took twice as long for one face.) Biases, norms and the mean image stay in float32: they are small,
    and rounding them costs accuracy at once.
    """
    if precision == "float32":
        return
    nodes: list[Node] = []
    done: dict[str, str] = {}
    for node in graph.nodes:
        name = node.inputs[1] if node.kind in _WEIGHTED else ""
        array = graph.weights.get(name)
        if name in done:
            node.inputs[1] = done[name]
        elif array is not None and is_reduced(array, precision):
            del graph.weights[name]
            done[name] = node.inputs[1] = f"{name}/float32"
            if precision == "float16":
                stored = [graph.weight(halved(array), name)]
                nodes.append(Node("Cast", stored, done[name], {"to": 1}))
            else:
                values, scale = quantised(array, _WEIGHTED[node.kind])
                whole = f"{name}/whole"
                nodes.append(Node("Cast", [graph.weight(values, name)], whole, {"to": 1}))
                scales = graph.weight(scale, f"{name}/scale")
                nodes.append(Node("Mul", [whole, scales], done[name], {}))
        nodes.append(node)
    graph.nodes = nodes


def compressed(variables: Any, precision: str) -> Any:
    """A network's variables with kernels in fewer bits; see `restored`."""

    def one(array: Any) -> Any:
        array = np.asarray(array)
        if not is_reduced(array, precision):
            return array
        if precision == "float16":
            return halved(array)
        return quantised(array, array.ndim - 1)

    return jax.tree.map(one, variables)


def restored(variables: Any) -> Any:
    """Variables in float32, from those of `compressed`."""

    def one(leaf: Any) -> jax.Array:
        if isinstance(leaf, tuple):
            return jnp.asarray(leaf[0]).astype(jnp.float32) * jnp.asarray(leaf[1])
        return jnp.asarray(leaf).astype(jnp.float32)

    return jax.tree.map(one, variables, is_leaf=lambda leaf: isinstance(leaf, tuple))
