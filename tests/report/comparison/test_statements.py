"""Statements about a pair."""

from typing import Any

import pytest

from ageflax.report import comparison
from ageflax.report.comparison import pairs


def pair(first: float, second: float, ends: list[float | None], p: float | None) -> dict[str, Any]:
    return {"first": "A", "second": "B", "faces": 100, "exact": {
        "first": first, "second": second, "difference": second - first, "interval": ends,
        "only_first": 3, "only_second": 6, "mcnemar_p": p, "holm_p": p,
    }}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "claimed", "text"),
    [
        (pair(0.5, 0.531, [0.012, 0.05], 0.0004), True,
         "B is better than A: +3.1 points exact, 95 % interval 1.2 to 5.0, p = 0.0004."),
        (pair(0.531, 0.5, [-0.05, -0.012], 0.00001), True,
         "A is better than B: +3.1 points exact, 95 % interval 1.2 to 5.0, p < 0.0001."),
        (pair(0.5, 0.51, [-0.01, 0.03], 0.2), False,
         "B vs. A: no significant difference: +1.0 points exact, 95 % interval -1.0 to 3.0,"
         " p = 0.20."),
        (pair(0.5, 0.53, [0.01, 0.05], 0.051), False,
         "B vs. A: no significant difference: +3.0 points exact, 95 % interval 1.0 to 5.0,"
         " p = 0.0510."),
        (pair(0.5, 0.53, [-0.01, 0.05], 0.01), False,
         "B vs. A: no significant difference: +3.0 points exact, 95 % interval -1.0 to 5.0,"
         " p = 0.0100."),
        (pair(0.5, 0.5, [0.0, 0.0], None), False,
         "B vs. A: no significant difference: +0.0 points exact, 95 % interval 0.0 to 0.0."),
        (pair(0.5, 1.0, [None, None], 0.5), False,
         "B vs. A: no significant difference: +50.0 points exact, too few subjects for an"
         " interval, p = 0.50."),
    ],
)  # fmt: skip
def test_statements(given, claimed, text):
    assert pairs.statements(given, pairs=1) == [
        {"figure": "exact", "claimed": claimed, "text": text}
    ]


def test_fewer_years_off_is_better():
    given = {"first": "A", "second": "B", "faces": 9, "mae": {
        "first": 5.0, "second": 4.5, "difference": -0.5, "interval": [-0.8, -0.2],
    }}  # fmt: skip
    (said,) = pairs.statements(given, pairs=3)
    assert said["text"] == (
        "B is better than A: -0.50 years mean absolute error, 95 % interval -0.80 to -0.20."
    )


def test_holm_is_the_step_down_procedure():
    corrected = comparison.holm([0.02, None, 0.01, 0.035])
    assert corrected[1] is None
    # 3 * 0.01; then 2 * 0.02; then 0.035, but never below the one before.
    assert [corrected[k] for k in (2, 0, 3)] == pytest.approx([0.03, 0.04, 0.04])
    assert comparison.holm([0.5, 0.6]) == [1.0, 1.0]
    assert comparison.holm([]) == []


def test_all_pairs_of_five_and_the_first_against_each_of_six():
    assert len(pairs.chosen(5)) == 10
    assert pairs.chosen(6) == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]
