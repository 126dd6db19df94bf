"""Each cell that cannot be used, and rows that cannot stand beside each other."""

import math

import pytest

from ageflax.labels import NO_LABEL
from tfds_builders.labeled_faces.labels_file import Line
from tfds_builders.labeled_faces.rows import Face, RowError, counted_from_1, parse, parse_all


def line(number: int = 2, **cells: str) -> Line:
    """A row of a.jpg at 26, but for the cells that are named."""
    return Line(number, {"path": "a.jpg", "age": "26"} | cells)


def test_a_row_with_everything():
    cells = {"age_group": "25-32", "gender": "M", "subject": "Bob", "fold": "3"}
    assert parse(Line(2, {"path": "a.jpg", "age": "26", **cells})) == Face(
        2, "a.jpg", 26.0, "25-32", 1, "Bob", 3
    )


def test_a_row_with_an_age_alone():
    assert parse(line()) == Face(2, "a.jpg", 26.0, "", -1, "", None)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sub/a.jpg", "sub/a.jpg"),
        ("./sub//a.jpg", "sub/a.jpg"),
        ("sub\\a.jpg", "sub/a.jpg"),
        ("sub/../a.jpg", "a.jpg"),
        ("Zoë, née ü.jpg", "Zoë, née ü.jpg"),
        ("..a.jpg", "..a.jpg"),
    ],
)
def test_paths(text, path):
    assert parse(line(path=text)).path == path


UNKNOWN = [
    "",
    "unknown",
    "None",
    "NaN",
    "n/a",
    "NA",
    "null",
    "#N/A",
    "<NA>",
    "?",
    "-",
    "-1",
    "-1.0",
]


@pytest.mark.parametrize("text", UNKNOWN)
def test_words_for_unknown(text):
    face = parse(Line(2, {"path": "a", "age": text, "age_group": "25-32", "gender": text}))
    assert math.isnan(face.age)
    assert face.gender == -1
    face = parse(line(age_group=text, subject=text))
    assert face.age_group == ""
    assert face.subject == ""
    if not text.startswith("-1"):
        assert parse(line(fold=text)).fold is None


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_label_beside_a_good_one_keeps_the_face(text):
    for_gender = parse(line(age=text, gender="f"))
    assert (math.isnan(for_gender.age), for_gender.gender) == (True, 0)
    for_age = parse(line(gender=text))
    assert (for_age.age, for_age.gender) == (26.0, -1)
    with pytest.raises(RowError, match="no age, age group or gender"):
        parse(line(age=text, gender=text))


def test_a_subject_may_be_called_u():
    assert parse(line(subject="U")).subject == "U"
    assert parse(line(gender="U")).gender == -1


@pytest.mark.parametrize(
    ("text", "age"),
    [("0", 0.0), ("26.5", 26.5), ("130", 130.0), ("7.", 7.0), ("26,5", 26.5), ("26,0", 26.0),
     ("26 years", 26.0)],
)  # fmt: skip
def test_ages(text, age):
    assert parse(line(age=text)).age == age


@pytest.mark.parametrize(("text", "gender"), [("f", 0), ("FEMALE", 0), ("m", 1), ("Male", 1)])
def test_genders(text, gender):
    assert parse(line(gender=text)).gender == gender


@pytest.mark.parametrize(("text", "fold"), [("0", 0), ("4", 4), ("2.0", 2)])
def test_folds(text, fold):
    assert parse(line(fold=text)).fold == fold


BARE = "datasets disagree on the meaning of numbers; write female or male"


