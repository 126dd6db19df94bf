"""Verification of exported files: their outputs are compared with JAX's before they are written."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ageflax.bundle import onnx
from ageflax.data.images import BadImageError
from ageflax.errors import InputError, RunError
from ageflax.export.serving import Serving

QUICK, THOROUGH = (1, 7), (1, 7, 64)
# Largest difference in float32: absolute up to 1 (probabilities), relative above (years).
TOLERANCE = 1e-4
_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
_LARGEST = 64 << 20  # bytes of an image file

Answer = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Faces:
    """Faces to verify a file on.

    Attributes:
      images: uint8[n, resize, resize, 3], RGB.
      kind: description for the user.
    """

    images: np.ndarray
    kind: str


def random_faces(side: int, count: int) -> Faces:
    """Noise of several grain sizes, dark and bright; the same in every call."""
    rng = np.random.default_rng(0)
    total = np.zeros((count, side, side, 3), np.float32)
    for grain in (side, 16, 4, 1):
        cells = -(-side // grain)
        coarse = rng.uniform(-64.0, 64.0, (count, cells, cells, 3)).astype(np.float32)
        total += coarse.repeat(grain, 1).repeat(grain, 2)[:, :side, :side]
    return Faces(np.clip(total + 128.0, 0, 255).astype(np.uint8), f"{count} random images")


def read_faces(serving: Serving, path: Path, count: int) -> Faces:
    """Reads photographs of faces, prepared as in training.

    Args:
      serving: model that they are prepared for.
      path: an image, or a folder of images.
      count: number of faces; the first of a folder, repeated if there are fewer.

    Raises:
      InputError: there is no image, or one cannot be read.
    """
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
        paths = found[:count]
    elif path.is_file():
        paths = [path]
    else:
        raise InputError(f"--verify={path}: no such file or folder")
    if not paths:
        raise InputError(f"--verify={path}: no image in it ({', '.join(sorted(_SUFFIXES))})")
    faces = []
    for one in paths:
        if one.stat().st_size > _LARGEST:
            raise InputError(f"--verify: {one}: larger than {_LARGEST >> 20} MB")
        try:
            faces.append(serving.model.prepare(one.read_bytes()))
        except BadImageError as error:
            raise InputError(f"--verify: {one}: {error}") from error
    images = np.stack([faces[k % len(faces)] for k in range(count)])
    named = "1 image" if len(faces) == 1 else f"{len(faces)} images"
    return Faces(images, f"{named} of {path.resolve().name}")  # the whole path may name a user


@dataclasses.dataclass(frozen=True)
class Differences:
    """Differences between an exported file's outputs and JAX's.

    Attributes:
      faces: description of the faces.
      largest: largest difference per output and batch size.
    """

    faces: str
    largest: dict[str, dict[int, float]]

    @property
    def overall(self) -> dict[str, float]:
        """Largest difference per output over all batches."""
        return {name: float(np.max(list(each.values()))) for name, each in self.largest.items()}

    def lines(self) -> list[str]:
        """Lines of text for the user."""
        *first, last = map(str, next(iter(self.largest.values())))
        batches = f"{', '.join(first)} and {last}" if first else last
        width = max(map(len, self.largest))
        lines = [f"largest difference from JAX in float32, {self.faces}, in batches of {batches}:"]
        for name, each in self.largest.items():
            unit = " years" if name == onnx.AGE else ""
            values = "  ".join(f"{value:.2g}" for value in each.values())
            lines.append(f"  {name:{width}}  {values}{unit}")
        return lines


def references(serving: Serving, faces: np.ndarray) -> dict[str, np.ndarray]:
    """The bundle's own outputs, in batches of one size, for which it is compiled once."""
    model = serving.model
    size = min(len(faces), 8)
    found = []
    for start in range(0, len(faces), size):
        part = faces[start : start + size]
        missing = size - len(part)
        padded = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])
        found.append(serving.expected(model(padded, crops=serving.crops)))
    names = found[0]
    return {name: np.concatenate([each[name] for each in found])[: len(faces)] for name in names}


def compare(
    serving: Serving, answer: Answer, faces: Faces, sizes: Sequence[int]
) -> tuple[Differences, bool]:
    """Gives the differences from JAX, and True if all are within TOLERANCE.

    Args:
      serving: exported model.
      answer: function from faces in the layout of the input to the file's outputs by name.
      faces: faces to compare on, at least as many as the largest batch.
      sizes: batch sizes.

    Raises:
      RunError: an output has a wrong shape or is not finite.
    """
    expected, given = references(serving, faces.images), serving.given(faces.images)
    largest: dict[str, dict[int, float]] = {name: {} for name in expected}
    within = True
    for size in sizes:
        found = answer(given[:size])
        for name, values in expected.items():
            wanted, here = values[:size], found[name]
            if here.shape != wanted.shape or not np.isfinite(here).all():
                wrong = f"has shape {here.shape}, expected {wanted.shape}"
                why = "is not finite" if here.shape == wanted.shape else wrong
                raise RunError(f"output {name} of {size} faces {why}; nothing was written")
            away = np.abs(here.astype(np.float64) - wanted)
            largest[name][size] = float(away.max())
            within &= bool((away <= TOLERANCE * np.maximum(1.0, np.abs(wanted))).all())
    return Differences(faces.kind, largest), within
