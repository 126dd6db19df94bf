"""Upper bounds on the rate of a compiled step, by the chips' data sheets, on one chip and on slices.

Bounds, not forecasts: matrix units are never fully busy, and the compiler's count of touched bytes
includes those that never leave the chip. Assumptions: each chip keeps the batch it was compiled for; a
step takes the longer of its operations at the peak rate and its bytes at the full bandwidth;
all-reduces use every link of the torus at once, a ring in both directions, an open row of chips in
one; and each waits for a message to cross the slice and back, at a microsecond per hop.
"""

import dataclasses
from collections.abc import Sequence

from ageflax.compile_for.chips import Slice
from ageflax.compile_for.hlo import Collective

_HOP = 1e-6  # seconds; the usual figure for one hop on TPU links


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of a step on a chip, by its compiler.

    Attributes:
      images: images of the batch on one chip.
      flops: operations; a loop's body is counted once.
      bytes: touched bytes, those in the chip's own memory included; a loop's body is counted once.
      collectives: exchanges with other chips.
    """

    images: int
    flops: float
    bytes: float
    collectives: Sequence[Collective]


@dataclasses.dataclass(frozen=True)
class Bound:
    """Upper bound on a slice's rate.

    Attributes:
      chips: number of chips in the slice.
      compute: seconds of a step's operations at the peak rate.
      memory: seconds of its bytes at the full bandwidth.
      exchange: seconds of its collectives.
      images_per_second: rate of the slice, exchange not overlapped.
      efficiency: rate of the slice as a share of `chips` times one chip's.
    """

    chips: int
    compute: float
    memory: float
    exchange: float
    images_per_second: float
    efficiency: float


def exchange_seconds(collectives: Sequence[Collective], where: Slice) -> float:
    """Seconds of a step's collectives on a slice.

    An all-reduce moves each byte and its sum, 2 (n - 1) / n times; the others half of that.
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
    """Bound of a step on a slice whose chips each have this cost."""
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
    """Bounds on every slice of the same chips, from one up to 256."""
    return [bound(cost, Slice(where.chip, shape)) for shape in where.chip.slices]
