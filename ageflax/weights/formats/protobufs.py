"""Reads protocol-buffer files of Caffe and ONNX with protobuf, by the parts of their schemas used here.

Field numbers are those of caffe.proto and onnx.proto; protobuf skips fields that a schema here lacks.
Names are declared as bytes, which cannot fail to decode. Packed numbers are declared as bytes too, which
NumPy views without making a Python number for each of 100 million weights.

References: Jia et al., Caffe, 2014, src/caffe/proto/caffe.proto; onnx/onnx.proto; Protocol Buffers,
  Encoding.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ageflax.errors import InputError
from ageflax.weights.formats.files import opened

Schema = dict[str, dict[str, tuple[int, str]]]

# message -> field -> (number, type). A type is the name of a scalar or message; "*" marks repeated ones;
# "data" is packed numbers as bytes.
_CONVOLUTION = {
    "num_output": (1, "uint32"), "pad": (3, "*uint32"), "kernel_size": (4, "*uint32"),
    "group": (5, "uint32"), "stride": (6, "*uint32"), "pad_h": (9, "uint32"), "pad_w": (10, "uint32"),
    "kernel_h": (11, "uint32"), "kernel_w": (12, "uint32"), "stride_h": (13, "uint32"),
    "stride_w": (14, "uint32"), "dilation": (18, "*uint32"),
}  # fmt: skip
_POOLING = {
    "pool": (1, "uint32"), "kernel_size": (2, "uint32"), "stride": (3, "uint32"), "pad": (4, "uint32"),
    "kernel_h": (5, "uint32"), "kernel_w": (6, "uint32"), "stride_h": (7, "uint32"),
    "stride_w": (8, "uint32"), "pad_h": (9, "uint32"), "pad_w": (10, "uint32"),
    "global_pooling": (12, "bool"), "round_mode": (13, "uint32"),
}  # fmt: skip
CAFFE: Schema = {
    "NetParameter": {
        "name": (1, "bytes"), "layers": (2, "*V1LayerParameter"), "layer": (100, "*LayerParameter"),
    },
    "V1LayerParameter": {
        "v0": (1, "bytes"), "bottom": (2, "*bytes"), "top": (3, "*bytes"), "name": (4, "bytes"),
        "type": (5, "uint32"), "blobs": (6, "*BlobProto"),
        "convolution_param": (10, "ConvolutionParameter"),
        "inner_product_param": (17, "InnerProductParameter"),
        "lrn_param": (18, "LRNParameter"), "pooling_param": (19, "PoolingParameter"),
        "relu_param": (30, "ReLUParameter"),
    },
    "LayerParameter": {
        "name": (1, "bytes"), "type": (2, "bytes"), "bottom": (3, "*bytes"), "top": (4, "*bytes"),
        "blobs": (7, "*BlobProto"), "convolution_param": (106, "ConvolutionParameter"),
        "inner_product_param": (117, "InnerProductParameter"),
        "lrn_param": (118, "LRNParameter"), "pooling_param": (121, "PoolingParameter"),
        "relu_param": (123, "ReLUParameter"),
    },
    "ConvolutionParameter": _CONVOLUTION,
    "PoolingParameter": _POOLING,
    "InnerProductParameter": {
        "num_output": (1, "uint32"), "axis": (5, "int32"), "transpose": (6, "bool"),
    },
    "LRNParameter": {
        "local_size": (1, "uint32"), "alpha": (2, "float"), "beta": (3, "float"),
        "norm_region": (4, "uint32"), "k": (5, "float"),
    },
    "ReLUParameter": {"negative_slope": (1, "float")},
    "BlobShape": {"dim": (1, "*int64")},
    "BlobProto": {
        "num": (1, "int64"), "channels": (2, "int64"), "height": (3, "int64"), "width": (4, "int64"),
        "data": (5, "data"), "shape": (7, "BlobShape"), "double_data": (8, "data"),
    },
}  # fmt: skip
ONNX: Schema = {
    "ModelProto": {"producer_name": (2, "bytes"), "graph": (7, "GraphProto")},
    "GraphProto": {
        "node": (1, "*NodeProto"), "initializer": (5, "*TensorProto"),
        "input": (11, "*ValueInfoProto"), "output": (12, "*ValueInfoProto"),
    },
    "NodeProto": {
        "input": (1, "*bytes"), "output": (2, "*bytes"), "name": (3, "bytes"), "op_type": (4, "bytes"),
        "attribute": (5, "*AttributeProto"), "domain": (7, "bytes"),
    },
    "AttributeProto": {
        "name": (1, "bytes"), "f": (2, "float"), "i": (3, "int64"), "s": (4, "bytes"),
        "t": (5, "TensorProto"), "floats": (7, "*float"), "ints": (8, "*int64"),
    },
    "TensorProto": {
        "dims": (1, "*int64"), "data_type": (2, "int32"), "float_data": (4, "data"),
        "int64_data": (7, "*int64"), "name": (8, "bytes"), "raw_data": (9, "data"),
        "double_data": (10, "data"), "external_data": (13, "*StringStringEntryProto"),
        "data_location": (14, "int32"),
    },
    "StringStringEntryProto": {"key": (1, "bytes"), "value": (2, "bytes")},
    "ValueInfoProto": {"name": (1, "bytes"), "type": (2, "TypeProto")},
    "TypeProto": {"tensor_type": (1, "TensorTypeProto")},
    "TensorTypeProto": {"shape": (2, "TensorShapeProto")},
    "TensorShapeProto": {"dim": (1, "*DimensionProto")},
    "DimensionProto": {"dim_value": (1, "int64"), "dim_param": (2, "bytes")},
}  # fmt: skip

LARGEST = 2**31 - 1  # protobuf's own limit, in bytes
# Fields are counted before they are parsed, because a message takes tens of times the memory of its two
# bytes on the wire. VGG-16 has 800, a ResNet-50 in ONNX 9,000.
_MOST_FIELDS = 200_000
_LONGEST = 1_000_000  # bytes of a field other than data


def message_classes(schema: Schema, package: str) -> dict[str, Any]:
    """Makes a protobuf class for each message of a schema."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"ageflax/{package}.proto", package=package, syntax="proto2"
    )
    proto = descriptor_pb2.FieldDescriptorProto
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for field, (number, described) in fields.items():
            kind = described.removeprefix("*")
            repeated = described.startswith("*") or kind == "data"
            added = message.field.add(
                name=field,
                number=number,
                label=proto.LABEL_REPEATED if repeated else proto.LABEL_OPTIONAL,
            )
            if kind in schema:
                added.type, added.type_name = proto.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                added.type = getattr(proto, f"TYPE_{'BYTES' if kind == 'data' else kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in schema
    }


