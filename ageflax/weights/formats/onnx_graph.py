"""Reads ONNX files as a graph of layers in the terms of our networks.

Supports the operators of fixed-size image classifiers that Caffe, MXNet, PyTorch and tf2onnx export. Any
other is kept under its own name, for messages about an unexpected layer.

References: onnx.proto; ONNX Operator Schemas.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ageflax.errors import InputError
from ageflax.weights.formats import protobufs
from ageflax.weights.formats.onnx_tensors import Tensors
from ageflax.weights.formats.protobufs import text
from ageflax.weights.matching.graph import Layer, kernel_and_bias

_DEEPEST = 2000  # layers between output and input; a ResNet-152 has 500
_PASSED = ("Identity", "Dropout", "Flatten", "Reshape", "Squeeze")


class _Graph:
    """Builds layers from nodes, each once, from the output back to the input."""

    def __init__(self, path: Path):
        model = protobufs.read(path, "onnx", "ModelProto", "ONNX file")
        self.path, graph = path, model.graph
        if not graph.node or not graph.output:
            raise InputError(f"{path}: no ONNX file of a network, or damaged: it has no nodes")
        self.tensors = Tensors(path, graph.initializer)
        self._producers = {name: node for node in graph.node for name in node.output if name}
        # Files of version 3 also list every initializer among the inputs.
        self._inputs = {value.name for value in graph.input} - {p.name for p in graph.initializer}
        self.outputs = [value.name for value in graph.output]
        self._made: dict[bytes, Layer] = {}
        self._constants: dict[bytes, np.ndarray | None] = {}

    def _attributes(self, node: Any) -> dict[str, Any]:
        found = {}
        for attribute in node.attribute:
            fields = [field for field in ("t", "i", "f", "s") if attribute.HasField(field)]
            value = list(attribute.ints)
            if fields and (fields[0] == "t" or not value):
                value = getattr(attribute, fields[0])
            if fields or value:
                found[text(attribute.name)] = text(value) if isinstance(value, bytes) else value
        return found

    def constant(self, name: bytes, depth: int = 0) -> np.ndarray | None:
        """Value that does not depend on the image, or None."""
        if name in self.tensors:
            return self.tensors[name]
        if name not in self._constants:
            self._constants[name] = self._computed(name, depth)
        return self._constants[name]

    def _computed(self, name: bytes, depth: int) -> np.ndarray | None:
        """Applies the operators between a stored tensor and the layer that uses it."""
        node = self._producers.get(name)
        if node is None or depth > 8:
            return None
        operator = text(node.op_type)
        if operator == "Constant":
            value = self._attributes(node).get("value")
            return self.tensors.values(value) if hasattr(value, "dims") else None
        if operator in ("Identity", "Transpose") and node.input:
            values = self.constant(node.input[0], depth + 1)
            if values is None or operator == "Identity":
                return values
            order = self._attributes(node).get("perm", list(range(values.ndim))[::-1])
            return values.transpose(order) if sorted(order) == list(range(values.ndim)) else None
        return None

    def layer(self, name: bytes) -> Layer:
        """Layer that computes a value."""
        waiting = [name]
        while waiting:  # no recursion, which a long chain would exhaust
            value = waiting[-1]
            if value in self._made:
                waiting.pop()
                continue
            node = self._producers.get(value)
            if node is None:
                kind = "input" if value in self._inputs else f"value {text(value)!r} from nowhere"
                self._made[value] = Layer(kind, text(value))
                continue
            waiting += self._needed(value, node)
            if len(waiting) > _DEEPEST:
                raise InputError(f"{self.path}: its graph has a circle, or is too deep")
        return self._made[name]

    def _needed(self, value: bytes, node: Any) -> list[bytes]:
        """Builds the layer of a value, or returns the values to build before it."""
        try:
            needed = self._main_inputs(node)
            missing = [one for one in needed if one not in self._made]
            if not missing:
                self._made[value] = self._built(node, tuple(self._made[one] for one in needed))
        # Too few inputs, an attribute of another type, ...
        except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise InputError(
                f"{self.path}: damaged: {self.name(node)!r} is not a valid {text(node.op_type)}"
            ) from error
        return missing

    def _main_inputs(self, node: Any) -> list[bytes]:
        """Inputs that depend on the image."""
        operator = text(node.op_type)
        inputs = [name for name in node.input if name]
        if operator in ("Conv", "Gemm", "BatchNormalization", "Reshape", *_PASSED, "ReduceMean"):
            return inputs[:1]
        return [name for name in inputs if self.constant(name) is None]

    def _built(self, node: Any, inputs: tuple[Layer, ...]) -> Layer:
        operator = text(node.op_type)
        unknown = Layer(operator, self.name(node), inputs)
        if node.domain not in (b"", b"ai.onnx") or operator not in _BUILT:
            return unknown
        return _BUILT[operator](self, node, self._attributes(node), inputs) or unknown

    def name(self, node: Any) -> str:
        """Printable name of a node, or of its output if it has none."""
        return text(node.name) or text(node.output[0])

    def constants(self, node: Any, first: int) -> list[np.ndarray]:
        """Inputs from a given position on, which must be constants."""
        found = [self.constant(name) for name in node.input[first:] if name]
        if any(values is None for values in found):
            raise InputError(
                f"{self.path}: {self.name(node)!r}: its weights are computed in the graph"
            )
        return [values for values in found if values is not None]


_Builder = Callable[[_Graph, Any, dict[str, Any], tuple[Layer, ...]], Layer | None]


def _convolution(graph: _Graph, node: Any, given: dict, inputs: tuple[Layer, ...]) -> Layer | None:
    kernel, *bias = graph.constants(node, 1)
    settings = {
        "stride": tuple(given.get("strides", (1, 1))),
        "pads": tuple(given.get("pads", (0, 0, 0, 0))),
        "dilation": tuple(given.get("dilations", (1, 1))),
        "group": given.get("group", 1),
    }
    if kernel.ndim != 4 or given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    return Layer("conv", graph.name(node), inputs, _weights(graph, node, kernel, bias), settings)


def _weights(
    graph: _Graph, node: Any, kernel: np.ndarray, bias: list[np.ndarray]
) -> dict[str, np.ndarray]:
    return kernel_and_bias(kernel, bias, f"{graph.path}: {graph.name(node)!r}")


def _gemm(graph: _Graph, node: Any, given: dict, inputs: tuple[Layer, ...]) -> Layer | None:
    kernel, *bias = graph.constants(node, 1)
    scaled = given.get("alpha", 1.0) != 1.0 or (bias and given.get("beta", 1.0) != 1.0)
    if kernel.ndim != 2 or scaled or given.get("transA"):
        return None
    kernel = kernel if given.get("transB") else kernel.T
    return Layer("dense", graph.name(node), inputs, _weights(graph, node, kernel, bias))


def _product(graph: _Graph, node: Any, given: dict, inputs: tuple[Layer, ...]) -> Layer | None:
    del given
    kernel = graph.constant(node.input[1]) if len(node.input) == 2 else None
    if kernel is None or kernel.ndim != 2 or len(inputs) != 1:
        return None
    return Layer("dense", graph.name(node), inputs, {"kernel": kernel.T})


def _sum(graph: _Graph, node: Any, given: dict, inputs: tuple[Layer, ...]) -> Layer | None:
    """Sum of two branches, or the bias after a product."""
    del given
    if len(inputs) == 2:
        return Layer("add", graph.name(node), inputs)
    if len(inputs) != 1 or inputs[0].kind not in ("dense", "conv") or "bias" in inputs[0].tensors:
        return None
    before = inputs[0]
    found = [v for name in node.input if (v := graph.constant(name)) is not None]
    kernel = before.tensors["kernel"]
    if len(found) != 1 or found[0].size != len(kernel):
        return None
    tensors = _weights(graph, node, kernel, found)
    return Layer(before.kind, before.name, before.inputs, tensors, before.settings)


def _norm(graph: _Graph, node: Any, given: dict, inputs: tuple[Layer, ...]) -> Layer | None:
    found = graph.constants(node, 1)
    if len(found) != 4 or len({values.shape for values in found}) > 1 or found[0].ndim != 1:
        return None
    scale, bias, mean, var = found
    tensors = {"scale": scale, "bias": bias, "mean": mean, "var": var}
    settings = {"epsilon": float(given.get("epsilon", 1e-5))}
    return Layer("batch_norm", graph.name(node), inputs, tensors, settings)


def _max_pool(graph: _Graph, node: Any, given: dict, inputs: tuple[Layer, ...]) -> Layer | None:
    pads = tuple(given.get("pads", (0, 0, 0, 0)))
    plain = given.get("auto_pad", "NOTSET") in ("NOTSET", "VALID") and len(pads) == 4
    if not plain or set(given.get("dilations", (1, 1))) != {1}:
        return None
    settings = {
        "side": tuple(given.get("kernel_shape", ())),
        "stride": tuple(given.get("strides", (1, 1))),
        "pads": pads,
        "ceil": bool(given.get("ceil_mode", 0)),
    }
    return Layer("max_pool", graph.name(node), inputs, {}, settings)


def _average_pool(graph: _Graph, node: Any, given: dict, inputs: tuple[Layer, ...]) -> Layer | None:
    """Skips a pool over one pixel, the export of an adaptive pool from 7x7 to 7x7."""
    del graph, node
    alone = given.get("kernel_shape") == [1, 1] and set(given.get("strides", (1, 1))) == {1}
    return inputs[0] if alone and inputs else None


def _mean(graph: _Graph, node: Any, given: dict, inputs: tuple[Layer, ...]) -> Layer | None:
    if text(node.op_type) == "ReduceMean":
        axes = given.get("axes")
        if axes is None and len(node.input) > 1:
            values = graph.constant(node.input[1])
            axes = None if values is None else values.reshape(-1).tolist()
        if axes is None or sorted(axis % 4 for axis in axes) != [2, 3]:
            return None
    return Layer("mean", graph.name(node), inputs)


def _lrn(graph: _Graph, node: Any, given: dict, inputs: tuple[Layer, ...]) -> Layer | None:
    settings = {
        "size": given.get("size"),
        "alpha": float(given.get("alpha", 1e-4)),
        "beta": float(given.get("beta", 0.75)),
        "k": float(given.get("bias", 1.0)),
    }
    return Layer("lrn", graph.name(node), inputs, {}, settings)


def _transpose(graph: _Graph, node: Any, given: dict, inputs: tuple[Layer, ...]) -> Layer | None:
    """Between channels first and last, as in files made of Keras and TensorFlow Lite by tf2onnx."""
    return Layer("transpose", graph.name(node), inputs, {}, {"order": tuple(given.get("perm", ()))})


def _named(kind: str) -> _Builder:
    return lambda graph, node, given, inputs: Layer(kind, graph.name(node), inputs)


_BUILT: dict[str, _Builder] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _product,
    "Add": _sum,
    "Sum": _sum,
    "BatchNormalization": _norm,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _mean,
    "ReduceMean": _mean,
    "LRN": _lrn,
    "Transpose": _transpose,
    "Relu": _named("relu"),
    "Softmax": _named("softmax"),
    # Flat or not, values keep the order C, H, W; the next layer knows how many it needs.
    **dict.fromkeys(_PASSED, lambda graph, node, given, inputs: inputs[0] if inputs else None),
}


def read_graph(path: Path) -> Layer:
    """Reads an ONNX file; gives the layer of its output.

    Raises:
      InputError: the file cannot be read, or has several outputs.
    """
    graph = _Graph(path)
    if len(graph.outputs) != 1:
        names = ", ".join(text(name) for name in graph.outputs[:4])
        raise InputError(f"{path}: expected a network with one output, found {names}")
    return graph.layer(graph.outputs[0])
