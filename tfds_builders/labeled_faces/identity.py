"""Subjects of labeled faces, and their folds."""

import collections
import dataclasses
from collections.abc import Iterable, Sequence

from ageflax.errors import InputError
from tfds_builders import subjects

from .rows import Face


def check_given_folds(faces: Iterable[Face]) -> None:
    """Refuses a subject in two folds.

    Raises:
      InputError: names the subject and both lines.
    """
    seen: dict[str, Face] = {}
    for face in faces:
        if face.fold is None or not face.subject:
            continue
        first = seen.setdefault(face.subject, face)
        if first.fold != face.fold:
            raise InputError(
                f"labels.csv, line {face.line}: subject {face.subject!r} is in fold {face.fold}, but "
                f"in fold {first.fold} in line {first.line}; a test fold would leak into training"
            )


def _namesakes(same_pictures: Iterable[Sequence[Face]]) -> dict[str, str]:
    """Subjects by path, for faces without a fold whose picture occurs more than once."""
    names = {}
    for group in same_pictures:
        faces = sorted(group, key=lambda face: face.path)  # the same in any order of rows
        settled = next((face for face in faces if face.fold is not None), faces[0])
        known = next((face for face in faces if face.subject), settled)
        name = known.subject or _own_name(known)
        names |= {face.path: name for face in faces if face.fold is None}
    return names


def _own_name(face: Face) -> str:
    return f"face of {face.path}"


def name_unnamed(faces: Sequence[Face], same_pictures: Iterable[Sequence[Face]]) -> list[Face]:
    """Names the subject of each face without one: its own, or the one on a copy of the picture.

    Args:
      faces: usable rows.
      same_pictures: groups of faces on one picture.
    """
    names = _namesakes(same_pictures)
    return [
        face
        if face.subject
        else dataclasses.replace(face, subject=names.get(face.path, _own_name(face)))
        for face in faces
    ]


def divide(faces: Sequence[Face]) -> dict[str, int]:
    """Each subject's fold: the given one, or one that evens out the folds; see `subjects.divide`."""
    given = {face.subject: face.fold for face in faces if face.fold is not None}
    return subjects.divide(collections.Counter(face.subject for face in faces), given)