@functools.cache
def _classes(package: str) -> dict[str, Any]:
    return message_classes({"caffe": CAFFE, "onnx": ONNX}[package], f"ageflax_{package}")


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]  # IndexError at the end
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("an endless number")


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """Yields the number of each field of a message, and the bytes of those with a length."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        wire, part = tag & 7, None
        if wire == 0:
            _, at = _varint(content, at)
        elif wire == 2:
            length, at = _varint(content, at)
            part, at = content[at : at + length], at + length
        else:
            at += {1: 8, 5: 4}.get(wire, 0)
        if at > len(content):
            raise ValueError("cut short")
        yield tag >> 3, part


def _count(content: memoryview, schema: Schema, message: str, counted: int) -> int:
    """Counts fields, added to `counted`; raises ValueError for too many or too long ones."""
    known = {number: kind.removeprefix("*") for number, kind in schema[message].values()}
    for number, part in _fields(content):
        counted += 1
        if counted > _MOST_FIELDS:
            raise ValueError(f"more than {_MOST_FIELDS} fields")
        kind = known.get(number)
        if part is None or kind in (None, "data"):
            continue
        if kind in schema:
            counted = _count(part, schema, kind, counted)
        elif len(part) > _LONGEST:
            raise ValueError(f"a name or list of {len(part)} bytes")
    return counted


def read(path: Path, package: str, message: str, what: str) -> Any:
    """Reads a file that consists of one message.

    Takes a small multiple of the file's size in memory, whatever its content.

    Args:
      path: file to read.
      package: "caffe" or "onnx".
      message: name of the message in the schema.
      what: kind of file, for error messages.

    Raises:
      InputError: the file is absent, of another kind, or damaged.
    """
    with opened(path) as file:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: larger than 2 GiB, the limit of a {what}")
        content = file.read()
    schema = {"caffe": CAFFE, "onnx": ONNX}[package]
    try:
        _count(memoryview(content), schema, message, 0)
        return _classes(package)[message].FromString(content)
    except (DecodeError, ValueError, IndexError, RecursionError) as error:
        raise InputError(f"{path}: no {what}, cut short or damaged") from error


def text(name: bytes) -> str:
    """Makes a name from a file printable."""
    decoded = bytes(name[:80]).decode(errors="replace")
    return "".join(c if c.isprintable() else "?" for c in decoded)


def numbers(parts: Any, dtype: str) -> np.ndarray:
    """Numbers of a "data" field.

    Raises:
      ValueError: the size is not a multiple of the dtype's.
    """
    joined = parts[0] if len(parts) == 1 else b"".join(parts)
    return np.frombuffer(joined, dtype)