@pytest.mark.parametrize(
    ("cells", "reason", "message"),
    [
        ({"path": ""}, "path", "no path"),
        ({"path": "/etc/passwd"}, "path",
         "path '/etc/passwd' is absolute; write it relative to the folder of labels.csv"),
        ({"path": "C:\\faces\\a.jpg"}, "path",
         "path 'C:\\\\faces\\\\a.jpg' is absolute; write it relative to the folder of labels.csv"),
        ({"path": "\\\\server\\a.jpg"}, "path",
         "path '\\\\\\\\server\\\\a.jpg' is absolute; write it relative to the folder of labels.csv"),
        ({"path": "../a.jpg"}, "path", "path '../a.jpg' leaves the folder of labels.csv"),
        ({"path": "sub/../../a.jpg"}, "path", "path 'sub/../../a.jpg' leaves the folder of labels.csv"),
        ({"path": "..\\a.jpg"}, "path", "path '..\\\\a.jpg' leaves the folder of labels.csv"),
        ({"path": ".."}, "path", "path '..' leaves the folder of labels.csv"),
        ({"age": "abc"}, "age", "age 'abc' is not a number of years"),
        ({"age": "1,990"}, "age", "age '1,990' is not a number of years"),
        ({"age": "1_0"}, "age", "age '1_0' is not a number of years"),
        ({"age": "1e1"}, "age", "age '1e1' is not a number of years"),
        ({"age": "٣"}, "age", "age '٣' is not a number of years"),
        ({"age": "inf"}, "age", "age 'inf' is not a number of years"),
        ({"age": "25-32"}, "age",
         "age '25-32' is not a number of years; rename age to age_group if it holds ranges"),
        ({"age": "more than 70"}, "age",
         "age 'more than 70' is not a number of years; rename age to age_group if it holds ranges"),
        ({"age": "9-Mar"}, "age",
         "age '9-Mar' is a date that a spreadsheet made of the range 3-9; write 3-9 in a text column"),
        ({"age": "-4"}, "age", "age -4 is below 0"),
        ({"age": "2014"}, "age", "age 2014 is above 130"),
        ({"age_group": "adult"}, "age group", f"age group 'adult' {NO_LABEL}"),
        ({"age_group": "about 30"}, "age group", f"age group 'about 30' {NO_LABEL}"),
        ({"age_group": "03-Sep"}, "age group",
         "age group '03-Sep' is a date that a spreadsheet made of the range 3-9; write 3-9 in a text "
         "column"),
        ({"age_group": "1990"}, "age group", "age group '1990' is above 130"),
        ({"age_group": "-5"}, "age group", "age group '-5' is below 0"),
        ({"age_group": "32-25"}, "age group", "age group '32-25' is a range that runs backwards"),
        ({"gender": "0"}, "gender", f"gender '0': {BARE}"),
        ({"gender": "1"}, "gender", f"gender '1': {BARE}"),
        ({"gender": "-2"}, "gender", f"gender '-2': {BARE}"),
        ({"gender": "1.0"}, "gender", f"gender '1.0': {BARE}"),
        ({"gender": "w"}, "gender", "gender 'w' is neither female (f) nor male (m)"),
        ({"subject": 'Ann"'}, "subject", "subject 'Ann\"' has a stray quote"),
        ({"fold": "5"}, "fold", "fold '5' is not one of 0 to 4"),
        ({"fold": "-1"}, "fold", "fold '-1' is not one of 0 to 4"),
        ({"fold": "1.5"}, "fold", "fold '1.5' is not one of 0 to 4"),
        ({"fold": "fold_1"}, "fold", "fold 'fold_1' is not one of 0 to 4"),
        ({"age": ""}, "no label", "no age, age group or gender"),
        ({"age": "", "gender": "unknown", "subject": "Ann"}, "no label", "no age, age group or gender"),
    ],
)  # fmt: skip
def test_cells_that_cannot_be_used(cells, reason, message):
    with pytest.raises(RowError) as caught:
        parse(Line(2, {"path": "a.jpg", "age": "26", **cells}))
    assert caught.value.reason == reason
    assert str(caught.value) == message


def test_a_row_of_another_length():
    with pytest.raises(RowError, match="3 cells, expected 2 as in the first line"):
        parse(Line(2, {"path": "a.jpg"}, "3 cells, expected 2 as in the first line"))


def test_rows_that_say_the_same_become_one():
    faces, rejected = parse_all([line(2), line(3, path="b.jpg"), line(4, path="./a.jpg")])
    assert [face.line for face in faces] == [2, 3]
    assert [(bad.line, bad.reason, bad.detail) for bad in rejected] == [
        (4, "duplicate row", "says the same as line 2")
    ]
    faces, rejected = parse_all([line(n, age="", gender="f") for n in (2, 3)])
    assert [face.line for face in faces] == [2]


def test_of_rows_that_disagree_none_is_used():
    rows = [line(2), line(3, age="27"), line(4, path="b.jpg"), line(5)]
    faces, rejected = parse_all(rows)
    assert [face.path for face in faces] == ["b.jpg"]
    detail = "lines 2, 3, 5 disagree on a.jpg"
    assert [(bad.line, bad.reason, bad.detail) for bad in rejected] == [
        (number, "conflicting rows", detail) for number in (2, 3, 5)
    ]


def test_rejections_are_in_the_order_of_the_file():
    rows = [line(2), line(3, path=""), line(4, age="27"), line(5, age="abc")]
    _, rejected = parse_all(rows)
    assert [bad.line for bad in rejected] == [2, 3, 4, 5]
    assert str(rejected[3]) == "line 5: age 'abc' is not a number of years"


@pytest.mark.parametrize(
    ("folds", "expected"),
    [("12345", True), (["1.0", "5.0", ""], True), ("5", True), ("012345", False), ("1234", False),
     ("", False), (["", "nan", "15"], False)],
)  # fmt: skip
def test_folds_that_are_counted_from_1(folds, expected):
    assert counted_from_1([line(fold=fold) for fold in folds]) == expected
    assert not counted_from_1([line()])


def test_rows_of_one_file_under_two_spellings_become_one():
    faces, rejected = parse_all([line(2), line(3, path="a.JPG")], str.lower)
    assert [face.path for face in faces] == ["a.jpg"]
    assert [bad.reason for bad in rejected] == ["duplicate row"]
