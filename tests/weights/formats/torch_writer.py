"""Writes PyTorch's two containers without PyTorch."""

import dataclasses
import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np

KINDS = {
    "<f4": "FloatStorage", "<f8": "DoubleStorage", "<f2": "HalfStorage", "<i8": "LongStorage",
    "<i4": "IntStorage", "bfloat16": "BFloat16Storage", "|u1": "ByteStorage", "|b1": "BoolStorage",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Global:
    """A name for the pickle to refer to."""

    module: str
    name: str

    def __call__(self):
        raise AssertionError("only written")


@dataclasses.dataclass(eq=False)
class Storage:
    content: bytes
    count: int
    kind: str


@dataclasses.dataclass(eq=False)
class View:
    """A tensor: any view of a storage; strides count elements."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


def stored(values):
    """A storage with an array's elements in order."""
    values = np.ascontiguousarray(values)
    kind = KINDS[
        "bfloat16"
        if values.dtype.kind == "V" or values.dtype.name == "bfloat16"
        else values.dtype.str
    ]
    return Storage(values.tobytes(), values.size, kind)


def tensor(values):
    values = np.ascontiguousarray(values)
    strides = tuple(stride // values.itemsize for stride in values.strides)
    return View(stored(values), 0, values.shape, strides)


_PythonPickler: Any = pickle._Pickler  # whose methods, unlike the other's, can be replaced


class _Pickler(_PythonPickler):
    """Pickler of protocol 2, as PyTorch uses."""

    def __init__(self, file, storages):
        super().__init__(file, protocol=2)
        self._storages = storages

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        else:
            super().save(obj, save_persistent_id)

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        key = self._storages.setdefault(id(obj), (str(len(self._storages)), obj))[0]
        return ("storage", Global("torch", obj.kind), key, "cpu", obj.count)

    def reducer_override(self, obj):
        if not isinstance(obj, View):
            return NotImplemented
        ordered = (Global("collections", "OrderedDict"), ())
        hooks = _Reduced(*ordered)
        return Global("torch._utils", "_rebuild_tensor_v2"), (
            obj.storage, obj.offset, obj.shape, obj.strides, False, hooks,
        )  # fmt: skip


class _Reduced:
    def __init__(self, function, arguments):
        self._pair = function, arguments

    def __reduce__(self):
        return self._pair


def pickled(value):
    """Pickles views; gives the storages that they name, by key, too."""
    storages, file = {}, io.BytesIO()
    pickler = _Pickler(file, storages)
    pickler.dump(value)
    return file.getvalue(), dict(storages.values())


def zipped(value, *, compression=zipfile.ZIP_STORED, folder="archive", pickle_bytes=None, extra=()):
    """A file as written by torch.save since 1.6."""
    content, storages = pickled(value)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(f"{folder}/data.pkl", pickle_bytes or content)
        archive.writestr(f"{folder}/byteorder", "little")
        for key, storage in storages.items():
            archive.writestr(f"{folder}/data/{key}", storage.content)
        archive.writestr(f"{folder}/version", "3\n")
        for name, inside in extra:
            archive.writestr(f"{folder}/{name}", inside)
    return file.getvalue()


def legacy(value, *, pickle_bytes=None, little=True):
    """A file as written by torch.save before 1.6."""
    content, storages = pickled(value)
    parts = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2)]
    sizes = {"short": 2, "int": 4, "long": 4}
    parts.append(
        pickle.dumps({"protocol_version": 1001, "little_endian": little, "type_sizes": sizes}, 2)
    )
    parts += [pickle_bytes or content, pickle.dumps(sorted(storages), 2)]
    for _, storage in sorted(storages.items()):
        parts += [struct.pack("<q", storage.count), storage.content]
    return b"".join(parts)


CONTAINERS = {"zip": zipped, "legacy": legacy}
