"""Pictures that look alike: a hash, a search that does not compare all with all, and a second look.

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
# Beyond this the bands get so narrow that the search compares nearly all with all.
MAX_DISTANCE = 15
# Of some 408 pairs of one picture among 18,490 aligned faces, 4 bits found 387 at the cost of 510 second
# looks, and 6 bits 403 at the cost of 1,850.
DISTANCE = 4
# Correlation of thumbnails from which two pictures are one; aligned faces of two people reach 0.95.
SIMILARITY = 0.96
# Pairs looked at anew at once: what bounds the images in memory.
_LOOKS = 256
# Pictures are shrunk to this many grey pixels a side; a hash keeps so many waves a side.
_SIDE, _LOWEST = 32, 8


class ClosePairs(NamedTuple):
    """Pairs of rows, first < second, in ascending order.

    Attributes:
      first: int64[n].
      second: int64[n].
      distances: int64[n], bits that differ.
    """

    first: np.ndarray
    second: np.ndarray
    distances: np.ndarray


def _grey(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8[height, width]: area averages, so that size and fine noise do not matter."""
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)


def perceptual_hash(image: np.ndarray) -> int:
    """64-bit pHash: which of the 8x8 slowest cosine waves of a picture are above their median.

    The same picture saved anew, resized or brightened differs in a few bits; a mirrored, rotated or
    cropped one in many. The simpler dHash hardly tells aligned faces apart, whose shading is much the
    same: of 18,490 it put 103,000 pairs within 6 bits and pHash 1,850, where some 420 were one picture
    twice. So nearness is no proof yet: see `similarity`.

    Args:
      image: uint8[h, w, 3] RGB.
    References: Krawetz, Looks Like It, The Hacker Factor Blog, 2011.
    """
    waves = cv2.dct(_grey(image, _SIDE, _SIDE).astype(np.float32))[:_LOWEST, :_LOWEST].ravel()
    bits = waves > np.median(waves[1:])
    bits[0] = False  # the mean brightness says nothing
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def thumbnail(image: np.ndarray) -> np.ndarray:
    """float32[1024] of mean 0 and length 1 (or all zero for a flat image), from uint8[h, w, 3]."""
    values = _grey(image, _SIDE, _SIDE).astype(np.float32).ravel()
    values -= values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length else values


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two thumbnails, from -1 to 1; 1 for one picture in two brightnesses."""
    return float(np.clip(first @ second, -1.0, 1.0))


def _bands(count: int) -> list[tuple[np.uint64, np.uint64]]:
    """Shift and mask of `count` bands that share out the 64 bits, none overlapping."""
    ends = [BITS * k // count for k in range(count + 1)]
    return [
        (np.uint64(start), np.uint64((1 << (end - start)) - 1))
        for start, end in itertools.pairwise(ends)
    ]


def _neighbours(band: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows that agree in a band, as arrays of pairs; each pair once."""
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    # One past the end of the run of equal values that each position is in.
    ends = np.searchsorted(ordered, ordered, side="right")
    positions = np.arange(len(band))
    offset = 1
    while (positions := positions[positions + offset < ends[positions]]).size:
        yield order[positions], order[positions + offset]
        offset += 1


def close_pairs(
    hashes: np.ndarray, distance: int, *, groups: Sequence[np.ndarray], limit: int = 1_000_000
) -> ClosePairs:
    """Pairs whose hashes differ in at most `distance` bits and that some grouping tells apart.

    Hashes that differ in d bits agree in one of d + 1 bands at least, so only hashes that share a band
    are compared.

    Args:
      hashes: uint64[n].
      distance: 0 to MAX_DISTANCE.
      groups: integer arrays [n], such as the fold and the person of each; a pair is left out where
        both rows are in the same group of every array.
      limit: pairs to find at most.

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
            # A pair that agrees in an earlier band too was found there.
            for earlier_shift, earlier_mask in bands[:k]:
                wanted &= ((difference >> earlier_shift) & earlier_mask) != 0
            crossing = np.zeros(len(first), bool)
            for group in groups:
                crossing |= group[first] != group[second]
            wanted &= crossing
            if wanted.any():
                found.append((first[wanted], second[wanted], distances[wanted]))
                count += int(wanted.sum())
            if count > limit:
                raise InputError(
                    f"more than {limit:,} pairs of images are within {distance} bits of each other; "
                    "ask for a smaller distance"
                )
    if not found:
        empty = np.zeros(0, np.int64)
        return ClosePairs(empty, empty, empty)
    first, second, distances = (
        np.concatenate(parts).astype(np.int64) for parts in zip(*found, strict=True)
    )
    # np.argsort is stable in _neighbours, so rows of one run ascend and first < second.
    order = np.lexsort((second, first))
    return ClosePairs(first[order], second[order], distances[order])


class Alike(NamedTuple):
    """Two pictures that are one: rows, first < second, bits between their hashes, and correlation."""

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
    """Pairs that are close by their hashes and, looked at again, correlate by SIMILARITY or more.

    Args:
      hashes: uint64[n].
      picture: uint8[h, w, 3] of a row; called from several threads.
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
