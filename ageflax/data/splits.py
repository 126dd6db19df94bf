"""Splits faces into training, validation and test; no subject is on two sides, "image_leaky" aside."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from ageflax.data.dataset import Faces, Target
from ageflax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Split:
    """Rows of a dataset for one test fold, each array ascending.

    Attributes:
      test_fold: number of the fold that is tested.
      train: rows to learn from.
      validation: rows to watch during training; may be empty.
      test: rows to test.
      leaks: number of subjects of `validation` who are also in `train`; zero except for "image_leaky".
    """

    test_fold: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    leaks: int


def _rng(seed: int, test_fold: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, test_fold]))


def _by_subject(
    faces: Faces, rows: np.ndarray, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Mask over `rows`: whole subjects, drawn at random until the share of faces is reached."""
    subjects, subject, counts = np.unique(
        faces.subjects[rows].astype(str), return_inverse=True, return_counts=True
    )
    order = rng.permutation(len(subjects))
    before = np.cumsum(counts[order]) - counts[order]
    held_out = np.zeros(len(subjects), bool)
    held_out[order] = before < fraction * len(rows)
    return held_out[subject]


def _by_image(rows: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Mask over `rows`: single images, as in the authors' published lists."""
    held_out = np.zeros(len(rows), bool)
    held_out[rng.permutation(len(rows))[: round(fraction * len(rows))]] = True
    return held_out


def check_subjects(faces: Faces) -> None:
    """Raises InputError if a subject is in two folds, which would make every figure false."""
    subjects, subject = np.unique(faces.subjects.astype(str), return_inverse=True)
    first = np.full(len(subjects), -1)
    first[subject[::-1]] = faces.folds[::-1]
    bad = np.flatnonzero(first[subject] != faces.folds)
    if bad.size:
        row = bad[0]
        raise InputError(
            f"subject {faces.subjects[row]!r} is in folds {first[subject[row]]} and"
            f" {faces.folds[row]}, which leaks; rebuild the dataset with folds by subject"
        )


def split(
    faces: Faces,
    usable: np.ndarray,
    *,
    test_fold: int,
    protocol: str,
    validation: str,
    fraction: float,
    seed: int,
    train_share: float = 1.0,
) -> Split:
    """Selects the rows of training, validation and test for one test fold.

    Args:
      faces: labels of the dataset.
      usable: bool[n], faces with a label for some task and readable pixels.
      test_fold: 0 to 4.
      protocol: "cross_validation" trains on the four other folds; "hold_out" trains on folds 0 to 2,
        validates on 3 and tests 4.
      validation: method under cross-validation. "subject" holds whole subjects out of the training
        folds; "image_leaky" holds out single images and so leaves subjects on both sides (like 94-95 %
        of the validation faces in the authors' published lists); "none" keeps every face.
      fraction: share of the training folds' faces to hold out.
      seed: random seed, which decides the held-out faces together with the fold.
      train_share: approximate share of the training faces to keep, whole subjects drawn at random;
        validation and test do not depend on it.

    Raises:
      InputError: no face is left to train on or to test.
    """
    rows = np.flatnonzero(usable)
    folds = faces.folds[rows]
    test, rest = rows[folds == test_fold], rows[folds != test_fold]
    if protocol == "hold_out":
        held_out = faces.folds[rest] == 3
    elif validation == "subject":
        held_out = _by_subject(faces, rest, fraction, _rng(seed, test_fold))
    elif validation == "image_leaky":
        held_out = _by_image(rest, fraction, _rng(seed, test_fold))
    else:
        held_out = np.zeros(len(rest), bool)
    train, validating = rest[~held_out], rest[held_out]
    if train_share < 1.0:
        # A random stream of its own: a larger share contains every subject of a smaller one.
        train = train[_by_subject(faces, train, train_share, _rng(seed, test_fold + 5))]
    if not len(test):
        raise InputError(f"fold {test_fold} has no usable face to test")
    if not len(train):
        raise InputError(f"no face is left to train on when fold {test_fold} is tested")
    trained = set(faces.subjects[train])
    if not trained.isdisjoint(faces.subjects[test]):
        raise InputError(f"a subject of test fold {test_fold} is also in training")
    leaks = len(trained & set(faces.subjects[validating]))
    return Split(test_fold, train, validating, test, leaks)


def check(split: Split, faces: Faces, targets: Mapping[str, Target]) -> None:
    """Checks, as a fold's training starts, the facts that every figure rests on.

    Raises:
      InputError: a side holds a face twice or one that does not exist, two sides share a face, a
        subject of the test fold is in training or validation, a tested face is in another fold, or a
        label lies outside its classes.
    """
    sides = {"train": split.train, "validation": split.validation, "test": split.test}
    where = f"testing fold {split.test_fold}"
    every = np.concatenate(list(sides.values()))
    if len(every) and not 0 <= every.min() <= every.max() < len(faces):
        raise InputError(f"{where}: a split names faces that the dataset does not have")
    if len(np.unique(every)) != len(every):
        raise InputError(f"{where}: a face is on two sides of the split, or twice on one")
    if (faces.folds[split.test] != split.test_fold).any():
        raise InputError(f"{where}: a tested face is in another fold")
    tested = set(faces.subjects[split.test])
    for name in ("train", "validation"):
        shared = tested & set(faces.subjects[sides[name]])
        if shared:
            raise InputError(f"{where}: subject {min(shared)!r} is also in {name}")
    for task, target in targets.items():
        classes = target.classes[every]
        if len(classes) and not -1 <= classes.min() <= classes.max() < len(target.names):
            raise InputError(f"{where}: {task} has a label outside its {len(target.names)} classes")
        years = target.years[every] if target.years is not None else np.zeros(0)
        if ((years < 0) | (years > 150)).any():
            raise InputError(f"{where}: {task} has an age outside 0 to 150")


def check_counts(faces: Faces, expected: Mapping[str, int]) -> None:
    """Raises InputError if the folds do not hold as many faces as the build recorded."""
    for number, (name, count) in enumerate(expected.items()):
        found = int((faces.folds == number).sum())
        if found != count:
            raise InputError(
                f"{name} holds {found} faces, but {count} were built: its files are damaged; rebuild the"
                " dataset"
            )
