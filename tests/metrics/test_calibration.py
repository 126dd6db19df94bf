import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax import metrics
from ageflax.errors import InputError


def drawn(seed: int, faces: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, faces), rng.dirichlet(np.ones(classes), faces)


def test_literal_bins_and_error():
    # Confidences .5 .5 .9 .9, right in the first and the last two: bins (7/15, 8/15], (13/15, 14/15].
    probabilities = np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1], [0.1, 0.9]])
    figures = metrics.calibration(np.array([0, 1, 0, 1]), probabilities)
    filled = [b for b in figures["bins"] if b["faces"]]
    assert [(b["faces"], b["accuracy"]) for b in filled] == [(2, 0.5), (2, 1.0)]
    assert [b["confidence"] for b in filled] == pytest.approx([0.5, 0.9])
    assert (filled[0]["low"], filled[1]["high"]) == (7 / 15, 14 / 15)
    assert figures["ece"] == pytest.approx((2 * 0.0 + 2 * 0.1) / 4)
    assert figures["nll"] == pytest.approx(-np.log([0.5, 0.5, 0.9, 0.9]).mean())
    assert figures["ece_scaled"] is None
    assert figures["nll_scaled"] is None
    empty = figures["bins"][0]
    assert empty == {"low": 0.0, "high": 1 / 15, "faces": 0, "confidence": None, "accuracy": None}


def test_a_bin_holds_its_upper_edge_and_certainty_lies_in_the_last():
    bins = metrics.calibration(
        np.array([0, 0]), np.array([[0.6, 0.4], [1.0, 0.0]], np.float64)
    )["bins"]  # fmt: skip
    assert [k for k, b in enumerate(bins) if b["faces"]] == [8, 14]  # .6 is 9/15, the end of bin 8
    rounded_up = metrics.calibration(np.array([0]), np.array([[1.0000001, 0.0]], np.float32))
    assert rounded_up["bins"][14]["faces"] == 1


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), faces=st.integers(2, 200), classes=st.integers(2, 9))
def test_against_scikit_learn(seed, faces, classes):
    # Here, as importing it takes seconds, which each worker would spend.
    from sklearn import metrics as reference
    from sklearn.calibration import calibration_curve

    true, probabilities = drawn(seed, faces, classes)
    figures = metrics.calibration(true, probabilities)
    correct, confidence = probabilities.argmax(1) == true, probabilities.max(1)
    accuracies, confidences = calibration_curve(correct, confidence, n_bins=15)
    filled = [b for b in figures["bins"] if b["faces"]]
    np.testing.assert_allclose([b["accuracy"] for b in filled], accuracies)
    np.testing.assert_allclose([b["confidence"] for b in filled], confidences)
    expected = reference.log_loss(true, probabilities, labels=np.arange(classes))
    assert figures["nll"] == pytest.approx(expected, rel=1e-9)
    weights = [b["faces"] for b in filled]
    assert figures["ece"] == pytest.approx(
        np.average(np.abs(accuracies - confidences), weights=weights)
    )


def test_an_impossible_true_class_costs_much_but_not_infinitely_much():
    figures = metrics.calibration(np.array([1]), np.array([[1.0, 0.0]], np.float32))
    assert figures["nll"] == pytest.approx(-np.log(1e-12))


def test_of_no_face_everything_is_null_and_of_one_it_is_defined():
    nothing = metrics.calibration(np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3)))
    assert nothing["ece"] is None
    assert nothing["nll"] is None
    assert nothing["ece_scaled"] is None
    assert {b["faces"] for b in nothing["bins"]} == {0}
    one = metrics.calibration(np.array([2]), np.array([[0.2, 0.2, 0.6]]))
    assert one["ece"] == pytest.approx(0.4)


def test_the_temperature_of_overconfident_answers_is_found():
    # Labels drawn from softmax(s); the model gives softmax(s * 3), so the temperature is 3.
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 5))
    honest = metrics.tempered(np.exp(scores), 1.0)
    true = (honest.cumsum(1) < rng.random((20_000, 1))).sum(1)
    overconfident = metrics.tempered(honest, 1 / 3)
    temperature = metrics.fit_temperature(true, overconfident)
    assert temperature is not None
    assert temperature == pytest.approx(3.0, rel=0.03)
    scaled = metrics.tempered(overconfident, temperature)
    figures = metrics.calibration(true, overconfident, scaled)
    assert figures["ece"] > 0.15
    assert figures["ece_scaled"] < 0.02
    assert figures["nll_scaled"] < figures["nll"]
    np.testing.assert_array_equal(scaled.argmax(1), overconfident.argmax(1))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), temperature=st.floats(0.05, 20.0))
def test_no_other_temperature_is_more_likely(seed, temperature):
    true, probabilities = drawn(seed, 40, 4)
    true[:2] = 0, 1
    best = metrics.fit_temperature(true, probabilities)
    assert best is not None
    losses = [
        metrics.calibration(true, metrics.tempered(probabilities, t))["nll"]
        for t in (best, temperature)
    ]
    assert losses[0] <= losses[1] + 1e-6


def test_a_temperature_that_cannot_be_told_is_null():
    probabilities = np.array([[0.7, 0.3], [0.6, 0.4]])
    assert metrics.fit_temperature(np.zeros(0, int), probabilities[:0]) is None
    assert metrics.fit_temperature(np.array([0]), probabilities[:1]) is None
    assert metrics.fit_temperature(np.array([1, 1]), probabilities) is None


def test_faces_told_without_a_mistake_and_certain_zeros_give_a_finite_temperature():
    true = np.array([0, 1, 0, 1])
    surest = metrics.fit_temperature(true, np.eye(2)[true])
    assert surest is not None
    assert 0.05 <= surest < 1.0
    # Always wrong with certainty: the largest temperature.
    assert metrics.fit_temperature(true, np.eye(2)[1 - true]) == pytest.approx(20.0, rel=1e-3)


def test_probabilities_that_are_no_numbers_are_refused():
    probabilities = np.array([[0.5, 0.5], [np.nan, np.nan], [0.5, np.nan]])
    for function in (metrics.calibration, metrics.fit_temperature):
        with pytest.raises(InputError, match="probabilities of 2 of 3 faces are not finite"):
            function(np.array([0, 1, 1]), probabilities)
