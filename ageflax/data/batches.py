"""Sources of batches: faces on the devices, in host memory, or decoded from disk as needed (streamed).

With each of them, a step sees the same faces in the same order and augments them by the same code.

With several hosts, each gathers or decodes only its own devices' rows of a batch. Every pass is shuffled
anew, and any face may come to any host: "host" keeps the whole decoded dataset in each one's memory,
"device" on each device; "stream" reads from disk as needed.
"""

import abc
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Num, UInt8

from ageflax.arrays import AnyArray
from ageflax.data.order import ShuffledRows
from ageflax.data.stream import stream
from ageflax.errors import InputError
from ageflax.runtime import hosts
from ageflax.runtime.mesh import batched, own_share, put, replicated, shard_batch

Labels = dict[str, np.ndarray]
# Rows -> uint8[b, size, size, 3] (or features), and bool[b], False where an image does not decode.
Pixels = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@struct.dataclass
class Batch:
    """Decoded faces with their labels; the step augments them.

    Attributes:
      images: RGB as decoded, before crop and mean; or features of each view, from a frozen trunk.
      labels: class index per task, UNKNOWN (-1) if a face has none; for "years" the age, NaN if unknown.
      mask: False for padding and for images that do not decode, which count for nothing.
    """

    images: UInt8[AnyArray, "b h w 3"] | Float[AnyArray, "b views features"]
    labels: Mapping[str, Num[AnyArray, " b"]]
    mask: Bool[AnyArray, " b"]


