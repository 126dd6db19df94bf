import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax.data import splits
from ageflax.data.dataset import Faces, Target
from ageflax.errors import InputError


def faces_of(subjects: list[int]) -> Faces:
    """One face per entry; a subject's fold is the subject's number modulo five."""
    numbers = np.array(subjects)
    count = len(subjects)
    return Faces(
        keys=np.array([f"face {k}" for k in range(count)], dtype=object),
        subjects=np.array([f"subject {s}" for s in subjects], dtype=object),
        folds=(numbers % 5).astype(np.int32),
        age_labels=np.full(count, "(0, 2)", dtype=object),
        ages=np.full(count, np.nan, np.float32),
        genders=np.zeros(count, np.int32),
        scores=np.full(count, np.nan, np.float32),
    )


def split(faces: Faces, usable: np.ndarray | None = None, **changes):
    arguments = {
        "test_fold": 0,
        "protocol": "cross_validation",
        "validation": "subject",
        "fraction": 0.1,
        "seed": 0,
    }
    usable = np.ones(len(faces), bool) if usable is None else usable
    return splits.split(faces, usable, **(arguments | changes))


MANY = faces_of([k // 4 for k in range(400)])


@settings(max_examples=60)
@given(
    subjects=st.lists(st.integers(0, 60), min_size=30, max_size=200),
    fold=st.integers(0, 4),
    fraction=st.floats(0.01, 0.5),
    seed=st.integers(0, 2**31 - 1),
)
def test_sides_are_disjoint_cover_everything_and_share_no_subject(subjects, fold, fraction, seed):
    faces = faces_of([*range(10), *subjects])
    found = split(faces, test_fold=fold, fraction=fraction, seed=seed)
    everything = np.concatenate([found.train, found.validation, found.test])
    assert sorted(everything) == list(range(len(faces)))
    sides = [set(faces.subjects[rows]) for rows in (found.train, found.validation, found.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert set(faces.folds[found.test]) == {fold}
    assert found.leaks == 0


def test_validation_has_the_share_asked_for_to_within_one_subject():
    found = split(MANY, fraction=0.25)
    assert 0 <= len(found.validation) - 0.25 * 320 < 4


def test_the_seed_and_the_fold_decide_who_is_held_out():
    again = split(MANY).validation
    np.testing.assert_array_equal(split(MANY).validation, again)
    assert not np.array_equal(split(MANY, seed=1).validation, again)


def test_the_authors_image_level_validation_leaks_and_says_so():
    found = split(MANY, validation="image_leaky")
    assert len(found.validation) == 32
    shared = set(MANY.subjects[found.validation]) & set(MANY.subjects[found.train])
    assert found.leaks == len(shared) > 20
    assert not set(MANY.subjects[found.test]) & set(MANY.subjects[found.train])


def test_none_trains_on_every_other_face():
    found = split(MANY, validation="none")
    assert len(found.validation) == 0
    assert len(found.train) == 320


def test_hold_out_is_sixty_twenty_twenty():
    found = split(MANY, protocol="hold_out", test_fold=4)
    assert set(MANY.folds[found.train]) == {0, 1, 2}
    assert set(MANY.folds[found.validation]) == {3}
    assert set(MANY.folds[found.test]) == {4}


def test_unusable_faces_are_on_no_side():
    usable = np.arange(400) % 3 > 0
    found = split(MANY, usable)
    assert len(found.train) + len(found.validation) + len(found.test) == usable.sum()


def test_an_empty_side_is_refused():
    with pytest.raises(InputError, match="fold 0 has no usable face to test"):
        split(MANY, MANY.folds != 0)
    with pytest.raises(InputError, match="no face is left to train on when fold 0 is tested"):
        split(MANY, MANY.folds == 0)


def test_a_subject_in_two_folds_is_refused():
    splits.check_subjects(MANY)
    faces = faces_of([1, 2, 3])
    faces.subjects[2] = "subject 1"
    with pytest.raises(InputError, match="subject 'subject 1' is in folds 1 and 3"):
        splits.check_subjects(faces)
    with pytest.raises(InputError, match="a subject of test fold 1 is also in training"):
        split(faces, test_fold=1, validation="none")


PAIRS = faces_of([k // 2 for k in range(50)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, f: {"train": np.append(s.train, len(f))}, "names faces that the dataset does not"),
        (lambda s, f: {"train": np.append(s.train, -1)}, "names faces that the dataset does not"),
        (lambda s, f: {"train": np.append(s.train, s.train[0])}, "on two sides of the split, or twice"),
        (lambda s, f: {"train": np.append(s.train, s.test[0])}, "on two sides of the split, or twice"),
        (lambda s, f: {"test": np.append(s.test[1:], s.train[0]), "train": s.train[1:]},
         "a tested face is in another fold"),
        (lambda s, f: {"test": s.test[1:], "train": np.append(s.train, s.test[0])},
         r"subject '.*' is also in train"),
        (lambda s, f: {"test": s.test[1:], "validation": np.append(s.validation, s.test[0])},
         r"subject '.*' is also in validation"),
    ],
)  # fmt: skip
def test_a_split_that_lies_is_refused_where_training_starts(change, message):
    faces = PAIRS
    sound = split(faces, test_fold=1, fraction=0.2)
    splits.check(sound, faces, {})
    with pytest.raises(InputError, match=message):
        splits.check(dataclasses.replace(sound, **change(sound, faces)), faces, {})


@pytest.mark.parametrize(
    ("classes", "years", "message"),
    [
        (2, None, "task has a label outside its 2 classes"),
        (-2, None, "task has a label outside its 2 classes"),
        (0, -1.0, "task has an age outside 0 to 150"),
        (0, 1e9, "task has an age outside 0 to 150"),
    ],
)
def test_a_label_out_of_range_is_refused(classes, years, message):
    faces = PAIRS
    sound = split(faces, test_fold=1, validation="none")
    ages = None if years is None else np.array([years] + [np.nan] * 49, np.float32)
    labelled = np.array([classes] + [0] * 49, np.int32)
    wrong = Target(("a", "b"), (), (), "mean", classes=labelled, years=ages)
    with pytest.raises(InputError, match=message):
        splits.check(sound, faces, {"task": wrong})


def test_folds_of_other_sizes_than_were_built_are_refused():
    faces = PAIRS
    splits.check_counts(faces, {f"fold_{k}": 10 for k in range(5)})
    with pytest.raises(InputError, match="fold_3 holds 10 faces, but 11 were built: its files are"):
        splits.check_counts(faces, {f"fold_{k}": 10 + (k == 3) for k in range(5)})
