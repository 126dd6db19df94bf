import math

import pytest

from ageflax import labels

NAN = math.nan


@pytest.mark.parametrize(
    ("label", "strict", "mivolo", "nearest"),
    [
        ("(0, 2)", "0-2", "0-2", "0-2"),
        ("(8, 12)", "8-12", "8-12", "8-12"),
        ("(60, 100)", "60-100", "60-100", "60-100"),
        ("None", None, None, None),
        ("", None, None, None),
        ("35", None, "25-32", "25-32"),  # 3 years from either neighbour: the younger
        ("13", None, "8-12", "8-12"),
        ("22", None, "15-20", "15-20"),
        ("34", None, "25-32", "25-32"),
        ("23", None, "25-32", "25-32"),
        ("45", None, "38-43", "38-43"),
        ("55", None, "48-53", "48-53"),
        ("(27, 32)", None, "25-32", "25-32"),
        ("(25, 23)", None, "25-32", "25-32"),
        ("36", None, "38-43", "38-43"),
        ("(38, 42)", None, "38-43", "38-43"),
        ("57", None, "60-100", "60-100"),
        ("3", None, "0-2", "0-2"),
        ("29", None, "25-32", "25-32"),
        ("(38, 48)", None, "38-43", "38-43"),
        ("58", None, "60-100", "60-100"),
        ("2", None, "0-2", "0-2"),
        ("32", None, "25-32", "25-32"),
        ("56", None, "48-53", "48-53"),
        ("(8, 23)", None, "8-12", "15-20"),
        ("42", None, "38-43", "38-43"),
        ("46", None, "48-53", "48-53"),
        ("no age at all", None, None, None),
    ],
)
def test_every_label_of_the_fold_files_under_every_policy(label, strict, mivolo, nearest):
    for policy, group in (("strict", strict), ("mivolo", mivolo), ("nearest", nearest)):
        expected = labels.UNKNOWN if group is None else labels.AGE_GROUPS.index(group)
        assert labels.age_group(label, NAN, policy=policy) == expected, policy


def test_years_decide_only_where_there_is_no_label():
    assert labels.age_group("", 28.9, policy="strict") == labels.AGE_GROUPS.index("25-32")
    assert labels.age_group("", 2.9, policy="strict") == labels.AGE_GROUPS.index("0-2")
    assert labels.age_group("", 35.0, policy="strict") == labels.UNKNOWN
    assert labels.age_group("", 55.0, policy="nearest") == labels.AGE_GROUPS.index("48-53")
    assert labels.age_group("(0, 2)", 80.0, policy="strict") == labels.AGE_GROUPS.index("0-2")
    assert labels.age_group("None", 80.0, policy="strict") == labels.AGE_GROUPS.index("60-100")


FOUR = ((0, 12), (13, 29), (30, 49), (50, 100))


@pytest.mark.parametrize(
    ("label", "age", "group"),
    [
        ("(8, 12)", NAN, 0),
        ("(25, 32)", NAN, 1),  # by its mean, 28.5
        ("(38, 43)", NAN, 2),
        ("(60, 100)", NAN, 3),
        ("35", NAN, 2),
        ("None", NAN, None),
        ("", 12.9, 0),
        ("", 13.0, 1),
        ("", 101.0, None),
        ("(0, 2)", 80.0, 0),
    ],
)
def test_any_list_of_bounds_makes_classes(label, age, group):
    expected = labels.UNKNOWN if group is None else group
    assert labels.age_group(label, age, policy="intervals", intervals=FOUR) == expected


def test_names_and_centres_follow_the_bounds():
    assert labels.class_names("age") == labels.AGE_GROUPS
    assert labels.class_names("age", FOUR) == ("0-12", "13-29", "30-49", "50-100")
    assert labels.class_names("gender", FOUR) == ("female", "male")
    assert labels.centres() == (1.5, 5.5, 10.5, 18.0, 29.0, 41.0, 51.0, 70.0)
    assert labels.centres(FOUR) == (6.5, 21.5, 40.0, 60.0)
