import numpy as np
import pytest

from ageflax import metrics
from ageflax.errors import InputError


def test_years_leave_unknown_ages_out():
    ages = np.array([10.0, np.nan, 20.0, 30.0], np.float32)
    figures = metrics.years(ages, np.array([15.0, 99.0, 26.0, 30.0]))
    assert figures["faces"] == 3
    assert figures["mae"] == pytest.approx(11 / 3)
    assert figures["cs5"] == 2 / 3
    assert figures["bias"] == pytest.approx(11 / 3)
    assert figures["bands"]["6-12"] == {"faces": 1, "mae": 5.0, "cs5": 1.0, "bias": 5.0}
    assert figures["bands"]["30-44"]["mae"] == 0.0
    assert figures["bands"]["75-130"] == {"faces": 0, "mae": None, "cs5": None, "bias": None}
    assert sum(band["faces"] for band in figures["bands"].values()) == 3
    nothing = metrics.years(np.array([np.nan]), np.array([1.0]))
    assert nothing["mae"] is None
    assert nothing["mae_floor"] is None
    assert nothing["cs5_floor"] is None


def test_the_floors_of_years_are_those_of_the_best_constant_answer():
    ages = np.array([1.0, 4.0, 11.0, 12.0, 70.0])
    figures = metrics.years(ages, np.zeros(5))
    # The median is best for the mean error; the answer 6 alone has four within five years.
    assert figures["mae_floor"] == (10 + 7 + 0 + 1 + 59) / 5
    constants = np.arange(0, 100, 0.25)
    assert figures["cs5_floor"] == max((abs(ages - c) <= 5).mean() for c in constants)


def test_cumulative_score_counts_faces_within_so_many_years():
    # Off by 0, 1, 2.5, 5, 10 and 10.5 years, either way.
    ages = np.array([20.0, 20.0, 20.0, 20.0, 20.0, 20.0], np.float32)
    figures = metrics.years(ages, np.array([20.0, 19.0, 22.5, 15.0, 30.0, 30.5]))
    assert figures["cs"] == {
        "0": 1 / 6, "1": 2 / 6, "2": 2 / 6, "3": 3 / 6, "4": 3 / 6, "5": 4 / 6, "6": 4 / 6,
        "7": 4 / 6, "8": 4 / 6, "9": 4 / 6, "10": 5 / 6,
    }  # fmt: skip
    assert figures["cs"]["5"] == figures["cs5"]


def test_false_adults_and_false_minors_at_eighteen():
    ages = np.array([17.9, 10.0, 12.0, 18.0, 40.0, np.nan])
    estimated = np.array([18.0, 17.99, 30.0, 17.99, 41.0, 5.0])
    assert metrics.years(ages, estimated)["adulthood"] == {
        "age": 18, "minors": 3, "adults": 2, "false_adult": 2 / 3, "false_minor": 1 / 2,
    }  # fmt: skip
    only_adults = metrics.years(np.array([30.0]), np.array([10.0]))["adulthood"]
    assert only_adults["false_adult"] is None
    assert only_adults["false_minor"] == 1.0


def test_an_estimate_that_is_no_number_is_refused_where_the_age_is_known():
    with pytest.raises(InputError, match="estimated ages of 1 of 2 faces are not finite"):
        metrics.years(np.array([1.0, 2.0]), np.array([1.0, np.nan]))
    assert metrics.years(np.array([1.0, np.nan]), np.array([1.0, np.nan]))["faces"] == 1
