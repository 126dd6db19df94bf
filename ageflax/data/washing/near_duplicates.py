"""Finds pictures that look alike: a hash, a search that does not compare all pairs, a second look.

Mirrored, rotated and newly cropped copies are not found.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from ageflax.errors import InputError

BITS = 64
# Beyond this the bands get so narrow that the search compares nearly all pairs.
MAX_DISTANCE = 15
# Among 18,490 aligned faces with some 408 pairs of one picture, 4 bits found 387 with 510 second looks,
# and 6 bits found 403 with 1,850.
DISTANCE = 4
# Least correlation of two thumbnails of one picture; aligned faces of two subjects reach 0.95.
SIMILARITY = 0.96
_LOOKS = 256  # pairs given a second look at once; bounds the images in memory
# Grey pixels a side of a shrunken picture, and waves a side in a hash.
_SIDE, _LOWEST = 32, 8


class ClosePairs(NamedTuple):
    """Pairs of rows, first < second, in ascending order.

    Attributes:
      first: int64[n].
      second: int64[n].
      distances: int64[n], numbers of differing bits.
    """

    first: np.ndarray
    second: np.ndarray
    distances: np.ndarray


def _grey(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Shrinks to uint8[height, width] by area averages, which removes size and fine noise."""
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def perceptual_hash(image: np.ndarray) -> int:
    """64-bit pHash: one bit per wave of the 8x8 slowest cosine waves, set if above their median.

    The same picture saved again, resized or brightened differs in a few bits; a mirrored, rotated or
    cropped one in many. The simpler dHash hardly distinguishes aligned faces, whose shading is much
    alike: among 18,490 it put 103,000 pairs within 6 bits and pHash 1,850; some 420 were one picture
    twice. Nearness is therefore no proof yet: see `similarity`.

    Args:
      image: uint8[h, w, 3] RGB.
    References: Krawetz, Looks Like It, The Hacker Factor Blog, 2011.
    """
    waves = cv2.dct(_grey(image, _SIDE, _SIDE).astype(np.float32))[:_LOWEST, :_LOWEST].ravel()
    bits = waves > np.median(waves[1:])
    bits[0] = False  # the mean brightness carries no information
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Shrinks uint8[h, w, 3] to float32[1024] of mean 0 and length 1; all zero for a flat image."""
    values = _grey(image, _SIDE, _SIDE).astype(np.float32).ravel()
    values -= values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length else values


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two thumbnails, -1 to 1; 1 for one picture at two brightnesses."""
    return float(np.clip(first @ second, -1.0, 1.0))


def _bands(count: int) -> list[tuple[np.uint64, np.uint64]]:
    """Shift and mask of `count` bands that partition the 64 bits."""
    ends = [BITS * k // count for k in range(count + 1)]
    return [
        (np.uint64(start), np.uint64((1 << (end - start)) - 1))
        for start, end in itertools.pairwise(ends)
    ]


def _neighbours(band: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pairs of rows that agree in a band, as two arrays; each pair once."""
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    # One past the end of each position's run of equal values.
    ends = np.searchsorted(ordered, ordered, side="right")
    positions = np.arange(len(band))
    offset = 1
    while (positions := positions[positions + offset < ends[positions]]).size:
        yield order[positions], order[positions + offset]
        offset += 1


def close_pairs(
    hashes: np.ndarray, distance: int, *, groups: Sequence[np.ndarray], limit: int = 1_000_000
) -> ClosePairs:
    """Finds pairs whose hashes differ in at most `distance` bits and whose groups differ.

    Hashes that differ in d bits agree in at least one of d + 1 bands, so only hashes that share a band
    are compared.

    Args:
      hashes: uint64[n].
      distance: 0 to MAX_DISTANCE.
      groups: integer arrays [n], such as fold and subject; a pair is left out if both rows are in the
        same group of every array.
      limit: largest number of pairs.

    Raises:
      InputError: more pairs than `limit`.
    """
    bands = _bands(distance + 1)
    found = []
    count = 0
    for k, (shift, mask) in enumerate(bands):
        for first, second in _neighbours((hashes >> shift) & mask):
            difference = hashes[first] ^ hashes[second]
            distances = np.bitwise_count(difference)
            wanted = distances <= distance
            # A pair that also agrees in an earlier band was found there.
            for earlier_shift, earlier_mask in bands[:k]:
                wanted &= ((difference >> earlier_shift) & earlier_mask) != 0
            wanted &= np.any([group[first] != group[second] for group in groups], axis=0)
            found.append((first[wanted], second[wanted], distances[wanted]))
            count += int(wanted.sum())
            if count > limit:
                raise InputError(
                    f"more than {limit:,} pairs of images are within {distance} bits of each other; "
                    "ask for a smaller distance"
                )
    if not found:
        found = [(np.zeros(0, np.int64),) * 3]
    first, second, distances = (
        np.concatenate(parts).astype(np.int64) for parts in zip(*found, strict=True)
    )
    # The sort in _neighbours is stable: rows of one run ascend, so first < second.
    order = np.lexsort((second, first))
    return ClosePairs(first[order], second[order], distances[order])


class Alike(NamedTuple):
    """Two rows of one picture, first < second: differing bits of their hashes, and correlation."""

    first: int
    second: int
    distance: int
    similarity: float


def alike(
    hashes: np.ndarray,
    picture: Callable[[int], np.ndarray],
    *,
    groups: Sequence[np.ndarray],
    distance: int = DISTANCE,
) -> Iterator[Alike]:
    """Yields pairs with close hashes whose thumbnails correlate by SIMILARITY or more.

    Args:
      hashes: uint64[n].
      picture: row -> uint8[h, w, 3]; called from several threads.
      groups: see `close_pairs`.
      distance: see `close_pairs`.

    Raises:
      InputError: see `close_pairs`.
    """
    close = close_pairs(hashes, distance, groups=groups)

    def draw(row: int) -> np.ndarray:
        return thumbnail(picture(row))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(close.first), _LOOKS):
            batch = list(
                zip(*(part[start : start + _LOOKS].tolist() for part in close), strict=True)
            )
            rows = sorted({row for first, second, _ in batch for row in (first, second)})
            small = dict(zip(rows, pool.map(draw, rows), strict=True))
            for first, second, bits in batch:
                correlation = similarity(small[first], small[second])
                if correlation >= SIMILARITY:
                    yield Alike(first, second, bits, correlation)
