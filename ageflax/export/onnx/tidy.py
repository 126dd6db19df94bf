"""Shrinks a graph without changing its results."""

from collections import Counter

import numpy as np

from ageflax.export.onnx.graph import Graph, Node

_AFFINE = ("Add", "Sub", "Mul")


def _uses(graph: Graph, outputs: set[str]) -> Counter[str]:
    return Counter([name for node in graph.nodes for name in node.inputs] + list(outputs))


def _per_channel(array: np.ndarray, channels: int, axis: int, rank: int) -> np.ndarray | None:
    """A constant as one float64 value per channel; None if it has more."""
    if array.size == 1:
        return np.full(channels, array.reshape(()), np.float64)
    wanted = [1] * rank
    wanted[axis] = channels
    if list(array.shape) == wanted:
        return array.reshape(-1).astype(np.float64)
    return None


def _fold(graph: Graph, made: Node, node: Node, constant: np.ndarray) -> bool:
    """Merges a sum or product with a constant into the convolution or product before it."""
    convolution = made.kind == "Conv"
    kernel = graph.weights.get(made.inputs[1])
    if kernel is None or (not convolution and kernel.ndim != 2):
        return False
    channels = kernel.shape[0 if convolution else 1]
    rank = 4 if convolution else constant.ndim
    values = _per_channel(constant, channels, 1 if convolution else rank - 1, rank)
    if values is None or (not convolution and (node.kind != "Add" or rank != 2)):
        return False
    bias = np.zeros(channels)
    if len(made.inputs) == 3:
        bias = graph.weights[made.inputs[2]].astype(np.float64)
    name = made.inputs[1]
    if node.kind == "Mul":
        scaled = kernel.astype(np.float64) * values.reshape(-1, 1, 1, 1)
        made.inputs[1] = graph.weight(scaled.astype(np.float32), f"{name}/folded")
        bias = bias * values
    else:
        bias = bias + (values if node.kind == "Add" else -values)
    stem = name.removesuffix("/folded").removesuffix("/kernel")
    made.inputs[2:] = [graph.weight(bias.astype(np.float32), f"{stem}/bias/folded")]
    if not convolution:
        made.kind = "Gemm"
    return True


def fold_constants(graph: Graph, outputs: set[str]) -> None:
    """Merges biases and batch norms into convolutions, and biases into matrix products.

    Merged values are computed in float64 and rounded once.
    """
    uses = _uses(graph, outputs)
    makers: dict[str, Node] = {}
    kept: list[Node] = []
    renamed: dict[str, str] = {}
    for node in graph.nodes:
        node.inputs = [renamed.get(name, name) for name in node.inputs]
        if node.kind in _AFFINE and len(node.inputs) == 2:
            for x, other in (node.inputs, node.inputs[::-1]):
                made, constant = makers.get(x), graph.weights.get(other)
                if made is None or constant is None or uses[x] != 1:
                    continue
                if node.kind == "Sub" and node.inputs[0] == other:  # constant minus x
                    continue
                if made.kind in ("Conv", "MatMul", "Gemm") and _fold(graph, made, node, constant):
                    renamed[node.output] = x
                    uses[x] = uses[node.output]
                    break
            if node.output in renamed:
                continue
        makers[node.output] = node
        kept.append(node)
    graph.nodes = kept


def drop_identities(graph: Graph, inputs: set[str]) -> None:
    """Replaces Identity nodes by giving their inputs the outputs' names."""
    for node in [node for node in graph.nodes if node.kind == "Identity"]:
        source = node.inputs[0]
        taken = source in inputs or source in graph.weights
        sinks = {other.output for other in graph.nodes if other.kind == "Identity"}
        if not taken and source not in sinks:
            graph.nodes.remove(node)
            graph.rename(source, node.output)


def drop_unused(graph: Graph, outputs: set[str]) -> None:
    """Removes nodes and weights that no output depends on."""
    needed, kept = set(outputs), []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    graph.nodes = kept[::-1]
    graph.weights = {name: array for name, array in graph.weights.items() if name in needed}


def tidy(graph: Graph, inputs: set[str], outputs: set[str]) -> None:
    """Applies all of the above."""
    drop_unused(graph, outputs)  # unused readers of a value would prevent merging
    fold_constants(graph, outputs)
    drop_identities(graph, inputs)
    drop_unused(graph, outputs)
