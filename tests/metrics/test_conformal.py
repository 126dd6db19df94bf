"""Intervals of ages keep their promise where the truth is known, and behave as intervals should."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax import labels, metrics
from ageflax.metrics import conformal

YEARS = labels.Classes.of("years", reading="median")
GROUPS = labels.Classes.of("age")


def people(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ages, and distributions over years of a model that errs more on the old and answers too young.

    Its belief is too narrow, so that nothing but calibration can make its intervals hold.
    """
    rng = np.random.default_rng(seed)
    ages = np.minimum(rng.gamma(2.0, 18.0, count), 100.0)
    spread = 1.0 + ages / 8
    seen = ages - ages / 10 + spread * rng.standard_normal(count)
    away = (np.arange(101) - seen[:, None]) / (0.6 * spread[:, None])
    shares = np.exp(-np.minimum(away**2 / 2, 80.0))
    return ages, shares / shares.sum(1, keepdims=True)


def calibrated(count: int, seed: int, classes: labels.Classes = YEARS) -> conformal.Conformal:
    ages, shares = people(count, seed)
    if classes is GROUPS:
        shares = metrics.ages(shares, YEARS).groups
    found = conformal.fit(shares, true(ages, classes), np.arange(count), classes)
    assert found is not None
    return found


def true(ages: np.ndarray, classes: labels.Classes) -> np.ndarray:
    groups = [labels.age_group("", age, policy="nearest") for age in ages.tolist()]
    return conformal.true_candidates(classes, np.array(groups), ages)


def figures(found: conformal.Conformal, ages: np.ndarray, shares: np.ndarray, classes=YEARS):
    spans = found.intervals(shares, metrics.ages(shares, classes).years, classes)
    groups = np.array([labels.age_group("", age, policy="nearest") for age in ages.tolist()])
    bounds = conformal.label_years(classes, groups, ages)
    groupings = {"age": conformal.age_bands(ages)}
    return conformal.coverage(found.levels, spans, bounds, np.arange(len(ages)), groupings)


def test_coverage_is_the_level_at_every_age():
    ages, shares = people(4_000, 1)
    measured = figures(calibrated(2_000, 2), ages, shares)
    for level, of_level in measured.items():
        # Whole years hold somewhat more than is asked.
        assert float(level) - 0.02 < of_level["coverage"] < float(level) + 0.03
        assert of_level["interval"][0] < of_level["coverage"] < of_level["interval"][1]
        for band in of_level["age"].values():
            assert band["coverage"] == pytest.approx(float(level), abs=0.05)
    widths = [of_band["mean_width"] for of_band in measured["0.8"]["age"].values()]
    assert widths[0] < widths[3] < widths[6]


@pytest.mark.parametrize("count", [45, 100, 300])
def test_on_average_over_calibrations_the_promise_holds_with_few_people(count):
    ages, shares = people(400, 1)
    years, whole = metrics.ages(shares, YEARS).years, np.floor(ages)[:, None]
    draws = [calibrated(count, 100 + k).intervals(shares, years, YEARS) for k in range(12)]
    held = np.mean([(d[..., 0] <= whole) & (whole <= d[..., 1]) for d in draws], axis=(0, 1))
    assert (held > np.array(conformal.LEVELS) - 0.02).all()


def test_age_groups_and_heads_without_a_distribution_keep_it_too():
    ages, shares = people(2_000, 1)
    groups = metrics.ages(shares, YEARS).groups
    measured = figures(calibrated(2_000, 2, GROUPS), ages, groups, GROUPS)
    assert measured["0.8"]["coverage"] > 0.78  # whole groups hold at least what is asked
    points = metrics.ages(shares, YEARS).years[:, None]
    old, old_shares = people(2_000, 2)
    found = conformal.fit(
        metrics.ages(old_shares, YEARS).years[:, None], true(old, YEARS), np.arange(2_000), YEARS
    )
    assert found is not None
    measured = figures(found, ages, points)
    assert measured["0.8"]["coverage"] == pytest.approx(0.8, abs=0.03)
    assert measured["0.8"]["age"]["0-5"]["mean_width"] < 8


