"""Decodes every image once before a dataset is written, so that faults are known first."""

import collections
import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ageflax.data import images
from ageflax.data.washing.report import write_csv
from ageflax.errors import InputError, one_line
from tfds_builders import common
from tfds_builders.subjects import FOLDS

from .fold_files import Face
from .photographs import relative_path

LISTING = "unreadable.csv"
# Images in memory at once; only rows are kept.
_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Survey:
    """Faces with and without a usable image.

    Attributes:
      usable: faces to write, in order.
      sizes: bytes of each of their images.
      rejected: the other faces, each with one of images.REASONS.
    """

    usable: list[Face]
    sizes: list[int]
    rejected: list[tuple[Face, str]]

    @property
    def counts(self) -> dict[str, int]:
        """Number of rejected images by reason, in the order of images.REASONS."""
        found = collections.Counter(reason for _, reason in self.rejected)
        return {reason: found[reason] for reason in images.REASONS if found[reason]}


def survey(faces: Sequence[Face], read: Callable[[Face], bytes]) -> Survey:
    """Decodes every image in threads; Pillow releases the interpreter's lock.

    Args:
      faces: faces to check.
      read: function that reads a face's image.
    """

    def check(face: Face) -> tuple[int, str]:
        """Size of a good image and "", or 0 and the reason why it cannot be used."""
        try:
            content = read(face)
            images.decode(content)
        except images.BadImageError as error:
            return 0, error.reason
        return len(content), ""

    usable, sizes, rejected = [], [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool, common.checking(len(faces)) as progress:
        for start in range(0, len(faces), _BATCH):
            batch = faces[start : start + _BATCH]
            for face, (size, fault) in zip(batch, pool.map(check, batch), strict=True):
                if fault:
                    rejected.append((face, fault))
                else:
                    usable.append(face)
                    sizes.append(size)
                progress.update()
    return Survey(usable, sizes, rejected)


def require_images(result: Survey, *, manual_dir: Path, config: str, other: str = "") -> None:
    """Refuses a dataset or a fold without images.

    Args:
      result: the survey.
      manual_dir: folder of the downloads.
      config: name of the images' folder.
      other: a file that is there instead, if all images are absent.

    Raises:
      InputError: names the places that were searched, and counts reasons.
    """
    total, counts = len(result.usable) + len(result.rejected), common.by_reason(result.counts)
    if result.counts.get("absent", 0) == total:
        example = relative_path(result.rejected[0][0], config)
        raise InputError(
            f"{manual_dir}: none of the {total:,} images of the fold files is there, neither in the"
            f" folder {config} nor in the archive {config}.tar.gz (the folder is read if both are"
            f" there); expected files such as {example}"
            f"{f', found {one_line(other, 200)}' if other else ''}"
        )
    populated = {face.fold for face in result.usable}
    if not populated:
        raise InputError(f"{manual_dir}: none of the {total:,} images can be used: {counts}")
    for fold in FOLDS:
        if fold not in populated:
            raise InputError(
                f"{manual_dir}: none of the images of fold {fold} can be used; of all {total:,}"
                f" images: {counts}"
            )


def write_listing(path: Path, rejected: Sequence[tuple[Face, str]], *, config: str) -> None:
    """Lists the rejected images as CSV; without any, writes only the header."""
    write_csv(
        path,
        ("path", "fold", "reason", "subject", "age_label", "gender"),
        (
            (
                relative_path(face, config),
                face.fold,
                reason,
                face.face_id,
                face.age_label,
                face.gender,
            )
            for face, reason in rejected
        ),
    )