class Batches(abc.ABC):
    """A source of batches on the mesh.

    Attributes:
      name: "device", "host" or "stream".
      labels: labels of all faces per task.
    """

    name: str
    labels: Labels

    @abc.abstractmethod
    def train_inputs(
        self, order: ShuffledRows, pieces: Sequence[range], batch_size: int
    ) -> Iterator[tuple[Any, ...]]:
        """Yields the train step's arguments after the state, for each piece of the steps.

        Args:
          order: order of faces.
          pieces: consecutive stretches of steps, one dispatch each; of one step each, unless the faces
            lie on the devices.
          batch_size: faces per step.
        """

    @abc.abstractmethod
    def eval_batches(self, rows: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """Yields every row once, in order; the last batch is padded with masked rows."""

    @abc.abstractmethod
    def _images(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yields uint8[b, size, size, 3] pieces of the rows whose image decodes."""

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """Mean image of some rows, float32[size, size, 3], RGB.

        Computed from integer sums: exactly the same in any order and over any number of hosts.
        """
        total, count = np.zeros((), np.uint64), np.zeros(1, np.uint64)
        for images in self._images(_own_part(rows)):
            total = total + images.sum(0, dtype=np.uint64)
            count += np.uint64(len(images))
        return (hosts.total(total) / hosts.total(count)).astype(np.float32)

    def std(self, rows: np.ndarray) -> np.ndarray:
        """Standard deviation of each channel over all pixels of some rows, float32[1, 1, 3], RGB."""
        total, squares, count = (np.zeros(size, np.uint64) for size in (3, 3, 1))
        for images in self._images(_own_part(rows)):
            pixels = images.reshape(-1, 3).astype(np.uint32)
            total += pixels.sum(0, dtype=np.uint64)
            squares += np.square(pixels).sum(0, dtype=np.uint64)
            count += np.uint64(len(pixels))
        total, squares, count = (hosts.total(value) for value in (total, squares, count))
        variance = squares / count - np.square(total / count)
        return np.sqrt(variance).astype(np.float32).reshape(1, 1, 3)


def choose(name: str, *, pixel_bytes: int, share: float, mesh: Mesh) -> str:
    """Resolves "auto": on the devices if the faces fit, else in host memory, else streamed.

    Args:
      name: data.placement; anything but "auto" is returned as is.
      pixel_bytes: size of the whole decoded dataset.
      share: largest share of a memory to fill.
      mesh: devices, each of which would hold a copy.
    """
    if name != "auto":
        return name
    statistics = mesh.local_devices[0].memory_stats()
    # CPUs report no memory: theirs is the host's, where a copy gains nothing.
    if statistics and pixel_bytes <= share * statistics.get("bytes_limit", 0):
        return "device"
    host_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return "host" if pixel_bytes <= share * host_bytes else "stream"


def padded(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Repeats rows up to `size`; also gives bool[size], False where repeated."""
    mask = np.arange(size) < len(rows)
    return np.resize(rows, size), mask


def _own_part(rows: np.ndarray) -> np.ndarray:
    """This process's part of rows that all processes read together; never empty."""
    part = rows[jax.process_index() :: jax.process_count()]
    if not len(part):
        raise InputError(f"{len(rows)} training faces are fewer than the hosts; use fewer hosts")
    return part


def _ends(pieces: Sequence[range]) -> tuple[int, int]:
    """First step, and one past the last, of pieces of one step each."""
    if any(len(piece) != 1 for piece in pieces):
        raise ValueError("pieces: expected one step each, unless the faces lie on the devices")
    return (pieces[0].start, pieces[-1].stop) if pieces else (0, 0)


def _eval_pieces(rows: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(rows), batch_size):
        yield padded(rows[start : start + batch_size], batch_size)


@dataclasses.dataclass(frozen=True)
class _Loader:
    """Makes the batch of a step: this host's rows of it. Pickles into worker processes.

    Attributes:
      pixels: pixels of rows.
      labels: labels of all faces per task.
      rows: order of training, or rows to evaluate.
      batch_size: faces per step, over all hosts.
      own: this host's part of a batch.
    """

    pixels: Pixels
    labels: Labels
    rows: ShuffledRows | np.ndarray
    batch_size: int
    own: slice

    def __call__(self, step: int) -> Batch:
        size = self.batch_size
        if isinstance(self.rows, ShuffledRows):
            rows, mask = self.rows.batch(step, size), np.ones(size, bool)
        else:
            rows, mask = padded(self.rows[step * size : (step + 1) * size], size)
        rows, mask = rows[self.own], mask[self.own]
        images, readable = self.pixels(rows)
        labels = {task: values[rows] for task, values in self.labels.items()}
        return Batch(images=images, labels=labels, mask=mask & readable)


class _LoadedBatches(Batches):
    """Batches made on the host, ahead of their step, and sent to the devices; see StreamedBatches.

    `eval_workers` of None makes evaluation batches in the calling thread.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: Labels,
        mesh: Mesh,
        *,
        workers: int,
        eval_workers: int | None = 0,
    ):
        self._pixels, self.labels, self._mesh = pixels, labels, mesh
        self._workers, self._eval_workers = workers, eval_workers

    def train_inputs(
        self, order: ShuffledRows, pieces: Sequence[range], batch_size: int
    ) -> Iterator[tuple[Batch]]:
        """See Batches."""
        own = own_share(batch_size, self._mesh)
        load = _Loader(self._pixels, self.labels, order, batch_size, own)
        for batch in stream(load, *_ends(pieces), workers=self._workers):
            yield (shard_batch(batch, self._mesh, batch_size),)

    def _pieces(self, rows: np.ndarray, batch_size: int, own: slice) -> Iterator[Batch]:
        load = _Loader(self._pixels, self.labels, rows, batch_size, own)
        count = -(-len(rows) // batch_size)
        if self._eval_workers is None:
            return map(load, range(count))
        return stream(load, 0, count, workers=self._eval_workers)

    def eval_batches(self, rows: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """See Batches."""
        for batch in self._pieces(rows, batch_size, own_share(batch_size, self._mesh)):
            yield shard_batch(batch, self._mesh, batch_size)

    def _images(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        pieces = self._pieces(rows, 64, slice(0, 64))
        return (np.asarray(batch.images)[batch.mask] for batch in pieces)


class HostBatches(_LoadedBatches):
    """Decoded faces in host memory; each step's batch is gathered and sent.

    Args:
      pixels: uint8[n, size, size, 3]; or features of a frozen trunk, float32[n, views, f].
      labels: int32[n] per task, float32[n] for "years".
      mesh: devices to send batches to.
    """

    name = "host"

    def __init__(self, pixels: np.ndarray, labels: Labels, mesh: Mesh):
        def gathered(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return pixels[rows], np.ones(len(rows), bool)

        super().__init__(gathered, labels, mesh, workers=0, eval_workers=None)


class StreamedBatches(_LoadedBatches):
    """Faces decoded when their step comes, by threads or worker processes.

    An image that no longer decodes becomes a masked row, which counts for nothing and is reported.

    Args:
      pixels: decoder of rows, such as reading.StoredPixels.
      labels: int32[n] per task, float32[n] for "years".
      mesh: devices to send batches to.
      workers: number of processes that decode training batches; 0 for threads.
      eval_workers: likewise for evaluation. Starting processes takes longer than most evaluations, so
        validation during training uses threads.
    """

    name = "stream"


def make_gather(mesh: Mesh) -> Callable[[Batch, AnyArray, AnyArray], Batch]:
    """Jits (faces, rows, mask) -> the batch of some rows, from faces on the devices."""

    def gather(faces: Batch, rows: Int[Array, " b"], mask: Bool[Array, " b"]) -> Batch:
        return jax.tree.map(lambda leaf: leaf[rows], faces).replace(mask=mask)

    split = batched(mesh)
    return jax.jit(gather, in_shardings=(replicated(mesh), split, split), out_shardings=split)


def make_pixel_sum(mesh: Mesh) -> Callable[[AnyArray, AnyArray, AnyArray], jax.Array]:
    """Jits (images, rows, mask) -> uint32[h, w, 3], the sum of some rows of images on the devices."""

    def pixel_sum(
        images: UInt8[Array, "n h w 3"], rows: Int[Array, " b"], mask: Bool[Array, " b"]
    ) -> jax.Array:
        counted = jnp.where(mask[:, None, None, None], images[rows], jnp.uint8(0))
        return counted.sum(0, dtype=jnp.uint32)

    whole = replicated(mesh)
    return jax.jit(pixel_sum, in_shardings=whole, out_shardings=whole)


# Images summed at once on a device; their sums stay below 2^32.
_SUMMED = 4096


class DeviceBatches(Batches):
    """Decoded faces on every device, sent once; a step receives row numbers only.

    Args:
      pixels: uint8[n, size, size, 3].
      labels: int32[n] per task, float32[n] for "years".
      mesh: devices, each of which gets a copy.
    """

    name = "device"

    def __init__(self, pixels: np.ndarray, labels: Labels, mesh: Mesh):
        self._host, self._mesh, self.labels = HostBatches(pixels, labels, mesh), mesh, labels
        everything = Batch(images=pixels, labels=labels, mask=np.ones(len(pixels), bool))
        self._faces = put(everything, replicated(mesh))
        self._gather = make_gather(mesh)
        self._sum = make_pixel_sum(mesh)

    def train_inputs(
        self, order: ShuffledRows, pieces: Sequence[range], batch_size: int
    ) -> Iterator[tuple[Batch, jax.Array]]:
        """Yields the resident faces and the rows of a piece's steps, int32[steps, batch_size]."""
        for piece in pieces:
            rows = np.stack([order.batch(step, batch_size) for step in piece]).astype(np.int32)
            yield self._faces, put(rows, batched(self._mesh, axis=1))

    def eval_batches(self, rows: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """See Batches; the faces are gathered on the devices."""
        split = batched(self._mesh)
        for piece, mask in _eval_pieces(rows, batch_size):
            yield self._gather(self._faces, *put((piece.astype(np.int32), mask), split))

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """See Batches; summed on the devices, with exactly the same result."""
        total = np.zeros((), np.uint64)
        for piece, mask in _eval_pieces(rows, min(len(rows), _SUMMED)):
            total = total + np.asarray(self._sum(self._faces.images, piece.astype(np.int32), mask))
        return (total / len(rows)).astype(np.float32)

    def _images(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        return self._host._images(rows)
