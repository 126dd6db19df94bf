"""TPU chips, by their data sheets, and slices of them."""

import dataclasses
import math

from ageflax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Chip:
    """A TPU generation, with figures per chip.

    Attributes:
      name: prefix of a topology's name.
      flops: peak bfloat16 operations per second.
      memory: bytes of HBM.
      bandwidth: bytes per second between HBM and chip.
      link: bytes per second of one link to a neighbour, in one direction.
      axes: number of axes of the torus.
      wraps: axes with a multiple of this length are rings.
      slices: shapes that are rented, from one chip up.

    References: docs.cloud.google.com/tpu/docs/v5e, /v5p and /v6e (read in November 2026), whose
      interconnect figure counts both directions of all links. Rings of 16 chips on v5e and v6e and of
      multiples of 4 on v5p are recalled from Google's "How to Scale Your Model".
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    link: float
    axes: int
    wraps: int
    slices: tuple[tuple[int, ...], ...]


_FLAT = ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))
_CUBES = ((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 4, 4), (4, 4, 4), (4, 4, 8), (4, 8, 8))
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v5e", 197e12, 16e9, 819e9, 400e9 / 8, 2, 16, _FLAT),
        Chip("v5p", 459e12, 95 * 2.0**30, 2765e9, 1200e9 / 12, 3, 4, _CUBES),
        Chip("v6e", 918e12, 32e9, 1638e9, 800e9 / 8, 2, 16, _FLAT),
    )
}


@dataclasses.dataclass(frozen=True)
class Slice:
    """Interconnected chips.

    Attributes:
      chip: generation of the chips.
      shape: number of chips along each axis.
    """

    chip: Chip
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of chips."""
        return math.prod(self.shape)

    @property
    def name(self) -> str:
        """Name as on the command line, "v5e:2x4"."""
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"

    def wrapped(self, length: int) -> bool:
        """True if an axis of this length is a ring."""
        return length > 1 and length % self.chip.wraps == 0


def parse(text: str) -> Slice:
    """Parses the name of a slice, such as v5e:2x4 or v5p:4x4x4.

    Raises:
      InputError: unknown chip or shape; lists the known ones.
    """
    name, _, shape = text.partition(":")
    chip = CHIPS.get(name)
    if chip is None:
        raise InputError(f"--topology={text}: unknown chip {name!r}; use {', '.join(CHIPS)}")
    lengths = shape.split("x")
    if len(lengths) != chip.axes or not all(n.isascii() and n.isdecimal() for n in lengths):
        example = "x".join(map(str, chip.slices[2]))
        raise InputError(
            f"--topology={text}: expected {name}: and {chip.axes} lengths, such as {name}:{example}"
        )
    known = {tuple(sorted(s)): s for s in chip.slices}
    asked = tuple(int(n) for n in lengths)
    if tuple(sorted(asked)) not in known:
        shapes = ", ".join("x".join(map(str, s)) for s in chip.slices)
        raise InputError(f"--topology={text}: no such slice; {name} has {shapes}")
    return Slice(chip, known[tuple(sorted(asked))])
