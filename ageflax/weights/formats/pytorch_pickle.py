"""Reads the pickle inside a PyTorch file as data: nothing in it is ever called, imported or built.

A pickle is a program for a small stack machine. This machine has only the instructions that a file of
tensors needs, and the few names that such a file calls stand for inert records. Any other name or
instruction is refused.

References: CPython, pickletools; PyTorch, torch/serialization.py and torch/_weights_only_unpickler.py.
"""

import dataclasses
import io
import pickletools
from collections.abc import Callable, Iterator
from typing import Any

from ageflax.errors import InputError

# A checkpoint of a ResNet-152 with its optimizer has 60,000; memory is a small multiple of the limit.
_MOST_INSTRUCTIONS = 1_000_000
LARGEST = 16_000_000  # bytes of a pickle, without the tensors' numbers

STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """Place of the numbers of one or more tensors.

    Attributes:
      key: name in the file.
      dtype: NumPy's name, or "bfloat16".
      count: number of elements.
    """

    key: str
    dtype: str
    count: int


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class _Name:
    """A name that the file would call or import."""

    name: str


class _RefusedError(Exception):
    """A request of the file that is refused; the message names it."""


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) <= 8
        and all(type(n) is int and n >= 0 for n in value)
    )


def _tensor(arguments: tuple) -> Tensor:
    storage, offset, shape, strides = arguments[:4]
    fits = isinstance(storage, Storage) and type(offset) is int and offset >= 0
    if not fits or not _is_shape(shape) or not _is_shape(strides) or len(shape) != len(strides):
        raise ValueError("a tensor of no shape")
    return Tensor(storage, offset, shape, strides)


def _parameter(arguments: tuple) -> Tensor:
    if not isinstance(arguments[0], Tensor):
        raise ValueError("a parameter of no tensor")
    return arguments[0]


def _empty(arguments: tuple) -> dict:
    if arguments:
        raise _RefusedError("a collections.OrderedDict of given content")
    return {}


# Functions that a file of tensors calls, and their replacements.
_CALLS: dict[str, Callable[[tuple], Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "collections.OrderedDict": _empty,
}
_NAMES = {*_CALLS, *(f"torch.{name}" for name in STORAGES)}

_MARK = object()


def _named(module: Any, name: Any) -> _Name:
    full = f"{module}.{name}"
    if full not in _NAMES:
        raise _RefusedError(f"the name {full[:100]!r}")
    return _Name(full)


class _Machine:
    """Stack machine; instructions have pickletools' names."""

    def __init__(self):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> tuple[Any, int]:
        """Runs a pickle; gives its value and its length."""
        for count, (opcode, argument, at) in enumerate(_instructions(content)):
            if count > _MOST_INSTRUCTIONS:
                raise _RefusedError(f"more than {_MOST_INSTRUCTIONS} instructions")
            if opcode == "STOP":
                return self.stack.pop(), at + 1
            if opcode in _PUSHED:
                self.stack.append(argument)
            elif opcode in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode])
            elif opcode in _DONE:
                _DONE[opcode](self, argument)
            elif opcode not in ("PROTO", "FRAME"):
                raise _RefusedError(f"the instruction {opcode}")
        raise ValueError("no end")

    def marked(self) -> list[Any]:
        """Pops everything above the last mark, and the mark."""
        found = []
        while (top := self.stack.pop()) is not _MARK:
            found.append(top)
        return found[::-1]

    def put(self, place: int | None) -> None:
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def tuple_of(self, count: int) -> None:
        """Replaces the last `count` values by their tuple."""
        if count > len(self.stack):
            raise ValueError("a tuple of nothing")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def set_items(self, pairs: list[Any]) -> None:
        """Adds keys and values, in turn, to the dictionary on top."""
        target = self.stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise ValueError("items of no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Even the hash of nested tuples could take forever.
            if type(key) not in (str, int):
                raise _RefusedError(f"a dictionary with a key of type {type(key).__name__}")
            target[key] = value

    def append(self, values: list[Any]) -> None:
        """Adds values to the list on top."""
        if not isinstance(self.stack[-1], list):
            raise ValueError("values of no list")
        self.stack[-1].extend(values)

    def call(self) -> None:
        """Makes the record that stands for a function's result."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of no function")
        if function.name not in _CALLS:
            raise _RefusedError(f"a call of {function.name!r}")
        self.stack.append(_CALLS[function.name](arguments))

    def build(self) -> None:
        """Drops attributes: those of a state dict are versions of its modules."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise _RefusedError("an object with attributes")

    def storage(self) -> None:
        """Makes a storage of its description ('storage', type, key, device, count)."""
        given = self.stack.pop()
        if not isinstance(given, tuple) or len(given) not in (5, 6) or given[0] != "storage":
            raise ValueError("no storage")
        kind, key, count = given[1], given[2], given[4]
        known = isinstance(kind, _Name) and kind.name.removeprefix("torch.") in STORAGES
        if not known or type(key) is not str or type(count) is not int or count < 0:
            raise ValueError("no storage")
        if len(given) == 6 and given[5] is not None:
            raise _RefusedError("a storage that is a part of another")
        self.stack.append(Storage(key, STORAGES[kind.name.removeprefix("torch.")], count))


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK}
_PUSHED = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip
_DONE: dict[str, Callable[[_Machine, Any], None]] = {
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.marked())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "BINPUT": lambda machine, place: machine.put(place),
    "LONG_BINPUT": lambda machine, place: machine.put(place),
    "MEMOIZE": lambda machine, _: machine.put(None),
    "BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "LONG_BINGET": lambda machine, place: machine.stack.append(machine.memo[place]),
    "GLOBAL": lambda machine, words: machine.stack.append(_named(*words.split(" ", 1))),
    "STACK_GLOBAL": lambda machine, _: machine.stack.append(
        _named(*(machine.stack.pop(k) for k in (-2, -1)))
    ),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.storage(),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop(k) for k in (-2, -1)]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.marked()),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
}


def _instructions(content: bytes) -> Iterator[tuple[str, Any, int]]:
    for opcode, argument, at in pickletools.genops(io.BytesIO(content)):
        yield opcode.name, argument, at or 0


def read(content: bytes, where: str) -> tuple[Any, int]:
    """Reads a pickle of dictionaries, lists, tuples, numbers, texts and `Tensor`s.

    Args:
      content: bytes that begin with the pickle.
      where: name of the file, for messages.

    Returns:
      The value, and the pickle's length in bytes.

    Raises:
      InputError: the pickle is damaged, or asks for more than a file of tensors needs.
    """
    try:
        return _Machine().run(content)
    except _RefusedError as error:
        raise InputError(
            f"{where}: refused, nothing in it was run: its pickle holds {error}, and a file of weights"
            " only tensors; if you trust the file, save them alone with torch:"
            " torch.save(model.state_dict(), FILE)"
        ) from error
    # Errors of damaged pickles: no such memo entry, an empty stack, a wrong type.
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{where}: cut short or damaged: unreadable pickle") from error
