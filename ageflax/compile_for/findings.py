"""Checks of a compiled step, and the search for the largest batch that fits."""

from collections.abc import Callable

from ageflax.compile_for.steps_of import Compiled

# Besides gradients, a step sums losses, counts and batch norm's moments over the chips, and evaluation
# gathers its probabilities. Together they stay below this many bytes.
_SMALL = 1_000_000


def faults(compiled: Compiled) -> list[str]:
    """Faults of a step, one line each; [] for a sound one.

    Chips may exchange the sum of gradients, at most of the parameters' size, and little besides; the
    host must not be called; and a bfloat16 network must compute no product in float32.
    """
    found = []
    other = [c for c in compiled.collectives if c.kind != "all-reduce"]
    if compiled.step == "evaluate":
        other = [c for c in other if c.kind != "all-gather" or c.bytes > _SMALL]
    found += [f"{c.kind} of {c.bytes:,} bytes between the chips" for c in other]
    summed = sum(c.bytes for c in compiled.collectives if c.kind == "all-reduce")
    allowed = _SMALL + (0 if compiled.step == "evaluate" else compiled.parameter_bytes)
    if summed > allowed:
        found.append(f"all-reduces of {summed:,} bytes, expected at most {allowed:,}")
    found += [f"{call}: the step waits for the host" for call in compiled.host_calls]
    return found + float32_products(compiled.products, compiled.dtype)


def float32_products(products: dict[str, int], dtype: str) -> list[str]:
    """Faults of a bfloat16 network's products with float32 operands."""
    if dtype != "bfloat16":
        return []
    return [
        f"{count} convolutions or matrix products of {kinds}"
        for kinds, count in products.items()
        if "f32" in kinds
    ]


def likely_largest(images: int, temporaries: int, rest: int, memory: float) -> int:
    """Start of the search: the largest power of two whose temporaries, in proportion, fit.

    Args:
      images: images per chip of a compiled step.
      temporaries: bytes of its temporaries.
      rest: its other bytes.
      memory: bytes of the chip.
    """
    most = (memory - rest) * images / max(temporaries, 1)
    return 2 ** max(int(most).bit_length() - 1, 0) if most >= 1 else 1


def largest_batch(fits: Callable[[int], bool], start: int, *, most: int) -> int:
    """The largest power of two that fits, by doubling or halving from `start`; 0 if not even 1 does.

    Args:
      fits: tells if a batch of this size fits; called at most once per size.
      start: power of two to start with.
      most: largest size to try.
    """
    size = start
    if fits(size):
        while size * 2 <= most and fits(size * 2):
            size *= 2
        return size
    while size > 1:
        size //= 2
        if fits(size):
            return size
    return 0
