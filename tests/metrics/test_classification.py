from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from ageflax import metrics

NAMES = ("a", "b", "c", "d")


def one_hot(classes: list[int]) -> np.ndarray:
    return np.eye(4, dtype=np.float32)[classes]


def test_literal_figures():
    figures = metrics.classification(
        np.array([0, 0, 1, 2, 3, 3]), one_hot([0, 1, 3, 2, 0, 3]), NAMES, ordered=True
    )
    assert figures["faces"] == 6
    assert figures["exact"] == 3 / 6
    assert figures["one_off"] == 4 / 6
    assert figures["mae_classes"] == (0 + 1 + 2 + 0 + 3 + 0) / 6
    assert figures["majority_floor"] == 2 / 6
    assert figures["one_off_floor"] == 4 / 6  # always "c": b, c and d are within one
    assert figures["confusion"] == [[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 1]]
    assert figures["per_class"]["a"] == {
        "faces": 2, "predicted": 2, "correct": 1, "recall": 0.5, "precision": 0.5,
    }  # fmt: skip
    assert figures["per_class"]["b"]["recall"] == 0.0


def test_one_off_is_not_top_two():
    # The true class is the second most probable, but two classes away.
    probabilities = np.array([[0.4, 0.1, 0.35, 0.15]], np.float32)
    figures = metrics.classification(np.array([2]), probabilities, NAMES, ordered=True)
    assert figures["one_off"] == 0.0


@given(data=st.data(), count=st.integers(1, 80))
def test_against_scikit_learn(data, count):
    classes = st.lists(st.integers(0, 3), min_size=count, max_size=count)
    true, predicted = np.array(data.draw(classes)), data.draw(classes)
    figures = metrics.classification(true, one_hot(predicted), NAMES, ordered=True)
    labels = range(4)
    matrix = reference.confusion_matrix(true, predicted, labels=labels)
    # scikit-learn's own annotations admit no literals here.
    options: Any = {"labels": labels, "average": None, "zero_division": 0}
    recall: Any = reference.recall_score(true, predicted, **options)
    precision: Any = reference.precision_score(true, predicted, **options)
    assert figures["confusion"] == matrix.tolist()
    assert figures["exact"] == reference.accuracy_score(true, predicted)
    for k, name in enumerate(NAMES):
        assert (figures["per_class"][name]["recall"] or 0) == recall[k]
        assert (figures["per_class"][name]["precision"] or 0) == precision[k]
    assert figures["majority_floor"] <= figures["one_off_floor"]


def test_shares_of_nothing_are_null():
    figures = metrics.classification(np.array([], int), one_hot([]), NAMES, ordered=True)
    assert figures["exact"] is None
    assert figures["one_off"] is None
    assert figures["majority_floor"] is None
    figures = metrics.classification(np.array([1]), one_hot([0]), NAMES, ordered=False)
    assert figures["per_class"]["d"]["recall"] is None
    assert figures["per_class"]["d"]["precision"] is None
    assert "one_off" not in figures


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
    # The median is best for the mean error; any answer from 6 to 6 has four within five years of it.
    assert figures["mae_floor"] == (10 + 7 + 0 + 1 + 59) / 5
    constants = np.arange(0, 100, 0.25)
    assert figures["cs5_floor"] == max((abs(ages - c) <= 5).mean() for c in constants)


def test_deviation_over_folds_is_the_samples():
    figure = metrics.mean_and_deviation([0.4, 0.6, None])
    assert figure["mean"] == 0.5
    assert figure["std"] == pytest.approx(0.02**0.5)
    assert figure["folds"] == [0.4, 0.6, None]
    assert metrics.mean_and_deviation([0.4])["std"] is None
    assert metrics.mean_and_deviation([None])["mean"] is None
