"""Every image is decoded once before a dataset is written, so that its flaws are known first."""

import collections
import csv
import dataclasses
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from ageflax.data import images
from ageflax.errors import InputError

from . import photographs as photographs_lib
from .fold_files import FOLDS, Face

LISTING = "unreadable.csv"
# Above this share of unusable images the build says so loudly.
TOLERATED = 0.01
# Images in flight. Rows are all that is kept, so memory does not grow with the dataset.
_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Survey:
    """Which faces have a usable image.

    Attributes:
      usable: faces to write, in their order.
      sizes: bytes that each of their images takes.
      rejected: the others, each with its reason out of images.REASONS.
    """

    usable: list[Face]
    sizes: list[int]
    rejected: list[tuple[Face, str]]

    @property
    def counts(self) -> dict[str, int]:
        """Rejected images by reason, in the order of images.REASONS; only reasons that occur."""
        found = collections.Counter(reason for _, reason in self.rejected)
        return {reason: found[reason] for reason in images.REASONS if found[reason]}

    @property
    def share_rejected(self) -> float:
        """Part of all images, from 0 to 1."""
        return len(self.rejected) / (len(self.usable) + len(self.rejected))


def _check(face: Face, photographs: photographs_lib.Photographs) -> tuple[int, str]:
    """Size in bytes of a good image and "", or 0 and why it cannot be used."""
    try:
        content = photographs.read(face)
        images.decode(content)
    except images.BadImageError as error:
        return 0, error.reason
    return len(content), ""


def survey(faces: Sequence[Face], photographs: photographs_lib.Photographs) -> Survey:
    """Decodes every image in threads (Pillow lets others run meanwhile)."""
    usable, sizes, rejected = [], [], []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(
            total=len(faces), desc="Checking images", unit=" images", leave=False, disable=None
        ) as progress,
    ):
        for start in range(0, len(faces), _BATCH):
            batch = faces[start : start + _BATCH]
            checks = pool.map(_check, batch, itertools.repeat(photographs))
            for face, (size, fault) in zip(batch, checks, strict=True):
                if fault:
                    rejected.append((face, fault))
                else:
                    usable.append(face)
                    sizes.append(size)
                progress.update()
    return Survey(usable, sizes, rejected)


def _by_reason(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def require_images(result: Survey, *, manual_dir: Path, config: str) -> None:
    """Refuses a dataset without images, or with a fold that has none.

    Raises:
      InputError: says what was looked for and where.
    """
    total = len(result.usable) + len(result.rejected)
    if result.counts.get("absent", 0) == total:
        example = photographs_lib.relative_path(result.rejected[0][0], config)
        raise InputError(
            f"none of the {total:,} images of the fold files was found: looked in the folder "
            f"{manual_dir / config} and the archive {manual_dir / config}.tar.gz (the folder wins "
            f"if both are there), for files such as {example}"
        )
    if not result.usable:
        raise InputError(
            f"none of the {total:,} images in {manual_dir} can be used: {_by_reason(result.counts)}"
        )
    populated = {face.fold for face in result.usable}
    for fold in FOLDS:
        if fold not in populated:
            raise InputError(
                f"none of the images of fold {fold} can be used; of all {total:,} images in "
                f"{manual_dir}: {_by_reason(result.counts)}"
            )


def write_listing(path: Path, rejected: Sequence[tuple[Face, str]], *, config: str) -> None:
    """Lists the images left out as CSV; with none, the header stands alone."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "fold", "reason", "subject", "age_label", "gender"))
        for face, reason in rejected:
            row = photographs_lib.relative_path(face, config), face.fold, reason
            writer.writerow((*row, face.face_id, face.age_label, face.gender))


def warning(result: Survey, *, listing: Path) -> str:
    """The lines to print where too many images are left out; "" where not."""
    if result.share_rejected <= TOLERATED:
        return ""
    total = len(result.usable) + len(result.rejected)
    return (
        f"WARNING: {len(result.rejected):,} of {total:,} images ({result.share_rejected:.1%}) "
        f"cannot be used and are left out:\n"
        f"WARNING: {_by_reason(result.counts)}.\n"
        f"WARNING: Figures from this dataset are not Adience's. Each image is listed in {listing}"
    )
