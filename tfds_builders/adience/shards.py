"""How a fold's examples are divided over files."""

import hashlib
from collections.abc import Iterable

from .fold_files import Face

# TFDS holds the examples of a shard in memory while it writes it, so this bounds what a build
# takes, however many images there are.
SHARD_BYTES = 64_000_000


def divide(
    faces: Iterable[tuple[Face, int]], *, shard_bytes: int = SHARD_BYTES
) -> list[list[Face]]:
    """Shuffles faces and cuts them into shards.

    The order is that of the hashes of their keys: mixed, so that neighbours in a shard are not of
    one album, and the same in every build.

    Args:
      faces: each with the size of its image in bytes.
      shard_bytes: a shard is closed before it would grow larger; a single image may.

    Returns:
      The shards in order; none for no faces.
    """
    mixed = sorted(faces, key=lambda sized: hashlib.md5(sized[0].key.encode()).digest())
    shards: list[list[Face]] = []
    room = 0
    for face, size in mixed:
        if not shards or size > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(face)
        room -= size
    return shards
