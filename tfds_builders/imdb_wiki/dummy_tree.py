"""Helpers of this folder's tests: small databases, and building them."""

import dataclasses
import io
import math
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from PIL import Image

from tests.support.built_dataset import builds

from .imdb_wiki_dataset_builder import Builder

# 1 July 1980 as MATLAB counts days.
BORN = 723363


@dataclasses.dataclass(frozen=True)
class Face:
    """A record of a .mat file; by default a woman of 29, who passes the usual rule."""

    path: str
    name: str = "Ada Lovelace"
    dob: float = BORN
    photo_taken: float = 2010
    gender: float = 0.0
    face_score: float = 3.0
    second_face_score: float = math.nan
    celeb_id: float = math.nan


def jpeg(seed: int, size: tuple[int, int] = (8, 8), *, black: bool = False) -> bytes:
    """A small image that differs for each seed, or an all-black one."""
    high = 1 if black else 256
    pixels = np.random.default_rng(seed).integers(0, high, (*size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def row(values: Iterable[Any], *, cells: bool = False) -> np.ndarray:
    """A row as in MATLAB, [1, n]."""
    listed = list(values)
    array = np.empty((1, len(listed)), object if cells else np.float64)
    array[0, :] = listed
    return array


def fields(faces: list[Face], database: str, celeb_names: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of the struct in a .mat file."""
    found: dict[str, Any] = {
        name: row(getattr(face, name) for face in faces)
        for name in ("dob", "photo_taken", "gender", "face_score", "second_face_score")
    }
    found["full_path"] = row((face.path for face in faces), cells=True)
    found["name"] = row((face.name for face in faces), cells=True)
    if database == "imdb":
        found["celeb_id"] = row(face.celeb_id for face in faces)
        found["celeb_names"] = row(celeb_names, cells=True)
    return found


def mat(content: dict[str, Any], database: str) -> bytes:
    """A .mat file with one struct."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {database: content})
    return buffer.getvalue()


def lay_out(
    manual_dir: Path, faces: list[Face], database: str = "wiki", celeb_names: Iterable[str] = ()
) -> Path:
    """Writes a database as in its archive, with distinct images; returns its folder."""
    folder = manual_dir / f"{database}_crop"
    folder.mkdir(parents=True)
    (folder / f"{database}.mat").write_bytes(mat(fields(faces, database, celeb_names), database))
    for number, face in enumerate(faces):
        path = folder / face.path
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(number + 1000 * (database == "imdb")))
    return folder


def pack(manual_dir: Path, database: str = "wiki") -> Path:
    """Replaces the folder with the archive."""
    folder, archive = manual_dir / f"{database}_crop", manual_dir / f"{database}_crop.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, folder.name)
    folder.rename(manual_dir.parent / f"{database}_as_it_was")
    return archive


build = builds(Builder)
