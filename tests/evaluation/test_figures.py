import json

import numpy as np
import pytest

from ageflax import labels, metrics
from ageflax.data.dataset import Faces, Target
from ageflax.errors import RunError
from ageflax.evaluation.figures import fit_temperatures, measure, scores
from ageflax.evaluation.predictions import Predictions
from ageflax.metrics import ages

FACES = Faces(
    keys=np.array([f"face_{k}" for k in range(8)], object),
    subjects=np.array(list("aabbccdd"), object),
    folds=np.zeros(8, np.int32),
    age_labels=np.array([""] * 8, object),
    ages=np.array([1, 5, 10, 17, 30, 41, np.nan, 70], np.float32),
    genders=np.array([0, 1, 0, 1, 0, 1, 0, -1], np.int32),
    scores=np.full(8, np.nan, np.float32),
)
AGE, YEARS, GENDER = (FACES.target(t, policy="nearest") for t in ("age", "years", "gender"))


def predictions(task: str, target: Target, *, seed: int = 0) -> Predictions:
    """Random predictions of faces 1 to 7; face 0 is not evaluated."""
    classes = 101 if target.years is not None else len(target.names)
    shares = np.random.default_rng(seed).dirichlet(np.ones(classes), 7).astype(np.float32)
    return Predictions(np.arange(1, 8), {task: shares}, np.zeros(0, int))


def years_directly(*years: float) -> Predictions:
    values = np.array(years, np.float32)[:, None]
    return Predictions(np.arange(8), {"years": values}, np.zeros(0, int))


def test_every_part_is_there_and_is_json():
    figures = measure(predictions("age", AGE), FACES, {"age": AGE}, temperatures={"age": 2.0})[
        "age"
    ]
    json.dumps(figures, allow_nan=False)
    assert set(figures["groups"]) == {"gender"}
    assert [figures["groups"]["gender"][g]["faces"] for g in ("female", "male")] == [2, 3]
    assert sum(b["faces"] for b in figures["calibration"]["bins"]) == figures["faces"] == 6
    assert figures["calibration"]["temperature"] == 2.0
    assert figures["calibration"]["nll_scaled"] is not None
    assert figures["intervals"]["persons"] == 4
    assert {"exact", "one_off", "mae_classes", "mae", "cs5"} <= figures["intervals"].keys()
    assert figures["intervals"]["exact"][0] <= figures["exact"] <= figures["intervals"]["exact"][1]
    assert figures["years"]["adulthood"]["minors"] == 3


def test_scores_are_the_figures_less_what_takes_time():
    given = predictions("age", AGE), FACES, {"age": AGE}
    quick, figures = scores(*given)["age"], measure(*given)["age"]
    assert quick == {name: figures[name] for name in quick}
    assert set(figures) - set(quick) == {"groups", "calibration", "intervals", "of_age"}


def test_gender_is_also_given_by_age_class_where_the_classes_are_told():
    given = predictions("gender", GENDER)
    alone = measure(given, FACES, {"gender": GENDER})["gender"]
    assert alone["groups"] == {}
    told = measure(given, FACES, {"gender": GENDER}, age_groups=AGE)["gender"]
    assert list(told["groups"]["age"]) == list(labels.AGE_GROUPS)
    assert told["groups"]["age"]["4-6"]["faces"] == 1
    assert told["groups"]["age"]["60-100"]["faces"] == 0  # their gender is unknown
    assert "one_off" not in told["intervals"]
    assert "years" not in told


def test_years_are_calibrated_over_the_groups_they_add_up_to():
    given = predictions("years", YEARS)
    figures = measure(given, FACES, {"years": YEARS})["years"]
    groups = ages(given.probabilities["years"], YEARS).groups
    known = YEARS.classes[given.rows] >= 0
    expected = metrics.calibration(YEARS.classes[given.rows][known], groups[known])
    assert figures["calibration"] == {"temperature": None, **expected}
    # Who is of age is told by the sum over the years themselves, not by groups such as 15-20.
    minor = given.probabilities["years"][2, :18].sum()
    passed = dict(
        zip(
            figures["of_age"]["thresholds"]["probability"],
            figures["of_age"]["groups"]["male"]["13-17"]["probability"]["share"],
            strict=True,
        )
    )
    assert passed == {p: float(minor < p) for p in passed}


def test_a_head_without_a_distribution_has_neither_calibration_nor_temperature():
    given = years_directly(2, 4, 11, 18, 29, 50, 60, 65)
    figures = measure(given, FACES, {"years": YEARS}, temperatures={"years": None})["years"]
    assert "calibration" not in figures
    assert figures["years"]["mae"] == pytest.approx((1 + 1 + 1 + 1 + 1 + 9 + 5) / 7)
    assert figures["years"]["adulthood"]["false_adult"] == 1 / 4
    assert list(figures["of_age"]["thresholds"]) == ["challenge"]  # no probability
    assert fit_temperatures(given, FACES, {"years": YEARS}) == {"years": None}


def test_a_temperature_is_fitted_on_the_labelled_faces():
    given = predictions("gender", GENDER)
    known = GENDER.classes[given.rows] >= 0
    expected = metrics.fit_temperature(
        GENDER.classes[given.rows][known], given.probabilities["gender"][known]
    )
    assert fit_temperatures(given, FACES, {"gender": GENDER}) == {"gender": expected}
    assert expected is not None


@pytest.mark.parametrize("what", [measure, scores, fit_temperatures])
def test_probabilities_that_are_no_numbers_name_the_first_face(what):
    given = predictions("age", AGE)
    given.probabilities["age"][[2, 5], 3] = np.nan
    with pytest.raises(
        RunError, match=r"task age: .* of 2 of 7 faces are not finite; the first is face_3"
    ):
        what(given, FACES, {"age": AGE})


def test_one_face_and_no_labelled_face_are_defined():
    one = Predictions(
        np.array([7]), {"gender": np.array([[0.3, 0.7]], np.float32)}, np.zeros(0, int)
    )
    figures = measure(one, FACES, {"gender": GENDER}, age_groups=AGE)["gender"]
    json.dumps(figures, allow_nan=False)
    assert figures["faces"] == 0
    assert figures["exact"] is None
    assert figures["calibration"]["ece"] is None
    assert figures["intervals"]["persons"] == 0
    assert figures["intervals"]["exact"] == [None, None]


def test_a_fold_of_one_person_has_figures_and_no_interval():
    of_one = Predictions(
        np.array([2, 3]),
        {"age": predictions("age", AGE).probabilities["age"][:2]},
        np.zeros(0, int),
    )
    figures = measure(of_one, FACES, {"age": AGE})["age"]
    assert figures["faces"] == 2
    assert figures["exact"] is not None
    assert figures["intervals"]["persons"] == 1
    assert figures["intervals"]["mae"] == [None, None]
