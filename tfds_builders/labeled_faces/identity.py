"""Subjects of labeled faces, and their folds."""

import collections
import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from ageflax.errors import InputError, one_line
from tfds_builders import subjects

from .rows import Face

# Something else in a name, such as a camera's counter, repeats by chance, or the same for nearly all.
_FEWEST_REPEATED = 3  # names
_SMALLEST_SHARE = 0.2  # of the faces
_LARGEST_GROUP = 0.5  # of the faces
_NUMBER = re.compile(r"([^\W\d_]*)([0-9]+)(?=[^0-9])")
_DATE = re.compile(r"(19|20)[0-9]{6}")
_HASH = re.compile(r"[0-9a-f-]{12,}", re.IGNORECASE)


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


def _name_in(face: Face) -> str:
    """Words in a file's name that may be a person's name, such as "robert duvall"; or ""."""
    words = re.split(r"[\W_]+", PurePosixPath(face.path).name.partition(".")[0])
    return " ".join(word.lower() for word in words if word.isalpha() and len(word) > 2)


def _number_in(face: Face) -> str:
    """Number that begins a file's name and may be a person's, such as "001" in 001A43a.JPG; or ""."""
    stem = PurePosixPath(face.path).stem
    match = _NUMBER.match(stem)
    if match is None or _DATE.fullmatch(match[2]) or _HASH.fullmatch(stem):
        return ""
    # UTKFace's names begin with the age.
    may_be_age = not match[1] and (match[2] == "0" or re.fullmatch("[1-9][0-9]{0,2}", match[2]))
    if may_be_age and (math.isnan(face.age) or face.age == float(match[2])):
        return ""
    return match[0]


def repeated_in_names(faces: Sequence[Face]) -> str:
    """Two file names that share what may be a person's name or number, as many others do; or "".

    For example "001 in 001A43a.JPG and 001A28.JPG".
    """
    kinds: tuple[Callable[[Face], str], ...] = (_name_in, _number_in)
    for kind in kinds:
        groups: dict[str, list[Face]] = collections.defaultdict(list)
        for face in faces:
            if found := kind(face):
                groups[found].append(face)
        repeated = {name: group for name, group in groups.items() if len(group) > 1}
        sizes = [len(group) for group in repeated.values()]
        if (
            len(sizes) >= _FEWEST_REPEATED
            and sum(sizes) >= _SMALLEST_SHARE * len(faces)
            and max(sizes) <= _LARGEST_GROUP * len(faces)
        ):
            name, (one, other, *_) = next(iter(repeated.items()))
            return f"{name} in {one.path} and {other.path}"
    return ""


def given_subjects(faces: Sequence[Face]) -> dict[str, str | int]:
    """Metadata on the faces whose subject labels.csv does not name, with a line for the user."""
    missing = sum(not face.subject for face in faces)
    if not missing:
        return {"subjects_given": "all", "without_subject": 0, "subjects_notice": ""}
    some = missing < len(faces)
    notice = (
        f"{missing:,} of {len(faces):,} faces have no" if some else "no face has a"
    ) + " subject: each counts as a subject of its own, so one person may be in two folds"
    if not some and (repeated := repeated_in_names(faces)):
        notice += f"; file names repeat a name or number, such as {repeated}: add a column subject"
    return {
        "subjects_given": "some" if some else "none",
        "without_subject": missing,
        "subjects_notice": one_line(notice),
    }
