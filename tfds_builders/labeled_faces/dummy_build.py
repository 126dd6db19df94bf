"""Helpers of this folder's tests: drawing photographs, writing labels.csv, building, reading."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.built_dataset import builds

from .labeled_faces_dataset_builder import Builder

ROWS = (
    "path,age,gender,subject",
    "a.png,26,female,Ann",
    "b.png,31.5,m,Bob",
    "c.png,,F,Cid",
    "d.png,70,Male,Dan",
    "e.png,4,,Eve",
    "f.png,27,f,Ann",
)


def draw(seed: int, side: int = 8) -> np.ndarray:
    """uint8[side, side, 3], another picture for every seed."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def lay_out(folder: Path, rows: Iterable[str] = ROWS) -> Path:
    """Writes labels.csv and a small PNG for each of the paths a.png to h.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate("abcdefgh"):
        (folder / f"{name}.png").write_bytes(encode(Image.fromarray(draw(seed))))
    (folder / "labels.csv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return folder


build = builds(Builder)
