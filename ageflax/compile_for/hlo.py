"""Exchanges, products, host calls and padding of a compiled program, read from its text."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

_BYTES = {
    "pred": 1, "s4": 1, "u4": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2,
    "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\](?:\{([\d,]*)(?::((?:T|S|E)[^}]*))?\})?")
_LINE = re.compile(r"^\s*(?:ROOT )?%?(\S+) = (.+?) ([a-z][a-z0-9-]*)\((.*)$")
_COLLECTIVES = (
    "all-reduce", "all-gather", "all-to-all", "ragged-all-to-all", "reduce-scatter",
    "collective-permute", "collective-broadcast",
)  # fmt: skip
_HOST = ("infeed", "outfeed", "send", "recv")
# StableHLO's products, with the types of both operands.
_STABLE_PRODUCT = re.compile(
    r"stablehlo\.(?:convolution|dot_general)\b.*: \(tensor<([^>]*)>, tensor<([^>]*)>\)"
)
_CYCLES = re.compile(r'"estimated_cycles":"?(\d+)')
_TARGETS = (re.compile(r'custom_call_target="([^"]*)"'), re.compile(r"custom_call @([\w.$]+)\("))


@dataclasses.dataclass(frozen=True)
class _Array:
    """One array of an instruction's type.

    Attributes:
      dtype: type of its elements, such as "bf16".
      shape: lengths of its axes.
      minor: its axes in memory order, the fastest first; empty if not stated.
      tile: lengths of the tiles that the fastest axes are cut into.
      on_chip: True if it lies in the chip's own memory instead of HBM.
    """

    dtype: str
    shape: tuple[int, ...]
    minor: tuple[int, ...]
    tile: tuple[int, ...]
    on_chip: bool

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * _BYTES.get(self.dtype, 0)

    @property
    def padded_bytes(self) -> int:
        """Bytes with the padding of its tiles."""
        lengths = [self.shape[axis] for axis in self.minor]
        for k, side in enumerate(reversed(self.tile[-len(lengths) :] if lengths else ())):
            lengths[k] = -(-lengths[k] // side) * side
        return (math.prod(lengths) if lengths else 1) * _BYTES.get(self.dtype, 0)


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(int(n) for n in (text or "").split(",") if n)


def _arrays(kind: str) -> list[_Array]:
    found = []
    for dtype, shape, minor, rest in _ARRAY.findall(kind):
        if dtype not in _BYTES:
            continue
        tile = re.match(r"T\(([\d,]+)\)", rest)
        found.append(
            _Array(
                dtype,
                _numbers(shape),
                _numbers(minor),
                _numbers(tile[1]) if tile else (),
                bool(re.search(r"S\([1-9]\d*\)", rest)),
            )
        )
    return found


def _instructions(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, operation and the text after its parenthesis, of every instruction."""
    for line in text.splitlines():
        found = _LINE.match(line)
        if found:
            yield found[1], found[2], found[3], found[4]


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between the chips.

    Attributes:
      kind: operation, such as "all-reduce".
      bytes: bytes of its result on a chip.
      dtypes: types of the exchanged arrays.
      arrays: number of arrays exchanged together.
    """

    kind: str
    bytes: int
    dtypes: tuple[str, ...]
    arrays: int


def collectives(text: str) -> list[Collective]:
    """Exchanges between chips in a compiled program; one inside a loop is listed once."""
    found = []
    for _, kind, operation, _ in _instructions(text):
        name = operation.removesuffix("-start")
        if name not in _COLLECTIVES:
            continue
        arrays = _arrays(kind)
        if operation != name and name != "all-reduce":  # the type has operands and results
            arrays = arrays[len(arrays) // 2 :]
        dtypes = tuple(sorted({array.dtype for array in arrays}))
        found.append(Collective(name, sum(a.bytes for a in arrays), dtypes, len(arrays)))
    return found


def products(text: str) -> dict[str, int]:
    """Counts convolutions and matrix products by the types of their operands.

    Args:
      text: a compiled program or StableHLO.

    Returns:
      Counts such as {"bf16 x bf16": 17}.
    """
    types, asked = {}, []
    for name, kind, operation, rest in _instructions(text):
        arrays = _arrays(kind)
        types[name] = arrays[0].dtype if arrays else "?"
        if operation in ("convolution", "dot"):
            asked.append(re.findall(r"%([\w.\-]+)", rest)[:2])
    pairs = [tuple(types.get(name, "?") for name in pair) for pair in asked]
    stable = _STABLE_PRODUCT.findall(text)
    pairs += [tuple(operand.rpartition("x")[2] for operand in pair) for pair in stable]
    return dict(collections.Counter(" x ".join(pair) for pair in pairs))


def host_calls(text: str) -> list[str]:
    """Operations that call the host while the program runs: callbacks, feeds, transfers."""
    found = [
        operation
        for _, _, operation, _ in _instructions(text)
        if operation.removesuffix("-start").removesuffix("-done") in _HOST
    ]
    targets = [target for pattern in _TARGETS for target in pattern.findall(text)]
    return sorted({*found, *(t for t in targets if "callback" in t or "host" in t.lower())})


def cycles(text: str) -> int:
    """Sum of the cycles that the compiler estimates for the program's operations on a chip.

    Operations in a loop count once, exchanges between chips not at all. Good for comparing two forms of
    one step; 0 if the compiler gives no estimate.
    """
    return sum(int(count) for count in _CYCLES.findall(text))


def padding(text: str) -> float:
    """Padding of tiles as a share of the HBM bytes that the entry's operations write."""
    _, _, entry = text.partition("\nENTRY ")
    real = padded = 0
    for _, kind, operation, _ in _instructions(entry):
        if operation in ("fusion", "copy", "convolution", "transpose", "pad", "reverse"):
            for array in _arrays(kind):
                if not array.on_chip:
                    real, padded = real + array.bytes, padded + array.padded_bytes
    return padded / real - 1.0 if real else 0.0
