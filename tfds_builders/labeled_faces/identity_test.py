"""No subject in two folds, and folds of one size."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax.errors import InputError
from tfds_builders.labeled_faces.identity import check_given_folds, divide, name_unnamed
from tfds_builders.labeled_faces.rows import Face


def face(number: int, subject: str = "", fold: int | None = None) -> Face:
    return Face(number, f"{number}.jpg", math.nan, "", 0, subject, fold)


def test_a_subject_in_two_given_folds_is_refused():
    faces = [face(2, "Ann", 1), face(3, "Bob", 0), face(4, "Ann"), face(5, "Ann", 2)]
    check_given_folds(faces[:3])
    with pytest.raises(InputError) as caught:
        check_given_folds(faces)
    assert str(caught.value) == (
        "labels.csv, line 5: subject 'Ann' is in fold 2, but in fold 1 in line 2; a test fold would "
        "leak into training"
    )


def test_faces_without_a_subject_are_their_own():
    named = name_unnamed([face(2), face(3, "Ann"), face(4)], [])
    assert [one.subject for one in named] == ["face of 2.jpg", "Ann", "face of 4.jpg"]


def test_identical_pictures_show_one_subject():
    one, two, ann, given_ = face(2), face(3), face(4, "Ann"), face(5, fold=3)

    def subjects(*group: Face) -> list[str]:
        return [named.subject for named in name_unnamed(group, [group])]

    assert subjects(one, two) == subjects(two, one) == ["face of 2.jpg"] * 2
    assert subjects(one, ann) == ["Ann", "Ann"]
    assert subjects(one, given_) == ["face of 5.jpg"] * 2
    # Two given folds: the file's word stands.
    assert subjects(given_, face(6, fold=1)) == ["face of 5.jpg", "face of 6.jpg"]
    assert subjects(face(7, "Bob"), ann) == ["Bob", "Ann"]


def fold_sizes(faces: list[Face], folds: dict[str, int]) -> list[int]:
    sizes = [0] * 5
    for one in faces:
        sizes[folds[one.subject]] += 1
    return sizes


def test_folds_of_many_people_are_equal_to_within_two_percent():
    draw = random.Random(0)
    faces = [face(k, f"person {p}") for p in range(400) for k in range(draw.randint(1, 30))]
    sizes = fold_sizes(faces, divide(faces))
    assert max(sizes) - min(sizes) <= 0.02 * min(sizes)


@given(
    counts=st.lists(st.integers(1, 12), min_size=5, max_size=60),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_folds_are_even_and_do_not_depend_on_the_order(counts: list[int], seed: int):
    faces = [face(k, f"person {p}") for p, count in enumerate(counts) for k in range(count)]
    folds = divide(faces)
    sizes = fold_sizes(faces, folds)
    assert max(sizes) - min(sizes) <= max(counts)
    shuffled = random.Random(seed).sample(faces, len(faces))
    assert divide(shuffled) == folds


def test_given_folds_stay_and_the_others_fill_up():
    faces = [face(k, f"given {k}", 0) for k in range(10)] + [
        face(k, f"free {k}") for k in range(40)
    ]
    folds = divide(faces)
    assert all(folds[f"given {k}"] == 0 for k in range(10))
    assert sorted(folds.values()) == [fold for fold in range(5) for _ in range(10)]


def test_a_given_fold_holds_for_all_photographs_of_a_person():
    faces = [face(k, f"person {k}") for k in range(9)] + [face(90, "Ann"), face(91, "Ann", 4)]
    assert divide(faces)["Ann"] == 4


def test_fewer_people_than_folds_are_refused():
    with pytest.raises(InputError) as caught:
        divide([face(k, f"person {k % 4}") for k in range(8)])
    assert str(caught.value) == (
        "fold 4 is empty: 8 usable images of 4 subjects; five folds need at least five subjects"
    )
