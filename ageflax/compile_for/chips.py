"""Chips as their vendor describes them, and the slices that are made of them."""

import dataclasses
import math

from ageflax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Chip:
    """A TPU generation; figures are of one chip.

    Attributes:
      name: as in a topology's name.
      flops: bfloat16 operations a second, at most.
      memory: bytes of HBM.
      bandwidth: bytes a second between HBM and chip.
      link: bytes a second of one link to a neighbour, in one direction.
      axes: of the torus.
      wraps: an axis is closed to a ring where its length divides by this.
      slices: what is rented, from one chip up.

    References: docs.cloud.google.com/tpu/docs/v5e, /v5p and /v6e (read in November 2026), whose
      interconnect figure counts both directions of all links. That v5e and v6e close an axis at 16
      chips and v5p at multiples of 4 is from memory of Google's "How to Scale Your Model".
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
    """Chips that are wired to each other.

    Attributes:
      chip: their generation.
      shape: chips along each axis.
    """

    chip: Chip
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Chips in all."""
        return math.prod(self.shape)

    @property
    def name(self) -> str:
        """As it is asked for, "v5e:2x4"."""
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"

    def wrapped(self, length: int) -> bool:
        """Whether an axis of this length is a ring."""
        return length > 1 and length % self.chip.wraps == 0


def parse(text: str) -> Slice:
    """A slice from its name, such as v5e:2x4 or v5p:4x4x4.

    Raises:
      InputError: no such chip or shape; says what there is.
    """
    name, _, shape = text.partition(":")
    chip = CHIPS.get(name)
    if chip is None:
        raise InputError(f"--topology={text}: no chip {name!r}; there are {', '.join(CHIPS)}")
    lengths = shape.split("x")
    if len(lengths) != chip.axes or not all(n.isascii() and n.isdecimal() for n in lengths):
        example = "x".join(map(str, chip.slices[2]))
        raise InputError(
            f"--topology={text}: expected {name}: and {chip.axes} lengths, as in {name}:{example}"
        )
    known = {tuple(sorted(s)): s for s in chip.slices}
    asked = tuple(int(n) for n in lengths)
    if tuple(sorted(asked)) not in known:
        shapes = ", ".join("x".join(map(str, s)) for s in chip.slices)
        raise InputError(f"--topology={text}: {name} slices of up to 256 chips are {shapes}")
    return Slice(chip, known[tuple(sorted(asked))])
