"""What a compiled program moves, multiplies and pads, read from its text."""

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
# Of StableHLO: the operation, and the types of its two operands.
_STABLE_PRODUCT = re.compile(
    r"stablehlo\.(?:convolution|dot_general)\b.*: \(tensor<([^>]*)>, tensor<([^>]*)>\)"
)
_CYCLES = re.compile(r'"estimated_cycles":"?(\d+)')
_TARGETS = (re.compile(r'custom_call_target="([^"]*)"'), re.compile(r"custom_call @([\w.$]+)\("))


@dataclasses.dataclass(frozen=True)
class _Array:
    """One array of an instruction's type.

    Attributes:
      dtype: "bf16".
      shape: lengths of its axes.
      minor: its axes, the one whose neighbours lie together first; empty where not told.
      tile: lengths of the tile that the last of them are cut into.
      on_chip: whether it lies in the chip's own memory and not in HBM.
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
        """Bytes with what fills up its tiles."""
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
    """(name, type, operation, what follows its parenthesis) of every instruction."""
    for line in text.splitlines():
        found = _LINE.match(line)
        if found:
            yield found[1], found[2], found[3], found[4]


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between the chips.

    Attributes:
      kind: "all-reduce" and so on.
      bytes: of its result on a chip.
      dtypes: of what is exchanged.
      arrays: how many go together.
    """

    kind: str
    bytes: int
    dtypes: tuple[str, ...]
    arrays: int


def collectives(text: str) -> list[Collective]:
    """Every exchange between chips in a compiled program; one inside of a loop is told once."""
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
    """How many convolutions and matrix products there are by the types of their operands.

    Args:
      text: of a compiled program or of StableHLO.

    Returns:
      Such as {"bf16 x bf16": 17}.
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
    """What reaches out to the host while the program runs: callbacks, feeds, transfers."""
    found = [
        operation
        for _, _, operation, _ in _instructions(text)
        if operation.removesuffix("-start").removesuffix("-done") in _HOST
    ]
    targets = [target for pattern in _TARGETS for target in pattern.findall(text)]
    return sorted({*found, *(t for t in targets if "callback" in t or "host" in t.lower())})


def cycles(text: str) -> int:
    """Cycles of a chip that its compiler expects the program's operations to take, one after another.

    An operation in a loop counts once, and no exchange between chips counts. Good for telling two forms
    of one step apart; 0 where the compiler says nothing.
    """
    return sum(int(count) for count in _CYCLES.findall(text))


def padding(text: str) -> float:
    """What fills up tiles, as a share of the HBM bytes that the entry's operations write."""
    _, _, entry = text.partition("\nENTRY ")
    real = padded = 0
    for _, kind, operation, _ in _instructions(entry):
        if operation in ("fusion", "copy", "convolution", "transpose", "pad", "reverse"):
            for array in _arrays(kind):
                if not array.on_chip:
                    real, padded = real + array.bytes, padded + array.padded_bytes
    return padded / real - 1.0 if real else 0.0
