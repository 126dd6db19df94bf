"""From stored bytes to host batches: decoding everything once, or streaming through grain."""

import dataclasses
import functools
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ageflax.data import images
from ageflax.data.dataset import Faces, StoredDataset, joined, table


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How stored bytes become pixels.

    Attributes:
      size: side in pixels of the square result.
      interpolation: a key of images.INTERPOLATIONS.
    """

    size: int
    interpolation: str

    def __call__(self, content: bytes, out: np.ndarray | None = None) -> np.ndarray:
        """uint8[size, size, 3], RGB, written to `out` where given; raises images.BadImageError."""
        return images.square(content, self.size, interpolation=self.interpolation, out=out)


@dataclasses.dataclass(frozen=True)
class LoadedFaces:
    """A dataset read once from end to end.

    Attributes:
      faces: the labels.
      pixels: uint8[n, size, size, 3] RGB, or None where only labels were asked for.
      unreadable: row -> reason, for images that no longer decode; their pixels are zero.
    """

    faces: Faces
    pixels: np.ndarray | None
    unreadable: dict[int, str]


def _threads() -> int:
    return os.cpu_count() or 1


def load(
    dataset: StoredDataset,
    decoding: Decoding | None,
    *,
    wanted: np.ndarray | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> LoadedFaces:
    """Reads every label, and with `decoding` every image, on all cores.

    Pillow and OpenCV release the GIL, so threads scale and nothing is pickled.

    Args:
      dataset: what to read.
      decoding: None reads labels only.
      wanted: bool[n], images to decode; the pixels of others stay zero, and take no memory. Every
        one where not given.
      progress: called with the number of faces each finished piece held.
    """
    count = len(dataset)
    pixels = None
    if decoding is not None:
        pixels = np.zeros((count, decoding.size, decoding.size, 3), np.uint8)
    unreadable: dict[int, str] = {}

    def read(rows: range) -> Faces:
        examples = dataset.examples(rows)
        for row, example in zip(rows, examples, strict=True):
            if decoding is not None and pixels is not None and (wanted is None or wanted[row]):
                try:
                    decoding(example["image"], pixels[row])
                except images.BadImageError as error:
                    unreadable[row] = error.reason
        return table(examples, [dataset.fold_of(row) for row in rows])

    parts = []
    with ThreadPoolExecutor(_threads()) as pool:
        for part in pool.map(read, dataset.chunks()):
            parts.append(part)
            progress(len(part))
    return LoadedFaces(
        faces=joined(parts), pixels=pixels, unreadable=dict(sorted(unreadable.items()))
    )


@dataclasses.dataclass(frozen=True)
class StoredPixels:
    """Decodes rows when they are asked for; pickles, so that worker processes can do it."""

    dataset: StoredDataset
    decoding: Decoding

    def __call__(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels uint8[b, size, size, 3], and bool[b], False where an image does not decode."""
        size = self.decoding.size
        pixels = np.zeros((len(rows), size, size, 3), np.uint8)
        readable = np.ones(len(rows), bool)
        for k, example in enumerate(self.dataset.examples(rows)):
            try:
                self.decoding(example["image"], pixels[k])
            except images.BadImageError:
                readable[k] = False
        return pixels, readable


@functools.cache
def _end_with_parent() -> None:
    """Ends this worker when who started it is gone, kill -9 included; grain's would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


@dataclasses.dataclass(frozen=True)
class _InWorker:
    """Makes elements in a worker process."""

    load_step: Callable[[int], Any]

    def __call__(self, step: int) -> Any:
        _end_with_parent()
        return self.load_step(step)


def stream(
    load_step: Callable[[int], Any], start: int, stop: int, *, workers: int, ahead: int = 4
) -> Iterator[Any]:
    """Elements of steps start..stop-1, in order, made ahead of their use.

    Args:
      load_step: makes one step's element from the step's number; must pickle if `workers`.
      start: first step; a resumed run starts where it stopped and sees what it would have seen.
      stop: one past the last.
      workers: processes to make elements in; 0 makes them in threads of this process.
      ahead: elements made ahead (a worker, or in all threads).
    """
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads its own flags, and refuses to before parsing

    if workers:
        load_step = _InWorker(load_step)
    steps = grain.MapDataset.range(start, stop).map(load_step)
    threads = 1 if workers else max(_threads(), 2)
    elements = steps.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(ahead, threads))
    )
    if workers:
        elements = elements.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=ahead)
        )
    return iter(elements)
