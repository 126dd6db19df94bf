"""Reads Caffe's .caffemodel files, V1 and V2, as a graph of layers, and its mean images.

References: Jia et al., Caffe, 2014, caffe.proto, and upgrade_proto.cpp for the defaults.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from ageflax.errors import InputError
from ageflax.weights.formats import protobufs
from ageflax.weights.formats.files import as_float32
from ageflax.weights.formats.protobufs import text
from ageflax.weights.matching.graph import Layer, kernel_and_bias

# V1's numbers of the layer types that matter at test.
_V1_TYPES = {
    1: "Accuracy", 4: "Convolution", 5: "Data", 6: "Dropout", 8: "Flatten", 9: "HDF5Data",
    12: "ImageData", 14: "InnerProduct", 15: "LRN", 17: "Pooling", 18: "ReLU", 20: "Softmax",
    21: "SoftmaxWithLoss", 22: "Split", 24: "WindowData", 29: "MemoryData", 3: "Concat", 25: "Eltwise",
    19: "Sigmoid", 23: "TanH", 32: "DummyData", 33: "Slice",
}  # fmt: skip
_SOURCES = (
    "Data", "HDF5Data", "ImageData", "WindowData", "MemoryData", "DummyData", "Input",
)  # fmt: skip
_PASSED = ("Dropout", "Split", "Flatten")  # compute nothing at test
_MEASURES = ("Accuracy", "SoftmaxWithLoss", "Silence")
_MOST_AXES = 8


def _values(blob: Any, where: str) -> np.ndarray:
    """Converts a blob to float32.

    Raises:
      InputError: the numbers do not fill the blob's shape, or are not finite.
    """
    if blob.HasField("shape"):
        shape = tuple(blob.shape.dim)
    else:
        shape = (blob.num, blob.channels, blob.height, blob.width)
    parts, dtype = (blob.data, "<f4") if blob.data else (blob.double_data, "<f8")
    size = sum(map(len, parts))
    usable = len(shape) <= _MOST_AXES and min(shape, default=1) > 0
    if not usable or size != math.prod(shape) * int(dtype[-1]):
        raise InputError(
            f"{where}: damaged: {size} bytes of numbers for the shape {shape[:_MOST_AXES]}"
        )
    return as_float32(protobufs.numbers(parts, dtype), where).reshape(shape)


def _pair(param: Any, name: str, default: int) -> tuple[int, int]:
    """Height and width of a setting, stored as one number, as two, or as a field each."""
    one = {"kernel": "kernel_size"}.get(name, name)
    high, wide = f"{name}_h", f"{name}_w"
    if param.HasField(high) or param.HasField(wide):
        return getattr(param, high), getattr(param, wide)
    stored = getattr(param, one)
    if isinstance(stored, int):
        stored = [stored] if param.HasField(one) else []
    sides = list(stored) or [default]
    return sides[0], sides[-1]


def _given(param: Any, name: str, default: Any) -> Any:
    return getattr(param, name) if param.HasField(name) else default


def _convolution(param: Any) -> dict[str, Any]:
    (top, left), dilation = _pair(param, "pad", 0), list(param.dilation) or [1]
    return {
        "stride": _pair(param, "stride", 1),
        "pads": (top, left, top, left),
        "dilation": (dilation[0], dilation[-1]),
        "group": _given(param, "group", 1),
    }


def _pooling(param: Any) -> dict[str, Any]:
    top, left = _pair(param, "pad", 0)
    return {
        "side": _pair(param, "kernel", 0),
        "stride": _pair(param, "stride", 1),
        "pads": (top, left, top, left),
        "ceil": param.round_mode == 0,  # the default
    }


def _lrn(param: Any) -> dict[str, Any]:
    return {
        "size": _given(param, "local_size", 5),
        "alpha": _given(param, "alpha", 1.0),
        "beta": _given(param, "beta", 0.75),
        "k": _given(param, "k", 1.0),
    }


def _weighted(layer: Any, where: str, kind: str) -> dict[str, np.ndarray]:
    """Kernel O, I, H, W or O, I, and bias."""
    if len(layer.blobs) not in (1, 2):
        raise InputError(f"{where}: {len(layer.blobs)} arrays of weights, expected two")
    kernel, *bias = (_values(blob, where) for blob in layer.blobs)
    if kind == "dense":
        if layer.inner_product_param.transpose:
            raise InputError(f"{where}: transposed weights are not supported")
        if kernel.ndim == 4 and kernel.shape[:2] == (1, 1):
            kernel = kernel[0, 0]  # V1's form of outputs x inputs
        kernel = kernel.reshape(len(kernel), -1)
    elif kernel.ndim != 4:
        raise InputError(f"{where}: a kernel of {kernel.ndim} axes, expected four")
    return kernel_and_bias(kernel, bias, where)


def _layer(layer: Any, kind: str, inputs: tuple[Layer, ...], path: Path) -> Layer:
    name = text(layer.name)
    where = f"{path}: layer {name!r}"
    if kind == "Convolution":
        settings = _convolution(layer.convolution_param)
        return Layer("conv", name, inputs, _weighted(layer, where, "conv"), settings)
    if kind == "InnerProduct":
        return Layer("dense", name, inputs, _weighted(layer, where, "dense"))
    if kind == "ReLU" and not layer.relu_param.negative_slope:
        return Layer("relu", name, inputs)
    pooling = layer.pooling_param
    if kind == "Pooling" and not pooling.pool and not pooling.global_pooling:
        return Layer("max_pool", name, inputs, {}, _pooling(pooling))
    if kind == "LRN" and not layer.lrn_param.norm_region:
        return Layer("lrn", name, inputs, {}, _lrn(layer.lrn_param))
    if kind == "Softmax":
        return Layer("softmax", name, inputs)
    return Layer(kind, name, inputs)


def _layers(path: Path) -> list[tuple[str, Any]]:
    """Type and message of each layer in the file's order, which is the order of computation."""
    net = protobufs.read(path, "caffe", "NetParameter", "caffemodel")
    if net.layers and net.layer:
        raise InputError(f"{path}: layers of both V1 and V2: not a caffemodel, or damaged")
    if any(layer.v0 for layer in net.layers):
        raise InputError(
            f"{path}: in Caffe's first format, V0; upgrade it with Caffe's upgrade_net_proto_binary"
        )
    found = [(_V1_TYPES.get(layer.type, f"type {layer.type}"), layer) for layer in net.layers]
    found += [(text(layer.type), layer) for layer in net.layer]
    if not any(layer.blobs for _, layer in found):
        raise InputError(f"{path}: no layer has weights: not a caffemodel, or damaged")
    return found


