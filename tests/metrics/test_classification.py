from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax import metrics

NAMES = ("a", "b", "c", "d")


def test_literal_figures():
    figures = metrics.accuracies(
        np.array([0, 0, 1, 2, 3, 3]), np.array([0, 1, 3, 2, 0, 3]), NAMES, ordered=True
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
    # The true class may be the second most probable, but it is two classes away.
    figures = metrics.accuracies(np.array([2]), np.array([0]), NAMES, ordered=True)
    assert figures["one_off"] == 0.0


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(1, 80))
def test_against_scikit_learn(data, count):
    from sklearn import metrics as reference  # here, as importing it takes seconds

    classes = st.lists(st.integers(0, 3), min_size=count, max_size=count)
    true, predicted = np.array(data.draw(classes)), data.draw(classes)
    figures = metrics.accuracies(true, np.array(predicted), NAMES, ordered=True)
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
    figures = metrics.accuracies(np.array([], int), np.array([], int), NAMES, ordered=True)
    assert figures["exact"] is None
    assert figures["one_off"] is None
    assert figures["majority_floor"] is None
    figures = metrics.accuracies(np.array([1]), np.array([0]), NAMES, ordered=False)
    assert figures["per_class"]["d"]["recall"] is None
    assert figures["per_class"]["d"]["precision"] is None
    assert "one_off" not in figures


def test_the_std_over_folds_is_the_samples():
    figure = metrics.mean_and_std([0.4, 0.6, None])
    assert figure["mean"] == 0.5
    assert figure["std"] == pytest.approx(0.02**0.5)
    assert figure["folds"] == [0.4, 0.6, None]
    assert metrics.mean_and_std([0.4])["std"] is None
    assert metrics.mean_and_std([None])["mean"] is None


def test_a_class_that_is_never_answered_has_no_precision_and_no_recall_of_its_own():
    figures = metrics.accuracies(np.array([3, 3]), np.array([0, 1]), NAMES, ordered=True)
    assert figures["per_class"]["d"] == {
        "faces": 2, "predicted": 0, "correct": 0, "recall": 0.0, "precision": None,
    }  # fmt: skip
    assert figures["exact"] == figures["one_off"] == 0.0
