"""Where decoded faces lie during training: on the devices, in host memory, or nowhere (streamed).

Whichever it is, a step sees the same faces in the same order and augments them by the same code.

Of several hosts, each gathers or decodes only the rows of a batch that its own devices take. Since every
pass is shuffled anew, any face may come to any host: "host" keeps the whole decoded set in each one's
memory, "device" on each device; "stream" reads from the disk what it needs.
"""

import abc
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
from ageflax.data.reading import StoredPixels
from ageflax.data.stream import stream
from ageflax.errors import InputError
from ageflax.runtime import hosts
from ageflax.runtime.mesh import batched, own_share, put, replicated, shard_batch

Labels = dict[str, np.ndarray]


@struct.dataclass
class Batch:
    """Faces at the decoded size, with their labels. Augmentation happens inside the step.

    Attributes:
      images: RGB as decoded, before crop and mean; or a frozen trunk's features of each of a face's
        views.
      labels: class index per task, UNKNOWN (-1) where a face has none; of "years" the age itself, NaN
        where unknown.
      mask: False for padding and for images that could not be decoded; such rows count for nothing.
    """

    images: UInt8[AnyArray, "b h w 3"] | Float[AnyArray, "b views features"]
    labels: Mapping[str, Num[AnyArray, " b"]]
    mask: Bool[AnyArray, " b"]


