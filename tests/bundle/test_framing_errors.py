"""Errors by framing: their cost at any offset, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ageflax import bundle
from ageflax.bundle.framing_errors import FramingErrors, Offset
from tests.support import small_bundle

ERRORS = FramingErrors(
    faces=80,
    zooms=(0.5, 1.0, 2.0),
    shifts=(0.0, 0.2),
    errors={
        "gender": ((0.3, 0.4), (0.1, 0.1), (0.1, 0.2)),
        "years": ((8.0, 20.0), (4.0, 6.0), (3.0, 9.0)),
    },
)
GOOD = ERRORS.to_json()


@pytest.mark.parametrize(
    ("offset", "cost"),
    [
        (Offset(), "about 0.0 years"),
        (Offset(zoom=0.5), "about 4.0 years"),
        (Offset(zoom=0.5**0.5), "about 2.0 years"),  # halfway, by the logarithm
        (Offset(right=-0.1), "about 1.0 years"),
        (Offset(right=0.12, down=-0.16), "about 2.0 years"),  # a distance
        (Offset(zoom=0.5, down=0.2), "about 16.0 years"),  # more than the sum of both
        (Offset(zoom=2.0), "about 0.0 years"),  # never a gain
        (Offset(zoom=0.1, down=0.9), "at least 16.0 years"),  # beyond what was measured
    ],
)
def test_cost(offset, cost):
    assert ERRORS.cost(offset) == cost


def test_cost_in_the_figure_that_there_is():
    gender = FramingErrors.from_json(GOOD | {"errors": {"gender": GOOD["errors"]["gender"]}})
    assert gender is not None
    assert gender.cost(Offset(zoom=0.5)) == "about 20 % of the genders"


def test_offset_in_words():
    assert Offset(0.7, -0.1, 0.08).in_words() == "30 % too small, 10 % too far left and 8 % too low"
    assert Offset(1.25, 0.0, -0.1).in_words(least=0.2) == "25 % too large"
    assert Offset().in_words() == ""


@given(st.floats(0.01, 100), st.floats(-9, 9), st.floats(-9, 9))
def test_cost_lies_within_what_was_measured(zoom, right, down):
    words = ERRORS.cost(Offset(zoom, right, down)).split()
    assert words[-1] == "years"
    assert 0.0 <= float(words[-2]) <= 16.0


def test_a_bundle_carries_them_and_its_card_shows_them(tmp_path):
    small_bundle.write(tmp_path, framing_errors=ERRORS)
    assert bundle.load(tmp_path).description.framing_errors == ERRORS
    card = (tmp_path / "README.md").read_text()
    assert "Measured on 80 validation faces" in card
    assert """
| Mean absolute error of age, years | in place | moved by 20 % |
|---|---|---|
| 0.5 times as large | 8.0 | 20.0 |
| 1 times as large | 4.0 | 6.0 |
| 2 times as large | 3.0 | 9.0 |
""" in card  # fmt: skip
    assert "| Wrong genders, % | in place | moved by 20 % |" in card


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected faces, zooms"),
        (GOOD | {"faces": 1.5}, "expected faces, zooms"),
        (GOOD | {"zooms": "1"}, "expected lists of zooms"),
        (GOOD | {"zooms": [0.5, float("nan"), 1.0]}, "expected lists of zooms"),
        (GOOD | {"shifts": [0.0] * 99}, "expected lists of zooms"),
        (GOOD | {"shifts": [0.2, 0.0]}, "expected ascending numbers"),
        (GOOD | {"zooms": [0.5, 0.9, 2.0]}, "expected zooms with 1 and shifts from 0"),
        (GOOD | {"errors": {}}, "expected errors of years, age_group, gender"),
        (GOOD | {"errors": {"x": []}}, "expected errors of years, age_group, gender"),
        (GOOD | {"errors": {"years": [[1.0, 2.0]]}}, "expected an error by zoom and shift"),
        (GOOD | {"errors": {"years": [[1.0]] * 3}}, "expected an error by zoom and shift"),
        (GOOD | {"errors": {"years": [[1.0, -2.0]] * 3}}, "expected an error by zoom and shift"),
    ],
)
def test_what_is_refused(content, message):
    with pytest.raises(ValueError, match=f"^framing_errors: (zooms and shifts: )?{message}"):
        FramingErrors.from_json(content)


def test_none_where_none_was_measured():
    assert FramingErrors.from_json(None) is None
