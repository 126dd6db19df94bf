"""Decodes stored bytes: a whole dataset at once, or the rows of a batch when they are needed."""

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ageflax.data import images
from ageflax.data.dataset import Faces, StoredDataset, joined, table


@dataclasses.dataclass(frozen=True)
class Decoding:
    """Turns stored bytes into pixels.

    Attributes:
      size: side in pixels of the square result.
      interpolation: a key of images.INTERPOLATIONS.
    """

    size: int
    interpolation: str

    def __call__(self, content: bytes, out: np.ndarray | None = None) -> np.ndarray:
        """Decodes to uint8[size, size, 3] RGB, into `out` if given; raises images.BadImageError."""
        return images.square(content, self.size, interpolation=self.interpolation, out=out)


@dataclasses.dataclass(frozen=True)
class LoadedFaces:
    """A whole dataset in memory.

    Attributes:
      faces: labels.
      pixels: uint8[n, size, size, 3] RGB, or None if only labels were read.
      unreadable: row -> reason, for images that no longer decode; their pixels are zero.
    """

    faces: Faces
    pixels: np.ndarray | None
    unreadable: dict[int, str]


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
      dataset: dataset to read.
      decoding: None reads labels only.
      wanted: bool[n], images to decode, by default all; pixels of the others stay zero and take no
        memory.
      progress: called with the number of faces in each finished chunk.
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
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(read, dataset.chunks()):
            parts.append(part)
            progress(len(part))
    return LoadedFaces(
        faces=joined(parts), pixels=pixels, unreadable=dict(sorted(unreadable.items()))
    )


@dataclasses.dataclass(frozen=True)
class StoredPixels:
    """Decodes rows on request; pickles, for use in worker processes."""

    dataset: StoredDataset
    decoding: Decoding

    def __call__(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gives uint8[b, size, size, 3] and bool[b], False where an image does not decode."""
        size = self.decoding.size
        pixels = np.zeros((len(rows), size, size, 3), np.uint8)
        readable = np.ones(len(rows), bool)
        for k, example in enumerate(self.dataset.examples(rows)):
            try:
                self.decoding(example["image"], pixels[k])
            except images.BadImageError:
                readable[k] = False
        return pixels, readable