class Batches(abc.ABC):
    """A source of batches on the mesh.

    Attributes:
      name: "device", "host" or "stream".
      labels: of every face, per task.
    """

    name: str
    labels: Labels

    @abc.abstractmethod
    def train_inputs(
        self, order: ShuffledRows, pieces: Sequence[range], batch_size: int
    ) -> Iterator[tuple[Any, ...]]:
        """What the train step takes after the state, for each piece of the steps.

        Args:
          order: which faces a step sees.
          pieces: consecutive stretches of steps, each taken in one dispatch; of one step each, but
            where faces lie on the devices.
          batch_size: faces a step.
        """

    @abc.abstractmethod
    def eval_batches(self, rows: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """Every row once, in order; the last batch is padded with masked rows."""

    @abc.abstractmethod
    def _images(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """uint8[b, size, size, 3] pieces of the rows whose image can be read."""

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """float32[size, size, 3], the mean image of some rows, RGB.

        From integer sums: the same to the last bit in any order, over any number of hosts.
        """
        total, count = np.zeros((), np.uint64), np.zeros(1, np.uint64)
        for images in self._images(_own_part(rows)):
            total = total + images.sum(0, dtype=np.uint64)
            count += np.uint64(len(images))
        return (hosts.total(total) / hosts.total(count)).astype(np.float32)

    def deviation(self, rows: np.ndarray) -> np.ndarray:
        """float32[1, 1, 3], standard deviation of each channel over all pixels of some rows, RGB."""
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
    """Resolves "auto": on the devices, else in host memory, else streamed.

    Args:
      name: the config's word; anything but "auto" is returned as it is.
      pixel_bytes: size of the whole decoded dataset.
      share: largest part of a memory that it may fill.
      mesh: every device of it would hold a copy.
    """
    if name != "auto":
        return name
    statistics = mesh.local_devices[0].memory_stats()
    # CPUs report no memory of their own: theirs is the host's, and a copy there gains nothing.
    if statistics and pixel_bytes <= share * statistics.get("bytes_limit", 0):
        return "device"
    host_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return "host" if pixel_bytes <= share * host_bytes else "stream"


def padded(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows repeated up to `size`, and bool[size], False where repeated."""
    mask = np.arange(size) < len(rows)
    return np.resize(rows, size), mask


def _own_part(rows: np.ndarray) -> np.ndarray:
    """What this process reads of rows that all of them read together; never nothing."""
    part = rows[jax.process_index() :: jax.process_count()]
    if not len(part):
        raise InputError(f"{len(rows)} training faces are fewer than the hosts")
    return part


def _ends(pieces: Sequence[range]) -> tuple[int, int]:
    """The steps that pieces of one step each are of."""
    if any(len(piece) != 1 for piece in pieces):
        raise ValueError("faces that do not lie on the devices come one step at a time")
    return (pieces[0].start, pieces[-1].stop) if pieces else (0, 0)


def _eval_pieces(rows: np.ndarray, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(rows), batch_size):
        yield padded(rows[start : start + batch_size], batch_size)


class HostBatches(Batches):
    """Decoded faces in host memory; each step's batch is gathered and sent.

    Args:
      pixels: uint8[n, size, size, 3]; or float32[n, views, f], features of a frozen trunk.
      labels: int32[n] per task, float32[n] of years.
      mesh: where batches go.
    """

    name = "host"

    def __init__(self, pixels: np.ndarray, labels: Labels, mesh: Mesh):
        self._pixels, self.labels, self._mesh = pixels, labels, mesh

    def _batch(self, rows: np.ndarray, mask: np.ndarray) -> Batch:
        labels = {task: values[rows] for task, values in self.labels.items()}
        return Batch(images=self._pixels[rows], labels=labels, mask=mask)

    def train_inputs(
        self, order: ShuffledRows, pieces: Sequence[range], batch_size: int
    ) -> Iterator[tuple[Batch]]:
        """Batches gathered by threads ahead of their step."""
        own = own_share(batch_size, self._mesh)
        mask = np.ones(own.stop - own.start, bool)

        def load_step(step: int) -> Batch:
            return self._batch(order.batch(step, batch_size)[own], mask)

        for batch in stream(load_step, *_ends(pieces), workers=0):
            yield (shard_batch(batch, self._mesh, batch_size),)

    def eval_batches(self, rows: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """See Batches."""
        own = own_share(batch_size, self._mesh)
        for piece, mask in _eval_pieces(rows, batch_size):
            yield shard_batch(self._batch(piece[own], mask[own]), self._mesh, batch_size)

    def _images(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        return (self._pixels[rows[k : k + 256]] for k in range(0, len(rows), 256))


def make_gather(mesh: Mesh) -> Callable[[Batch, AnyArray, AnyArray], Batch]:
    """(faces, rows, mask) -> the batch of some rows, from faces that lie on the devices."""

    def gather(faces: Batch, rows: Int[Array, " b"], mask: Bool[Array, " b"]) -> Batch:
        return jax.tree.map(lambda leaf: leaf[rows], faces).replace(mask=mask)

    split = batched(mesh)
    return jax.jit(gather, in_shardings=(replicated(mesh), split, split), out_shardings=split)


def make_pixel_sum(mesh: Mesh) -> Callable[[AnyArray, AnyArray, AnyArray], jax.Array]:
    """(images, rows, mask) -> uint32[h, w, 3], the sum of some rows of images on the devices."""

    def pixel_sum(
        images: UInt8[Array, "n h w 3"], rows: Int[Array, " b"], mask: Bool[Array, " b"]
    ) -> jax.Array:
        counted = jnp.where(mask[:, None, None, None], images[rows], jnp.uint8(0))
        return counted.sum(0, dtype=jnp.uint32)

    whole = replicated(mesh)
    return jax.jit(pixel_sum, in_shardings=whole, out_shardings=whole)


# Images whose pixels are summed at once on a device: of so many, sums stay below 2^32.
_SUMMED = 4096


class DeviceBatches(Batches):
    """Decoded faces on every device, sent once; a step is told row numbers only.

    Args:
      pixels: uint8[n, size, size, 3].
      labels: int32[n] per task.
      mesh: every device of it gets a copy.
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
        """The resident faces, and the rows of a piece's steps, int32[steps, batch_size]."""
        for piece in pieces:
            rows = np.stack([order.batch(step, batch_size) for step in piece]).astype(np.int32)
            yield self._faces, put(rows, batched(self._mesh, axis=1))

    def eval_batches(self, rows: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """See Batches; the faces are gathered on the devices, which are told row numbers only."""
        split = batched(self._mesh)
        for piece, mask in _eval_pieces(rows, batch_size):
            yield self._gather(self._faces, *put((piece.astype(np.int32), mask), split))

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """See Batches; summed where the faces lie, in whole numbers, to the same last bit."""
        total = np.zeros((), np.uint64)
        for piece, mask in _eval_pieces(rows, min(len(rows), _SUMMED)):
            total = total + np.asarray(self._sum(self._faces.images, piece.astype(np.int32), mask))
        return (total / len(rows)).astype(np.float32)

    def _images(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        return self._host._images(rows)


class _StreamedStep:
    """Makes one training batch; a class and not a closure, so that it pickles into workers."""

    def __init__(
        self,
        pixels: StoredPixels,
        labels: Labels,
        order: ShuffledRows,
        batch_size: int,
        own: slice,
    ):
        self._pixels, self._labels = pixels, labels
        self._order, self._batch_size, self._own = order, batch_size, own

    def __call__(self, step: int) -> Batch:
        rows = self._order.batch(step, self._batch_size)[self._own]
        images, readable = self._pixels(rows)
        labels = {task: values[rows] for task, values in self._labels.items()}
        return Batch(images=images, labels=labels, mask=readable)


class _StreamedPiece:
    """Makes one evaluation batch; pickles likewise."""

    def __init__(
        self, pixels: StoredPixels, labels: Labels, rows: np.ndarray, batch_size: int, own: slice
    ):
        self._pixels, self._labels = pixels, labels
        self._rows, self._batch_size, self._own = rows, batch_size, own

    def __call__(self, piece: int) -> Batch:
        start = piece * self._batch_size
        rows, mask = padded(self._rows[start : start + self._batch_size], self._batch_size)
        rows, mask = rows[self._own], mask[self._own]
        images, readable = self._pixels(rows)
        labels = {task: values[rows] for task, values in self._labels.items()}
        return Batch(images=images, labels=labels, mask=mask & readable)


class StreamedBatches(Batches):
    """Faces decoded when their step comes, by threads or by worker processes.

    An image that no longer decodes becomes a masked row: it counts for nothing, and is counted.

    Args:
      pixels: decodes rows.
      labels: int32[n] per task.
      mesh: where batches go.
      workers: processes to decode training batches in; 0 decodes in threads.
      eval_workers: likewise of evaluation batches. Starting processes costs more than most
        evaluations, so that validation during training keeps to threads.
    """

    name = "stream"

    def __init__(
        self,
        pixels: StoredPixels,
        labels: Labels,
        mesh: Mesh,
        *,
        workers: int,
        eval_workers: int = 0,
    ):
        self._pixels, self.labels, self._mesh = pixels, labels, mesh
        self._workers, self._eval_workers = workers, eval_workers

    def train_inputs(
        self, order: ShuffledRows, pieces: Sequence[range], batch_size: int
    ) -> Iterator[tuple[Batch]]:
        """Batches decoded ahead of their step."""
        own = own_share(batch_size, self._mesh)
        load_step = _StreamedStep(self._pixels, self.labels, order, batch_size, own)
        for batch in stream(load_step, *_ends(pieces), workers=self._workers):
            yield (shard_batch(batch, self._mesh, batch_size),)

    def _pieces(self, rows: np.ndarray, batch_size: int, own: slice) -> Iterator[Batch]:
        load_piece = _StreamedPiece(self._pixels, self.labels, rows, batch_size, own)
        return stream(load_piece, 0, -(-len(rows) // batch_size), workers=self._eval_workers)

    def eval_batches(self, rows: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """See Batches."""
        own = own_share(batch_size, self._mesh)
        for batch in self._pieces(rows, batch_size, own):
            yield shard_batch(batch, self._mesh, batch_size)

    def _images(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        pieces = self._pieces(rows, 64, slice(0, 64))
        return (np.asarray(batch.images)[batch.mask] for batch in pieces)