def read_graph(path: Path) -> Layer:
    """Reads a caffemodel; gives its last fully connected layer, whose rows are the classes.

    Raises:
      InputError: the file cannot be read, or does not end in one such layer.
    """
    source = Layer("input", "data")
    made: dict[bytes, Layer] = {}  # blob -> the last layer that writes it; many write in place
    dense: list[Layer] = []
    consumed: set[int] = set()
    for kind, layer in _layers(path):
        inputs = tuple(made.get(bottom, source) for bottom in layer.bottom)
        if kind in _SOURCES or kind in _MEASURES:
            made |= dict.fromkeys(layer.top, source)
            continue
        built = inputs[0] if kind in _PASSED and inputs else _layer(layer, kind, inputs, path)
        made |= dict.fromkeys(layer.top, built)
        if kind in _PASSED:
            continue
        consumed |= {id(one) for one in inputs if built.kind != "softmax"}
        if built.kind == "dense":
            dense.append(built)
    last = [layer for layer in dense if id(layer) not in consumed]
    if len(last) != 1:
        names = ", ".join(layer.name for layer in last[:4]) or "none"
        raise InputError(
            f"{path}: expected one fully connected layer at the end of the network, found"
            f" {len(last)}: {names}"
        )
    return last[0]


def read_mean(path: Path) -> np.ndarray:
    """Reads a mean.binaryproto as float32[h, w, c], channels in the file's order (BGR for Caffe).

    Raises:
      InputError: the file cannot be read, or is not an image.
    """
    blob = protobufs.read(path, "caffe", "BlobProto", "mean.binaryproto")
    values = _values(blob, str(path))
    while values.ndim > 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 3 or len(values) not in (1, 3):
        raise InputError(f"{path}: shape {values.shape}, expected a mean image of 3 x h x w")
    return np.ascontiguousarray(values.transpose(1, 2, 0))
