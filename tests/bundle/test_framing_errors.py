"""Errors by framing: their cost at any offset, and what is refused."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ageflax import bundle
from ageflax.bundle.framing_errors import FramingErrors, Offset, in_words
from tests.support import small_bundle

ERRORS = FramingErrors(
    80,
    (
        (Offset(), {"years": 4.0, "gender": 0.1}),
        (Offset(zoom=0.5), {"years": 8.0, "gender": 0.3}),
        (Offset(zoom=2.0), {"years": 6.0, "gender": 0.1}),
        (Offset(right=0.2), {"years": 5.0, "gender": 0.1}),
        (Offset(down=-0.2), {"years": 7.0, "gender": 0.2}),
        (Offset(down=0.2), {"years": 3.0, "gender": 0.2}),
    ),
)


@pytest.mark.parametrize(
    ("offset", "cost"),
    [
        (Offset(), 0.0),
        (Offset(zoom=0.5), 4.0),
        (Offset(zoom=0.5**0.5), 2.0),  # halfway, by the logarithm
        (Offset(zoom=9.0), 2.0),  # as at the last measured
        (Offset(right=-0.1), 0.5),  # left as right
        (Offset(zoom=2.0, right=0.2, down=-0.2), 6.0),  # added up
        (Offset(down=0.2), 0.0),  # never a gain
    ],
)
def test_cost(offset, cost):
    figure, value = ERRORS.cost(offset)
    assert (figure, pytest.approx(value)) == ("years", cost)


def test_cost_in_the_figure_that_there_is():
    points = tuple((offset, {"gender": e["gender"]}) for offset, e in ERRORS.points)
    assert FramingErrors(80, points).cost_in_words(Offset(zoom=0.5)) == "20.0 points of gender"
    assert ERRORS.cost_in_words(Offset(zoom=0.5)) == "4.0 years"


def test_offset_in_words():
    assert (
        in_words(Offset(0.7, -0.1, 0.08)) == "30 % too small and 10 % too far left and 8 % too low"
    )
    assert in_words(Offset(1.25, 0.0, -0.1), least=0.2) == "25 % too large"
    assert in_words(Offset()) == ""


offsets = st.builds(Offset, st.floats(0.1, 10), st.floats(-1, 1), st.floats(-1, 1))


@given(offsets)
def test_cost_is_finite_and_bounded_by_what_was_measured(offset):
    assert 0.0 <= ERRORS.cost(offset)[1] <= 8.0


def test_a_bundle_carries_them_and_its_card_shows_them(tmp_path):
    small_bundle.write(tmp_path, framing_errors=ERRORS)
    assert bundle.load(tmp_path).description.framing_errors == ERRORS
    card = (tmp_path / "README.md").read_text()
    assert "measured on 80 validation faces" in card
    assert "| faces | age: mean absolute error, years | gender: wrong, % |\n|---|---|---|\n" in card
    assert "| as in training | 4.0 | 10.0 |\n| 50 % too small | 8.0 | 30.0 |\n" in card


GOOD = ERRORS.to_json()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected faces and points"),
        ({"faces": 5, "points": []}, "expected faces and points"),
        (GOOD | {"faces": 0}, "faces: expected a positive integer"),
        (GOOD | {"points": GOOD["points"][1:]}, "without an offset first"),
        (GOOD | {"points": GOOD["points"] * 99}, "expected faces and points"),
        (GOOD | {"points": [*GOOD["points"], 3]}, "expected an offset and its errors"),
        (GOOD | {"points": [GOOD["points"][0] | {"zoom": "1"}]}, "expected zoom from 0.1 to 10"),
        (
            GOOD | {"points": [GOOD["points"][0] | {"errors": {"x": 1.0}}]},
            "expected errors of years",
        ),
        (
            GOOD | {"points": [GOOD["points"][0] | {"errors": {"years": float("nan")}}]},
            "an error is not a number",
        ),
    ],
)
def test_what_is_refused(content, message):
    with pytest.raises(ValueError, match=f"framing_errors: .*{message}|framing_errors: {message}"):
        FramingErrors.from_json(content)


def test_none_where_none_was_measured():
    assert FramingErrors.from_json(None) is None
    assert dataclasses.replace(ERRORS) == FramingErrors.from_json(GOOD)