def test_a_person_weighs_as_one_face_however_many_they_have():
    ages, shares = people(60, 3)
    given_once = conformal.fit(shares, true(ages, YEARS), np.arange(60), YEARS)
    times = np.where(np.arange(60) % 7 == 0, 20, 1)
    repeated = np.repeat(np.arange(60), times)
    again = conformal.fit(shares[repeated], true(ages[repeated], YEARS), repeated, YEARS)
    assert given_once is not None
    assert again is not None
    assert (again.faces, again.people) == (len(repeated), 60)
    np.testing.assert_allclose(again.centres, given_once.centres)
    np.testing.assert_allclose(again.reaches, given_once.reaches)


def test_too_few_people_give_none_and_unknown_ages_do_not_count():
    ages, shares = people(60, 3)
    ages[: 60 - conformal.FEWEST + 1] = np.nan
    assert conformal.fit(shares, true(ages, YEARS), np.arange(60), YEARS) is None
    same = np.zeros(60, int)
    assert conformal.fit(shares, true(people(60, 3)[0], YEARS), same, YEARS) is None


def test_where_people_are_too_few_for_a_level_the_interval_has_no_bounds():
    ages, shares = people(60, 3)
    found = conformal.fit(shares, true(ages, YEARS), np.arange(60), YEARS, levels=(0.5, 0.999))
    assert found is not None
    spans = found.intervals(shares, metrics.ages(shares, YEARS).years, YEARS)
    assert (spans[:, 1] == [0, 100]).all()
    assert (spans[:, 0, 1] - spans[:, 0, 0]).mean() < 60


FOUND = calibrated(500, 5)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(1e-6, 1.0), min_size=101, max_size=101),
    st.floats(0, 100),
)
def test_intervals_hold_the_estimate_and_grow_with_the_level(shares, estimate):
    (spans,) = FOUND.intervals(np.array([shares], np.float32), np.array([estimate]), YEARS)
    assert (spans[:, 0] <= np.rint(estimate)).all()
    assert (spans[:, 1] >= np.rint(estimate)).all()
    assert (np.diff(spans[:, 0]) <= 0).all()
    assert (np.diff(spans[:, 1]) >= 0).all()
    assert (spans >= 0).all()
    assert (spans <= 100).all()


def test_a_certain_answer_and_an_absurd_one_are_answered():
    certain = np.zeros((2, 101), np.float32)
    certain[:, 30] = 1.0
    spans = FOUND.intervals(certain, np.array([30.0, 30.0]), YEARS)
    assert (spans[:, :, 0] <= 30).all()
    assert (spans[:, :, 1] >= 30).all()


def test_a_calibration_survives_its_json():
    again = conformal.Conformal.from_json(FOUND.to_json(), YEARS)
    for field in dataclasses.fields(again):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(FOUND, field.name))


@pytest.mark.parametrize(
    "change",
    [
        {"levels": []},
        {"levels": [0.8, 0.8, 0.9]},
        {"levels": [0.0, 0.8, 0.9]},
        {"levels": [0.8, 0.9, 1]},
        {"levels": "0.8"},
        {"levels": [0.5] * 10**5},
        {"centres": [0.5] * 100},
        {"centres": [0.0] * 101},
        {"centres": [float("nan")] * 101},
        {"centres": [True] * 101},
        {"centres": [10**400] * 101},
        {"centres": None},
        {"reaches": [[0.5] * 101] * 2},
        {"reaches": [[0.5] * 101, [0.4] * 101, [0.6] * 101]},
        {"reaches": [[1.5] * 101] * 3},
        {"reaches": {}},
        {"people": -1},
        {"faces": 1.5},
        {"faces": None},
    ],
)
def test_a_damaged_calibration_is_refused(change):
    with pytest.raises(ValueError, match="expected"):
        conformal.Conformal.from_json(FOUND.to_json() | change, YEARS)
    with pytest.raises(ValueError, match="expected"):
        conformal.Conformal.from_json([], YEARS)


def test_labels_that_are_ranges_are_met_by_an_interval_that_shares_a_year():
    spans = np.array([[[20, 30]], [[20, 30]], [[20, 30]], [[20, 30]], [[20, 30]]])
    bounds = np.array([[30, 39], [31, 39], [0, 20], [np.nan, np.nan], [70, np.inf]])
    found = conformal.coverage((0.8,), spans, bounds, np.arange(5), {})
    assert found["0.8"]["faces"] == 4
    assert found["0.8"]["coverage"] == 0.5
    assert found["0.8"]["mean_width"] == found["0.8"]["median_width"] == 11
