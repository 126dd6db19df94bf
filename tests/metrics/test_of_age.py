"""Rules that tell who is of age: counted by hand, and their order."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax import metrics
from ageflax.errors import InputError
from ageflax.labels import Classes
from ageflax.metrics.of_age import NEAR, SHOWN, SIDES, shortened, table

NAN = np.nan


def single(*ages: float) -> np.ndarray:
    return np.array([ages, ages], np.float64).T


def measured(ages, estimated, minor=None, *, genders=None, subjects=None):
    ages = np.asarray(ages, np.float64)
    minor = None if minor is None else np.array(minor, np.float64)
    genders = None if genders is None else np.array(genders)
    subjects = np.arange(len(ages)) if subjects is None else np.array(subjects)
    estimated = np.array(estimated, np.float64)
    return metrics.of_age(ages, estimated, minor, genders=genders, subjects=subjects)


def share(figures, who, group, rule, threshold):
    place = figures["thresholds"][rule].index(threshold)
    return figures["groups"][who][group][rule]["share"][place]


def test_the_probability_is_the_mass_of_the_years_below():
    shares = np.zeros((2, 101), np.float32)
    shares[0, [17, 18]] = 0.25, 0.75
    shares[1, 40] = 1.0
    assert metrics.under(shares, 18).tolist() == [0.25, 0.0]
    assert metrics.under(shares, 19).tolist() == [1.0, 0.0]
    # The median, which spreads a year over k +- 1/2, is half a year below where as much lies on both sides.
    shares[0, [17, 18]] = 0.5, 0.5
    median = metrics.ages(shares, Classes.of("years", reading="median")).years
    assert median[0] == 17.5
    assert metrics.under(shares, 18)[0] == 0.5


def test_false_adults_and_false_minors_counted_by_hand():
    #      13-17: two women, a man; 18-24: a woman, a man; 25-30: one unknown; 12 and 40; unknown
    ages = single(13, 17.9, 15, 18, 24.9, 30, 12, 40, NAN)
    estimated = [17.9, 18.0, 30.0, 17.0, 25.0, 24.9, 20.0, 40.0, 1.0]
    minor = [0.90, 0.05, 0.049, 0.5, 0.0, 0.3, 0.6, 0.01, 0.5]
    figures = measured(ages, estimated, minor, genders=[0, 0, 1, 0, 1, -1, 1, 1, 0])
    json.dumps(figures, allow_nan=False)
    assert figures["age"] == 18
    assert figures["faces"] == 8
    assert figures["thresholds"]["challenge"] == list(range(18, 36))
    faces = {
        who: {name: each["faces"] for name, each in held.items()}
        for who, held in figures["groups"].items()
    }
    assert faces == {
        "all": {"13-17": 3, "18-24": 2, "25-30": 1, "under 18": 4, "18 and over": 4},
        "female": {"13-17": 2, "18-24": 1, "under 18": 2, "18 and over": 1},
        "male": {"13-17": 1, "18-24": 1, "under 18": 2, "18 and over": 2},
    }
    # An estimate of T itself passes; so does only a probability below p.
    assert share(figures, "all", "13-17", "challenge", 18) == 2 / 3
    assert share(figures, "female", "13-17", "challenge", 18) == 1 / 2
    assert share(figures, "all", "13-17", "challenge", 30) == 1 / 3
    assert share(figures, "all", "18-24", "challenge", 25) == 1 / 2
    assert share(figures, "all", "18-24", "challenge", 26) == 1.0
    assert share(figures, "all", "25-30", "challenge", 24) == 0.0
    assert share(figures, "all", "under 18", "challenge", 18) == 3 / 4
    assert share(figures, "all", "13-17", "probability", 0.05) == 1 / 3
    assert share(figures, "all", "13-17", "probability", 0.1) == 2 / 3
    assert share(figures, "all", "18-24", "probability", 0.5) == 1 / 2
    assert share(figures, "all", "18-24", "probability", 0.7) == 0.0
    true = np.array([1, 1, 1, 0, 0, 0, 1, 0])
    likely = np.where(true, minor[:8], 1 - np.array(minor[:8]))
    assert figures["log_loss"] == pytest.approx(-np.log(likely).mean())
    assert figures["log_loss_floor"] == pytest.approx(np.log(2))


def test_a_range_counts_where_it_lies_wholly():
    ranges = [[0, 2], [10, 19], [13, 17], [20, 29], [18, 24], [70, np.inf], [15, 18], [NAN, NAN]]
    figures = measured(ranges, np.full(8, 20.0))
    faces = {name: each["faces"] for name, each in figures["groups"]["all"].items()}
    assert faces == {"13-17": 1, "18-24": 1, "under 18": 2, "18 and over": 3}
    assert list(figures["groups"]) == ["all"]
    assert figures["log_loss"] is None
    assert list(figures["thresholds"]) == ["challenge"]


def test_intervals_draw_persons_and_know_that_few_right_answers_are_no_certainty():
    # Four photographs of one person and one each of two others.
    people = ["a", "a", "a", "a", "b", "c"]
    figures = measured(single(*[16] * 6), [30, 30, 30, 30, 10, 17], subjects=people)
    group = figures["groups"]["all"]["13-17"]
    assert (group["faces"], group["persons"]) == (6, 3)
    at = dict(zip(figures["thresholds"]["challenge"], group["challenge"]["intervals"], strict=True))
    assert at[25] == [0.0, 1.0]  # three persons: all of them a, or none
    # None of three persons passes at 35: not more than 1 - 0.025 ** (1 / 3) of such people, exactly.
    assert at[35] == [0.0, pytest.approx(0.7076, abs=1e-4)]
    everyone = measured(single(16, 16), [40, 40])["groups"]["all"]["13-17"]["challenge"]
    assert everyone["intervals"][0] == [pytest.approx(0.1581, abs=1e-4), 1.0]


def test_nobody_known_and_numbers_that_are_none():
    nothing = measured(single(NAN, NAN), [NAN, NAN], [0.5, NAN])
    assert nothing["faces"] == 0
    assert nothing["groups"] == {}
    assert nothing["log_loss"] is nothing["log_loss_floor"] is None
    with pytest.raises(InputError, match="probabilities of 1 of 2 faces are not finite"):
        measured(single(1, 2), [1, 2], [0.5, NAN])


@settings(max_examples=25)
@given(st.lists(st.tuples(*[st.floats(0, 100, width=32)] * 2, st.floats(0, 1)), max_size=20))
def test_a_stricter_rule_passes_fewer_minors_and_challenges_more_adults(faces):
    ages, estimated, minor = np.array(faces, np.float64).reshape(-1, 3).T
    figures = measured(single(*ages), estimated, minor)
    for name, group in figures["groups"].get("all", {}).items():
        falling = (NEAR | SIDES)[name][0] < 18
        for rule, sign in (("challenge", 1), ("probability", -1)):
            shares, ends = group[rule]["share"], group[rule]["intervals"]
            steps = np.diff(shares) * sign
            assert (steps <= 0).all() if falling else (steps >= 0).all()
            assert all(0 <= low <= high <= 1 for low, high in ends if low is not None)
            assert all(s in (0, 1) or group["persons"] > 1 for s in shares)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1, width=32), min_size=101, max_size=101), st.integers(1, 99))
def test_the_probability_rises_with_the_age_and_agrees_with_the_median(weights, age):
    shares = np.array([weights]) + 1e-3
    shares /= shares.sum()
    below, above = metrics.under(shares, age), metrics.under(shares, age + 1)
    assert 0 <= below <= above <= 1
    median = metrics.ages(shares, Classes.of("years", reading="median")).years
    assert abs(below - 0.5) < 1e-9 or (below > 0.5) == (median < age - 0.5)


def test_the_table_shows_few_thresholds_of_all_and_each_of_one_gender():
    ages, genders = single(16, 16, 20), [0, 1, 1]
    figures = measured(ages, [10, 30, 25], [0.9, 0.1, 0.04], genders=genders)
    figures = json.loads(json.dumps(figures))
    head, faces, *rows = table(figures)
    assert head == ["18 or older?", "13-17 passed, %", "female", "male", "18-24 challenged, %"]
    assert faces == ["faces", "2", "1", "1", "1"]
    assert rows[0] == ["P(under 18) < 2 %", "0.0 [0.0, 84.2]", "0.0", "0.0", "100.0 [2.5, 100.0]"]
    assert rows[3] == ["P(under 18) < 20 %", "50.0 [0.0, 100.0]", "0.0", "100.0", "0.0 [0.0, 97.5]"]
    assert [row[0] for row in rows[5:]] == ["age >= 18", "age >= 21", "age >= 25", "age >= 30"]
    men = table(figures, "male")
    assert men[0] == ["18 or older?", "13-17 passed, %", "18-24 challenged, %"]
    assert len(men) == 2 + 9 + 18
    assert men[2] == ["P(under 18) < 1 %", "0.0 [0.0, 97.5]", "100.0 [2.5, 100.0]"]


def test_the_short_form_has_the_same_short_table():
    ages = single(16, 16, 20)
    figures = measured(ages, [10, 30, 25], [0.9, 0.1, 0.04], genders=[0, 1, 1])
    short = shortened(figures)
    assert short["thresholds"] == {k: sorted(values) for k, values in SHOWN.items()}
    assert table(short) == table(figures)
    assert len(json.dumps(short)) < len(json.dumps(figures)) / 2


def test_sides_stand_in_for_groups_that_no_label_lies_in():
    wide = measured([[0, 9], [40, 49]], [10, 30])
    head, *rows = table(wide)
    assert head == ["18 or older?", "under 18 passed, %", "18 and over challenged, %"]
    assert len(rows) == 1 + 4  # without a probability
    assert table(measured(single(NAN), [1]))[0] == ["18 or older?"]


@pytest.mark.parametrize(
    "broken",
    [{}, {"groups": []}, {"groups": {"all": {"13-17": 1}}, "thresholds": {}},
     {"groups": {"all": {"13-17": {"faces": 1e400}}}, "thresholds": {}},
     {"groups": {"all": {"13-17": {"faces": 1, "challenge": {"share": []}}}},
      "thresholds": {"challenge": [18]}}],
)  # fmt: skip
def test_figures_of_another_form_are_one_of_the_named_errors(broken):
    with pytest.raises((ArithmeticError, AttributeError, LookupError, TypeError, ValueError)):
        table(broken)
