"""Divides the examples of a split over files."""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")

# TFDS holds a shard in memory while it writes it: this bounds the memory of a build of any size.
SHARD_BYTES = 64_000_000


def divide(
    items: Iterable[tuple[Item, int]],
    *,
    key: Callable[[Item], str],
    shard_bytes: int = SHARD_BYTES,
) -> list[list[Item]]:
    """Shuffles items and cuts them into shards.

    The order follows the hashes of their keys: it mixes albums, and is the same in every build.

    Args:
      items: pairs of an item and the size of its image in bytes.
      key: item -> its unique name in the dataset.
      shard_bytes: largest size of a shard; only a single image may exceed it.

    Returns:
      Shards in order; none for no items.
    """
    mixed = sorted(items, key=lambda sized: hashlib.md5(key(sized[0]).encode()).digest())
    shards: list[list[Item]] = []
    room = 0
    for item, size in mixed:
        if not shards or size > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(item)
        room -= size
    return shards
