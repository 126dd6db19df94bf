"""No subject in two folds, and folds of one size."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax.errors import InputError
from tfds_builders.labeled_faces.identity import (
    check_given_folds,
    divide,
    given_subjects,
    name_unnamed,
    repeated_in_names,
)
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


def named(*paths: str, age: float = math.nan) -> list[Face]:
    return [Face(2 + k, path, age, "", 0, "", None) for k, path in enumerate(paths)]


@pytest.mark.parametrize(
    ("paths", "shared"),
    [
        # FG-NET, MORPH, AgeDB, CACD, LFW, VGGFace2
        ([f"{p:03d}A{a}.JPG" for p in range(4) for a in (11, 30)], "000 in 000A11.JPG and 000A30.JPG"),
        ([f"00{p}055_{k}M54.JPG" for p in range(4) for k in (1, 2)],
         "000055 in 000055_1M54.JPG and 000055_2M54.JPG"),
        ([f"{k}{n}_{name}_35_f.jpg" for n, name in enumerate(("MariaCallas", "CaryGrant", "JoanBaez"))
          for k in (1, 2)], "mariacallas in 10_MariaCallas_35_f.jpg and 20_MariaCallas_35_f.jpg"),
        ([f"{a}_{name}_0001.jpg" for name in ("Robert_Duvall", "Ann_Lee", "Jodie_Foster")
          for a in (53, 54)],
         "robert duvall in 53_Robert_Duvall_0001.jpg and 54_Robert_Duvall_0001.jpg"),
        ([f"{name}_{k}.jpg" for name in ("Aaron_Eckhart", "Zoë_Lee", "Jodie_Foster") for k in (1, 2)],
         "aaron eckhart in Aaron_Eckhart_1.jpg and Aaron_Eckhart_2.jpg"),
        ([f"a/n00000{p}_{k}.jpg" for p in range(4) for k in (1, 2)],
         "n000000 in a/n000000_1.jpg and a/n000000_2.jpg"),
        # UTKFace, cameras, dates, hashes
        ([f"{a}_0_2_20170104{k}.jpg.chip.jpg" for a in (8, 9, 26) for k in range(4)], ""),
        ([f"IMG_{k:04d}.JPG" for k in range(12)], ""),
        ([f"2017010{d}_{k}.jpg" for d in range(4) for k in range(3)], ""),
        ([f"{sex}_{k}.jpg" for sex in ("male", "female") for k in range(6)], ""),
        ([f"{random.Random(k).getrandbits(64):016x}.jpg" for k in range(20_000)], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_names_that_repeat_a_persons(paths, shared):
    assert repeated_in_names(named(*paths)) == shared


def test_ages_that_begin_names_are_no_persons():
    faces = [one for age in (26, 101, 7) for one in named(f"{age}_0.jpg", f"{age}_1.jpg", age=age)]
    assert repeated_in_names(faces) == ""
    assert repeated_in_names(
        [*faces, *named(*(f"{p}_{k}.jpg" for p in range(4) for k in (1, 2)), age=50)]
    )


def test_what_is_said_of_subjects():
    assert given_subjects([face(2, "Ann")]) == {
        "subjects_given": "all",
        "without_subject": 0,
        "subjects_notice": "",
    }
    assert given_subjects([face(2), face(3)])["subjects_notice"] == (
        "no face has a subject: each counts as a subject of its own, so one person may be in two folds"
    )
    assert given_subjects([face(2), face(3, "Ann")])["subjects_given"] == "some"
