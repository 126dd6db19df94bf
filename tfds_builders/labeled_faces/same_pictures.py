"""Finds photographs that are one picture, saved twice: they show one subject, named or not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ageflax.data import images
from ageflax.data.washing import near_duplicates
from ageflax.data.washing.report import Report
from ageflax.errors import InputError
from tfds_builders.subjects import Groups

from .rows import Face

# Larger groups are not copies of a photograph but pictures that are all alike, such as drawings or
# frames of a film. Taken for one subject, they would all be in one fold.
MOST_COPIES = 5


def find(faces: Sequence[Face], report: Report, folder: Path) -> tuple[list[list[Face]], str]:
    """Groups of faces on identical or nearly identical pictures.

    Only faces without a subject are compared with the others.

    Args:
      faces: faces kept by washing, in the report's order.
      report: report of washing.
      folder: parent of the faces' paths.

    Returns:
      The groups, each in the order of `faces`; and a notice for the user, or "".
    """
    number = {face.path: k for k, face in enumerate(faces)}
    sets = Groups[int](key=lambda k: k)
    for group in report.identical:
        first, *others = (number[record.key] for record in group.records)
        for other in others:
            sets.join(first, other)
    notice = ""
    if not all(face.subject for face in faces):
        try:
            _join_alike(faces, report, folder, sets)
        except InputError as error:  # a thousand frames of one film, say
            notice = f"notice: similar pictures are not taken for one subject: {error}"
    members: dict[int, list[Face]] = {}
    for k, face in enumerate(faces):
        members.setdefault(sets.find(k), []).append(face)
    groups = [group for group in members.values() if len(group) > 1]
    copies = [group for group in groups if len(group) <= MOST_COPIES]
    if len(copies) < len(groups):
        largest = max(len(group) for group in groups)
        notice = (
            f"notice: {largest:,} pictures are alike; groups of more than {MOST_COPIES} are not taken "
            "for one subject; name the subject in labels.csv if they are"
        )
    return copies, notice


def _join_alike(faces: Sequence[Face], report: Report, folder: Path, sets: Groups[int]) -> None:
    # One of identical pictures is compared with the others.
    rows = [k for k in range(len(faces)) if sets.find(k) == k]
    # Faces with subjects are not compared with each other: all of them are in group 0.
    nameless = np.array([0 if faces[k].subject else 1 + k for k in rows])

    def picture(k: int) -> np.ndarray:
        return images.decode(images.read(folder / faces[rows[k]].path))

    hashes = np.array([report.hashes[k] for k in rows], np.uint64)
    for pair in near_duplicates.alike(hashes, picture, groups=[nameless]):
        sets.join(rows[pair.first], rows[pair.second])
