"""The rate that a chip's data sheet allows a compiled step, alone and among many.

Bounds, not forecasts: matrix units are never all busy, and what the compiler counts as touched bytes
includes those that never leave the chip. Assumed: each chip keeps the batch it was compiled for; a
step takes the longer of its operations at the highest rate and its bytes at the full bandwidth;
all-reduces run over every link of the torus at once, a ring in both directions, an open row of chips
in one; and each waits for a message to cross the slice and back, a microsecond a hop.
"""

import dataclasses
from collections.abc import Sequence

from ageflax.compile_for.chips import Slice
from ageflax.compile_for.hlo import Collective

_HOP = 1e-6  # seconds; the usual figure for one hop on TPUs' links


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a step costs a chip, as its compiler says.

    Attributes:
      images: of the batch, on one chip.
      flops: operations.
      bytes: touched.
      collectives: exchanges with the other chips.
    """

    images: int
    flops: float
    bytes: float
    collectives: Sequence[Collective]


@dataclasses.dataclass(frozen=True)
class Bound:
    """What a slice can reach at most.

    Attributes:
      chips: in the slice.
      compute: seconds of a step at the chip's matrix rate.
      memory: seconds of a step at its bandwidth.
      exchange: seconds of its collectives.
      images_per_second: of the slice, the exchange waited for.
      efficiency: share of `chips` times one chip's rate, the exchange waited for.
    """

    chips: int
    compute: float
    memory: float
    exchange: float
    images_per_second: float
    efficiency: float


def exchange_seconds(collectives: Sequence[Collective], where: Slice) -> float:
    """Seconds of a step's collectives on a slice.

    An all-reduce sends each byte out and its sum back, 2 (n - 1) / n times; the others half of that.
    """
    if where.size == 1:
        return 0.0
    lengths = [n for n in where.shape if n > 1]
    links = sum(2 if where.wrapped(n) else 1 for n in lengths)
    hops = sum(n // 2 if where.wrapped(n) else n - 1 for n in lengths)
    share = (where.size - 1) / where.size
    total = 0.0
    for collective in collectives:
        ways = 2 if collective.kind == "all-reduce" else 1
        total += ways * (share * collective.bytes / (links * where.chip.link) + hops * _HOP)
    return total


def bound(cost: Cost, where: Slice) -> Bound:
    """The bound of a step on a slice, each chip doing the work that `cost` tells."""
    compute, memory = cost.flops / where.chip.flops, cost.bytes / where.chip.bandwidth
    alone = max(compute, memory)
    exchange = exchange_seconds(cost.collectives, where)
    return Bound(
        chips=where.size,
        compute=compute,
        memory=memory,
        exchange=exchange,
        images_per_second=where.size * cost.images / (alone + exchange),
        efficiency=alone / (alone + exchange),
    )


def scaling(cost: Cost, where: Slice) -> list[Bound]:
    """The bounds on every slice of the same chips, from one up to 256."""
    return [bound(cost, Slice(where.chip, shape)) for shape in where.chip.slices]
