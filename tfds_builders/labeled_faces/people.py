"""Who is who, and in which of the five folds: no person in two."""

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Sequence

from ageflax.errors import InputError

from .rows import Face

FOLDS = range(5)


def check_given_folds(faces: Iterable[Face]) -> None:
    """Refuses a person in two folds: a test fold would leak into training.

    Raises:
      InputError: names the person and both lines.
    """
    seen: dict[str, Face] = {}
    for face in faces:
        if face.fold is None or not face.subject:
            continue
        first = seen.setdefault(face.subject, face)
        if first.fold != face.fold:
            raise InputError(
                f"labels.csv, line {face.line}: subject {face.subject!r} is in fold {face.fold}, and "
                f"in fold {first.fold} in line {first.line}; a test fold would leak into training"
            )


def _namesakes(same_pictures: Iterable[Sequence[Face]]) -> dict[str, str]:
    """Path of an unnamed face without a fold to the person that the same picture shows."""
    names = {}
    for group in same_pictures:
        faces = sorted(group, key=lambda face: face.path)  # whatever the order of the rows
        settled = next((face for face in faces if face.fold is not None), faces[0])
        known = next((face for face in faces if face.subject), settled)
        name = known.subject or _own_name(known)
        names |= {face.path: name for face in faces if face.fold is None}
    return names


def _own_name(face: Face) -> str:
    return f"face of {face.path}"


def name_unnamed(faces: Sequence[Face], same_pictures: Iterable[Sequence[Face]]) -> list[Face]:
    """Gives each face without a subject one of its own, named after its path.

    Args:
      faces: usable rows.
      same_pictures: groups of faces on one picture. Those are one person, so that an unnamed copy
        without a fold goes where the other one is.
    """
    names = _namesakes(same_pictures)
    return [
        face
        if face.subject
        else dataclasses.replace(face, subject=names.get(face.path, _own_name(face)))
        for face in faces
    ]


def divide(faces: Sequence[Face]) -> dict[str, int]:
    """The fold of every subject: the given one, or else one that evens out the folds.

    People with many photographs are placed first, each into the fold that holds the fewest; people with
    equally many in the order of the hashes of their names. The same rows give the same folds in any
    order.

    Raises:
      InputError: a fold would be empty.
    """
    counts = collections.Counter(face.subject for face in faces)
    folds = {face.subject: face.fold for face in faces if face.fold is not None}
    sizes = [0] * len(FOLDS)
    for subject, fold in folds.items():
        sizes[fold] += counts[subject]
    free = [subject for subject in counts if subject not in folds]
    for subject in sorted(
        free, key=lambda name: (-counts[name], hashlib.md5(name.encode()).digest())
    ):
        folds[subject] = sizes.index(min(sizes))
        sizes[folds[subject]] += counts[subject]
    for fold in FOLDS:
        if not sizes[fold]:
            raise InputError(
                f"no usable face is in fold {fold}: {len(faces):,} faces of {len(counts):,} people; "
                "five folds need five people at least"
            )
    return folds
