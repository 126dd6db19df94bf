import collections
import csv
import math
import os
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

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


INF = math.inf


@pytest.mark.parametrize(
    ("label", "bounds"),
    [
        ("35", (35, 35)), ("26.0", (26, 26)), ("26.5", (26.5, 26.5)), (" 0 ", (0, 0)), ("130", (130, 130)),
        ("7.", (7, 7)), ("26 years", (26, 26)), ("26 Years old", (26, 26)),
        ("25-32", (25, 32)), ("25 - 32", (25, 32)), ("25\u201332", (25, 32)), ("25\u221232", (25, 32)),
        ("25 to 32", (25, 32)), ("(25, 32)", (25, 32)), ("(25.0, 32.0)", (25, 32)), ("[25, 32]", (25, 32)),
        ("(24, 32]", (24, 32)), ("3-9", (3, 9)), ("8-12 yrs", (8, 12)), ("(25, 23)", (25, 23)),
        ("70+", (70, INF)), ("70 +", (70, INF)), ("more than 70", (70, INF)), ("More Than 70", (70, INF)),
        ("60-", (60, INF)), ("60 and over", (60, INF)), ("60 or older", (60, INF)), (">70", (70, INF)),
        (">= 70", (70, INF)), ("\u226570", (70, INF)), ("over 70 years", (70, INF)), ("at least 70", (70, INF)),
        ("under 3", (0, 3)), ("<3", (0, 3)), ("up to 3", (0, 3)), ("3 and under", (0, 3)),
    ],
)  # fmt: skip
def test_labels_of_the_grammar(label, bounds):
    assert labels.bounds(label) == bounds


DATES = {
    "3-9": [
        "9-Mar", "03-Sep", "Mar-09", "3-Sep-2024", "9-Mar-24", "09 March 2024", "SEP-03", "Sep-2003",
        "March 9, 2024", "Saturday, March 9, 2024", "9. Mrz", "09.M\u00e4r", "9. M\u00e4rz 2024", "9 Maerz",
        "9-mars", "3-sept.", "9 de marzo de 2024", "3 sep", "9-mrt", "9/mar", "03-set", "09.\u043c\u0430\u0440",
        "9-Mar\u0308", "3/9", "9/3", "03/09/2024", "9.3.2024", "9.3.", "2024-03-09", "2024-03-09 00:00:00",
        "2024-03-09T00:00:00", "2024/3/9", "3\u67089\u65e5", "2024\u5e743\u67089\u65e5",
    ],
    "1-2": ["2-Jan", "1-Feb", "01. F\u00e9vr", "2-ene", "2 janv.", "1-fev"],
    "4-6": ["6-Apr", "4-Jun", "6-avr", "6 de abril", "4 juin", "4-giu", "martes, 6 de abril de 2024"],
    "5-10": ["10-Mai", "10-May", "5-Oct", "5-Okt", "10-mei", "10-mag", "5-out", "5-ott", "10 \u043c\u0430\u044f"],
    "7-11": ["11-Jul", "7-Nov", "11-juil.", "11 luglio", "7 novembre"],
    "8-12": ["12-Aug", "8-Dec", "12-ao\u00fbt", "8-Dez", "12-ago", "8-dic", "8-d\u00e9c.", "Aug-12"],
    "10-19": ["19-Oct", "Oct-19"],
    "3-32": ["Mar-32"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("date", "meant"), [(d, meant) for meant, dates in DATES.items() for d in dates]
)
def test_what_a_spreadsheet_made_of_a_range(date, meant):
    with pytest.raises(
        ValueError, match=f"^is a date that a spreadsheet made of the range {meant}; "
    ):
        labels.bounds(date)
    for policy in labels.LABEL_POLICIES:
        assert labels.age_group(date, 26.0, policy=policy) == labels.UNKNOWN


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("1990", "is above 130"), ("131", "is above 130"), ("130.5", "is above 130"), ("45360", "is above 130"),
        ("9" * 400, "is above 130"), ("25-320", "is above 130"), ("200+", "is above 130"),
        ("-5", "is below 0"), ("-0.5", "is below 0"), ("\u22125", "is below 0"),
        ("32-25", "is a range that runs backwards"), ("(23, 8)", "is a range that runs backwards"),
        *((label, labels.NO_LABEL) for label in (
            "", "adult", "about 30", "8 months", "25-32-40", "1 000", "2 5", "25,32", "26,5", "1e1", ".5",
            "1.2.3", "25..32", "\u0663", "2\u00b2", "#", "N", "N-N", "nan", "25/32", "(25, 32", "25, 32)",
            "++70", "70++", "20s", "x9", "age 9", "-", "+", "9 lives",
        )),
    ],
)  # fmt: skip
def test_labels_outside_the_grammar_have_no_class(label, why):
    with pytest.raises(ValueError) as caught:
        labels.bounds(label)
    assert str(caught.value) == why
    for policy in labels.LABEL_POLICIES:
        assert labels.age_group(label, NAN, policy=policy) == labels.UNKNOWN


