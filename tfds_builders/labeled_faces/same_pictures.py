"""Which photographs are one picture, saved twice: so they show one person, named or not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ageflax.data import images
from ageflax.data.washing import near_duplicates
from ageflax.data.washing.report import Report
from ageflax.errors import InputError

from .rows import Face

# Larger groups are no copies of one photograph but pictures that are all alike, such as drawings or the
# frames of a film. Taken for one person they would all be in one fold.
MOST_COPIES = 5


class _Sets:
    """Numbers that belong together: a union-find."""

    def __init__(self, count: int):
        self._parents = list(range(count))

    def root(self, member: int) -> int:
        while self._parents[member] != member:
            self._parents[member] = self._parents[self._parents[member]]
            member = self._parents[member]
        return member

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self.root(first), self.root(second)))
        self._parents[high] = low


def find(faces: Sequence[Face], report: Report, folder: Path) -> tuple[list[list[Face]], str]:
    """Groups of faces that show one picture, identical or nearly so.

    Only faces without a subject are compared, with all others: where everybody has a name there is
    nothing to learn.

    Args:
      faces: those that the report keeps, in its order.
      report: of washing them.
      folder: where their paths start.

    Returns:
      The groups, each in the order of `faces`, and a line to tell the user, "" for none.
    """
    number = {face.path: k for k, face in enumerate(faces)}
    sets = _Sets(len(faces))
    for group in report.identical:
        first, *others = (number[record.key] for record in group.records)
        for other in others:
            sets.join(first, other)
    notice = ""
    if not all(face.subject for face in faces):
        try:
            _join_alike(faces, report, folder, sets)
        except InputError as error:  # a thousand frames of one film, say
            notice = f"notice: pictures that are alike are not taken for one person: {error}"
    members: dict[int, list[Face]] = {}
    for k, face in enumerate(faces):
        members.setdefault(sets.root(k), []).append(face)
    groups = [group for group in members.values() if len(group) > 1]
    copies = [group for group in groups if len(group) <= MOST_COPIES]
    if len(copies) < len(groups):
        largest = max(len(group) for group in groups)
        notice = (
            f"notice: {largest:,} pictures are alike; groups of more than {MOST_COPIES} are not taken "
            "for one person, so give them subjects where they are"
        )
    return copies, notice


def _join_alike(faces: Sequence[Face], report: Report, folder: Path, sets: _Sets) -> None:
    # Of identical pictures one is compared with others.
    rows = [k for k in range(len(faces)) if sets.root(k) == k]
    # Two faces with subjects are not compared: all of them are in group 0.
    nameless = np.array([0 if faces[k].subject else 1 + k for k in rows])

    def picture(k: int) -> np.ndarray:
        return images.decode(images.read(folder / faces[rows[k]].path))

    hashes = np.array([report.hashes[k] for k in rows], np.uint64)
    for pair in near_duplicates.alike(hashes, picture, groups=[nameless]):
        sets.join(rows[pair.first], rows[pair.second])
