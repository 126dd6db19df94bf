"""Which faces train, validate and test. No person is on two sides, unless a name says so."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from ageflax.data.dataset import Faces, Target
from ageflax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Split:
    """Rows of a dataset, each array ascending.

    Attributes:
      test_fold: whose faces are tested.
      train: learned from.
      validation: watched during training; may be empty.
      test: counted, each once.
      leaks: persons of `validation` who are also in `train`; zero but for "image_leaky".
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
    """Mask over `rows`: whole persons, drawn at random until the share of faces is reached."""
    persons, person, counts = np.unique(
        faces.subjects[rows].astype(str), return_inverse=True, return_counts=True
    )
    order = rng.permutation(len(persons))
    before = np.cumsum(counts[order]) - counts[order]
    held_out = np.zeros(len(persons), bool)
    held_out[order] = before < fraction * len(rows)
    return held_out[person]


def _by_image(rows: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Mask over `rows`: single images, as the authors' published lists have it."""
    held_out = np.zeros(len(rows), bool)
    held_out[rng.permutation(len(rows))[: round(fraction * len(rows))]] = True
    return held_out


def check_persons(faces: Faces) -> None:
    """Raises InputError where a person is in two folds: every figure would be false."""
    persons, person = np.unique(faces.subjects.astype(str), return_inverse=True)
    first = np.full(len(persons), -1)
    first[person[::-1]] = faces.folds[::-1]
    bad = np.flatnonzero(first[person] != faces.folds)
    if bad.size:
        who = faces.subjects[bad[0]]
        raise InputError(
            f"subject {who!r} is in folds {first[person[bad[0]]]} and {faces.folds[bad[0]]}: a"
            " person in two folds leaks; rebuild the dataset with folds by person"
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
    """Rows to train on, to validate with and to test, for one test fold.

    Args:
      faces: the dataset's labels.
      usable: bool[n], faces with a label for some task and readable pixels.
      test_fold: 0 to 4.
      protocol: "cross_validation" trains on the four other folds; "hold_out" trains on folds 0 to 2,
        validates on 3 and tests 4.
      validation: within cross-validation, "subject" holds whole persons out of the training folds;
        "image_leaky" holds single images out, so that persons are on both sides (as the authors'
        published lists have it: 94-95 % of their validation faces); "none" keeps every face.
      fraction: share of the training folds' faces to hold out.
      seed: with the fold, decides who is held out.
      train_share: keep about this share of the training faces, whole persons drawn at random; who is
        validated and tested does not depend on it.

    Raises:
      InputError: one side would be empty.
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
        # A stream of its own, so that a larger share holds the smaller one's persons and more.
        train = train[_by_subject(faces, train, train_share, _rng(seed, test_fold + 5))]
    if not len(test):
        raise InputError(f"fold {test_fold} has no usable face to test")
    if not len(train):
        raise InputError(f"no face is left to train on when fold {test_fold} is tested")
    trained = set(faces.subjects[train])
    if not trained.isdisjoint(faces.subjects[test]):
        raise InputError(f"a person of test fold {test_fold} is also in training")
    leaks = len(trained & set(faces.subjects[validating]))
    return Split(test_fold, train, validating, test, leaks)


def check(split: Split, faces: Faces, targets: Mapping[str, Target]) -> None:
    """What every figure rests on, looked at once more where a fold's training starts.

    Raises:
      InputError: a side holds a face twice or one that is not there, two sides share a face, a person
        of the test fold is in training or validation, a tested face is of another fold, or a label is
        none of its classes.
    """
    sides = {"train": split.train, "validation": split.validation, "test": split.test}
    where = f"testing fold {split.test_fold}"
    every = np.concatenate(list(sides.values()))
    if len(every) and not 0 <= every.min() <= every.max() < len(faces):
        raise InputError(f"{where}: a split names faces that the dataset does not have")
    if len(np.unique(every)) != len(every):
        raise InputError(f"{where}: a face is on two sides of the split, or twice on one")
    if (faces.folds[split.test] != split.test_fold).any():
        raise InputError(f"{where}: a tested face is of another fold")
    tested = set(faces.subjects[split.test])
    for name in ("train", "validation"):
        shared = tested & set(faces.subjects[sides[name]])
        if shared:
            raise InputError(f"{where}: person {min(shared)!r} is also in {name}")
    for task, target in targets.items():
        classes = target.classes[every]
        if len(classes) and not -1 <= classes.min() <= classes.max() < len(target.names):
            raise InputError(f"{where}: {task} has a label outside its {len(target.names)} classes")
        years = target.years[every] if target.years is not None else np.zeros(0)
        if ((years < 0) | (years > 150)).any():
            raise InputError(f"{where}: {task} has an age outside 0 to 150")


def check_counts(faces: Faces, expected: Mapping[str, int]) -> None:
    """Raises InputError where the folds hold other numbers of faces than the build wrote down."""
    for number, (name, count) in enumerate(expected.items()):
        found = int((faces.folds == number).sum())
        if found != count:
            raise InputError(
                f"{name} holds {found} faces, and {count} were built: its files are damaged; build the"
                " dataset anew"
            )