@pytest.mark.parametrize(
    ("label", "group"),
    [("26.0", "25-32"), ("35.0", "25-32"), ("70.0", "60-100"), ("(25.0, 32.0)", "25-32"), ("70+", "60-100"),
     ("more than 70", "60-100"), ("60-", "60-100"), ("under 3", "0-2"), ("3-9", "4-6"), ("20-29", "25-32"),
     ("9-Mar", None), ("03-Sep", None), ("1990", None), ("-5", None)],
)  # fmt: skip
def test_classes_of_other_labels(label, group):
    expected = labels.UNKNOWN if group is None else labels.AGE_GROUPS.index(group)
    assert labels.age_group(label, NAN, policy="nearest") == expected


@pytest.mark.parametrize(
    "mark", ["", "None", "nan", "NaN", "unknown", "N/A", "-1", "-1.0", "?", "NULL"]
)
def test_where_the_label_is_unknown_the_age_decides(mark):
    assert labels.is_unknown(mark)
    for policy in labels.LABEL_POLICIES:
        assert labels.age_group(mark, 26.0, policy=policy) == labels.AGE_GROUPS.index("25-32")
        assert labels.age_group(mark, NAN, policy=policy) == labels.UNKNOWN


@pytest.mark.parametrize("age", [-31.0, -0.5, 130.5, 2014.0, INF, -INF])
def test_ages_that_nobody_has_have_no_class(age):
    for policy in labels.LABEL_POLICIES:
        assert labels.age_group("", age, policy=policy) == labels.UNKNOWN


AGES = st.integers(0, 130) | st.floats(0, 130).map(lambda age: round(age, 2))
FORMS = {
    "number": ("{0}", "{0} years", " {0} "),
    "range": ("{0}-{1}", "{0} - {1}", "({0}, {1})", "[{0}, {1}]", "{0} to {1}", "{0}\u2013{1}"),
    "least": ("{0}+", "{0}-", "more than {0}", ">={0}", "{0} and over", "Over {0}"),
    "most": ("<{0}", "under {0}", "up to {0} years"),
}


@given(
    st.sampled_from([(kind, form) for kind, forms in FORMS.items() for form in forms]), AGES, AGES
)
def test_a_label_that_is_written_is_read_back(kind_and_form, one, other):
    kind, form = kind_and_form
    low, high = sorted((one, other))
    expected = {"number": (low, low), "range": (low, high), "least": (low, INF), "most": (0, low)}[
        kind
    ]
    text = (
        form.format(f"{low:.2f}", f"{high:.2f}")
        if isinstance(low, float)
        else form.format(low, high)
    )
    assert labels.bounds(text) == pytest.approx(expected)


PIECES = st.sampled_from(
    [*"0123456789.,-+/()[]<> \n\0%", "25", "32", "130", "1990", "to", "Mar", "sept", "more than", "years",
     "\u2013", "\u0663", "\u6708", "N", "nan", "None", "(25, 32)"]
)  # fmt: skip


@settings(max_examples=500)
@given(st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=20))
@example("25-32")
def test_any_text_is_a_label_or_refused(text):
    try:
        low, high = labels.bounds(text)
    except ValueError as error:
        assert str(error).startswith("is ")
        if not labels.is_unknown(text):
            for policy in labels.LABEL_POLICIES:
                assert labels.age_group(text, 26.0, policy=policy) == labels.UNKNOWN
    else:
        assert 0 <= low <= 130
        assert 0 <= high <= 130 or high == INF
        assert low <= high or (low, high) == (25, 23)
        assert labels.age_group(text, NAN, policy="nearest") != labels.UNKNOWN


def test_labels_need_no_numpy():
    import subprocess

    program = "import sys; from ageflax import labels; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.skipif("AGEFLAX_REAL_DATA" not in os.environ, reason="AGEFLAX_REAL_DATA is not set")
def test_the_real_fold_files_under_every_policy():
    found = collections.Counter()
    for path in (Path(os.environ["AGEFLAX_REAL_DATA"]) / "adience").glob("fold_?_data.txt"):
        with path.open(newline="") as file:
            found.update(row["age"] for row in csv.DictReader(file, delimiter="\t"))
    for policy, counts in {
        "strict": (2063, 2519, 2163, 2132, 1655, 4950, 2300, 830, 875),
        "mivolo": (753, 2540, 2163, 2302, 1804, 5609, 2502, 910, 904),
        "nearest": (753, 2540, 2163, 2301, 1805, 5609, 2502, 910, 904),
        "intervals": (1910, 2522, 2163, 2132, 1656, 5042, 2357, 830, 875),
    }.items():
        classes = collections.Counter()
        for label, count in found.items():
            classes[labels.age_group(label, NAN, policy=policy)] += count
        assert tuple(classes[k] for k in range(-1, 8)) == counts, policy
