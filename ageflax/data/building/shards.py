"""How the examples of a split are divided over files."""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")

# TFDS holds the examples of a shard in memory while it writes it, so this bounds what a build
# takes, however many images there are.
SHARD_BYTES = 64_000_000


def divide(
    items: Iterable[tuple[Item, int]],
    *,
    key: Callable[[Item], str],
    shard_bytes: int = SHARD_BYTES,
) -> list[list[Item]]:
    """Shuffles items and cuts them into shards.

    The order is that of the hashes of their keys: mixed, so that neighbours in a shard are not of
    one album, and the same in every build.

    Args:
      items: each with the size of its image in bytes.
      key: an item's own name in the dataset.
      shard_bytes: a shard is closed before it would grow larger; a single image may.

    Returns:
      The shards in order; none for no items.
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
