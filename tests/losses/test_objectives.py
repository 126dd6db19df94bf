"""Objectives against values by hand; and for all of them distributions, unknown labels, large scores."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax import losses
from ageflax.losses import Objective

LN2, LN3 = float(np.log(2.0)), float(np.log(3.0))

DISTRIBUTIONS: dict[str, Objective] = {
    "cross_entropy": losses.CrossEntropy(8),
    "smoothed": losses.CrossEntropy(8, smoothing=0.1),
    "label_distribution": losses.LabelDistribution(8, sigma=1.5),
    "mean_variance": losses.MeanVariance(8),
    "coral": losses.Coral(8),
    "corn": losses.Corn(8),
    "gaussian": losses.Gaussian(8),
    "dex": losses.CrossEntropy(101),
    "coral_years": losses.Coral(101),
    "corn_years": losses.Corn(101),
    "gaussian_years": losses.Gaussian(101),
    "expectation": losses.Expectation(101, losses.LabelDistribution(101, 2.5), 0.05),
    "expectation_coral": losses.Expectation(101, losses.Coral(101), 0.5),
    "expectation_gaussian": losses.Expectation(101, losses.Gaussian(101), 0.5),
}
ESTIMATES: dict[str, Objective] = {
    "absolute": losses.Absolute(101),
    "huber": losses.Huber(101, delta=3.0),
}
ALL = DISTRIBUTIONS | ESTIMATES


def _loss(objective: Objective, scores: list[list[float]], labels: list[float]) -> np.ndarray:
    found = objective.loss(jnp.array(scores, jnp.float32), jnp.array(labels, jnp.float32))
    return np.asarray(found)


def _check(objective: Objective, scores: list[float], label: float, loss: float) -> None:
    np.testing.assert_allclose(_loss(objective, [scores], [label]), [loss], 2e-6, 1e-6)


def test_cross_entropy() -> None:
    # Probabilities 1/2, 1/4, 1/4.
    scores = [LN2, 0.0, 0.0]
    _check(losses.CrossEntropy(3), scores, 0, LN2)
    _check(losses.CrossEntropy(3), scores, 2, 2 * LN2)
    # 0.3 of the target spread over three classes of 1, 2 and 2 ln 2.
    _check(losses.CrossEntropy(3, smoothing=0.3), scores, 0, 0.7 * LN2 + 0.1 * 5 * LN2)


@pytest.mark.parametrize(
    ("years", "index"), [(0.49, 0), (0.5, 1), (1.0, 1), (1.5, 2), (2.0, 2), (104.5, 2)]
)
def test_years_are_of_the_nearest_class(years: float, index: int) -> None:
    # Probabilities 4/7, 2/7, 1/7.
    loss = float(np.log([7 / 4, 7 / 2, 7])[index])
    _check(losses.CrossEntropy(3), [2 * LN2, LN2, 0.0], years, loss)


def test_label_distribution() -> None:
    # With this sigma the normal halves one class away: 1/4, 1/2, 1/4 around class 1.
    objective = losses.LabelDistribution(3, sigma=(1 / (2 * LN2)) ** 0.5)
    _check(objective, [0.0, LN2, 0.0], 1.0, 0.0)
    # Against thirds: ln 3 less the target's entropy, 3/2 ln 2.
    _check(objective, [5.0, 5.0, 5.0], 1.0, LN3 - 1.5 * LN2)
    # Around 0 the three classes are 1 : 1/2 : 1/16; around 1/2 the first two are equal, and the third
    # is 2^-2.25 / 2^-0.25 = 1/4 of them.
    _check(objective, [0.0, -LN2, -4 * LN2], 0.0, 0.0)
    _check(objective, [0.0, 0.0, -2 * LN2], 0.5, 0.0)
    # Beyond the last class the target is that of the last.
    _check(objective, [-4 * LN2, -LN2, 0.0], 7.0, 0.0)


def test_the_std_of_a_label_grows_with_it() -> None:
    once = (1 / (2 * LN2)) ** 0.5
    objective = losses.LabelDistribution(3, sigma=once, growth=once)
    _check(objective, [0.0, -LN2, -4 * LN2], 0.0, 0.0)
    # Twice as wide around 1: neighbours are a fourth root; three times around 2 and beyond.
    _check(objective, [-LN2 / 4, 0.0, -LN2 / 4], 1.0, 0.0)
    _check(objective, [-4 * LN2 / 9, -LN2 / 9, 0.0], 2.0, 0.0)
    _check(objective, [-4 * LN2 / 9, -LN2 / 9, 0.0], 7.0, 0.0)


def test_mean_variance() -> None:
    objective = losses.MeanVariance(3, mean_weight=0.2, variance_weight=0.05)
    # 1/4, 1/2, 1/4: mean 1, variance 1/2.
    _check(objective, [0.0, LN2, 0.0], 1.0, LN2 + 0.05 * 0.5)
    _check(objective, [0.0, LN2, 0.0], 2.0, 2 * LN2 + 0.2 * 0.5 + 0.05 * 0.5)
    # 1.75 is nearest to class 2; its squared error is its own.
    _check(objective, [0.0, LN2, 0.0], 1.75, 2 * LN2 + 0.2 * 0.5 * 0.75**2 + 0.05 * 0.5)


def test_coral() -> None:
    # P(y > 0) = 3/4, P(y > 1) = 1/3.
    scores = [LN3, -LN2]
    ln43, ln32 = 2 * LN2 - LN3, LN3 - LN2
    _check(losses.Coral(3), scores, 0, 2 * LN2 + ln32)
    _check(losses.Coral(3), scores, 1, ln43 + ln32)
    _check(losses.Coral(3), scores, 2, ln43 + LN3)
    found = losses.Coral(3).probabilities(jnp.array([scores]))
    np.testing.assert_allclose(found, [[1 / 4, 5 / 12, 1 / 3]], 1e-6)
    # Thresholds out of order: P(y > 1) = 3/4 is lowered to P(y > 0) = 1/3.
    found = losses.Coral(3).probabilities(jnp.array([[-LN2, LN3]]))
    np.testing.assert_allclose(found, [[2 / 3, 0, 1 / 3]], 1e-6)


def test_the_published_example_of_corals_loss() -> None:
    # From the docstring of the authors' coral_loss.
    scores = [[2.1, 1.8, -2.1, -1.8], [1.9, -1.0, -1.5, -1.3], [1.9, 1.8, 1.7, 1.6]]
    assert _loss(losses.Coral(5), scores, [2, 1, 4]).mean() == pytest.approx(0.6920, abs=5e-5)


def test_coral_starts_with_one_weight_vector_and_thresholds_in_order() -> None:
    assert losses.Coral(5).shared_weights
    assert losses.Coral(5).initial_bias == (1.0, 0.75, 0.5, 0.25)
    assert not losses.Corn(5).shared_weights
    assert losses.Corn(5).initial_bias is None


def test_corn() -> None:
    # P(y > 0) = 3/4, P(y > 1 | y >= 1) = 1/3: classes of 1/4, 1/2, 1/4.
    scores = [LN3, -LN2]
    found = losses.Corn(3).probabilities(jnp.array([scores]))
    np.testing.assert_allclose(found, [[1 / 4, 1 / 2, 1 / 4]], 1e-6)
    for label, loss in ((0, 2 * LN2), (1, LN2), (2, 2 * LN2)):
        _check(losses.Corn(3), scores, label, loss)


@pytest.mark.parametrize("objective", [losses.Corn(8), losses.CrossEntropy(8)], ids=type)
def test_a_likelihoods_loss_is_that_of_its_own_probabilities(objective: Objective) -> None:
    scores = np.random.default_rng(1).normal(0, 2, (8, objective.outputs)).astype(np.float32)
    labels = np.arange(8, dtype=np.int32)
    found = objective.loss(jnp.asarray(scores), labels)
    own = np.asarray(objective.probabilities(jnp.asarray(scores)))[labels, labels]
    np.testing.assert_allclose(found, -np.log(own), 2e-6)


def test_estimates_are_in_years_and_their_losses_in_tens() -> None:
    np.testing.assert_array_equal(
        losses.Absolute(101).probabilities(jnp.array([[3.5], [-0.5]])), [[35.0], [-5.0]]
    )
    _check(losses.Absolute(101), [3.5], 31.0, 0.4)
    # Not clipped to 100 years.
    _check(losses.Absolute(101), [10.0], 104.5, 0.45)
    huber = losses.Huber(101, delta=2.0)
    _check(huber, [3.5], 34.0, 0.05)
    _check(huber, [3.5], 37.0, 0.2)
    _check(huber, [3.5], 45.0, 0.2 * (10 - 1))


def test_gaussian() -> None:
    objective = losses.Gaussian(101)
    # Mean 30 and sigma 10 years: at the mean, two sigma off, and beyond the last class.
    at_mean = 0.5 * np.log(2 * np.pi) + np.log(10.0)
    _check(objective, [3.0, 0.0], 30.0, at_mean)
    _check(objective, [3.0, 0.0], 50.0, at_mean + 2.0)
    _check(objective, [3.0, 0.0], 110.0, at_mean + 32.0)
    assert objective.initial_bias == pytest.approx((3.5, np.log(2.25)))
    # With sigma one year, the bin of 30 years reaches half a sigma to each side, the next 3/2, then 5/2.
    found = np.asarray(objective.probabilities(jnp.array([[3.0, 2 * np.log(0.1)]], jnp.float32)))
    masses = [0.0605975, 0.2417303, 0.3829249, 0.2417303, 0.0605975]
    np.testing.assert_allclose(found[0, 28:33], masses, atol=1e-6)
    # The last bin holds everything above, the first everything below.
    for mean, years in ((13.0, 100), (-2.0, 0)):
        ends = objective.probabilities(jnp.array([[mean, -2.0]], jnp.float32))
        assert float(ends[0, years]) == pytest.approx(1.0)


def test_gaussians_sigma_is_clipped_but_finds_its_way_back() -> None:
    objective, labels = losses.Gaussian(101), jnp.array([30.0, 30.0], jnp.float32)
    scores = jnp.array([[3.5, -20.0], [3.5, 20.0]], jnp.float32)
    loss, gradient = jax.value_and_grad(lambda x: objective.loss(x, labels).sum())(scores)
    expected = [0.5 * (np.log(2 * np.pi * s**2) + (5 / s) ** 2) for s in (1.0, 50.0)]
    assert float(loss) == pytest.approx(sum(expected), rel=1e-5)
    # An error of five sigma asks for a larger sigma, one of a tenth for a smaller.
    np.testing.assert_allclose(gradient[:, 1], [0.5 * (1 - 25), 0.5 * (1 - 0.01)], 1e-5)
    # Not negative: a trainable balance would have no minimum.
    assert float(objective.loss(jnp.array([[3.0, -20.0]]), labels[:1])[0]) > 0.9


def test_the_expectation_term() -> None:
    # Mean 1 of 1/4, 1/2, 1/4.
    inner = losses.CrossEntropy(3)
    objective = losses.Expectation(3, inner, 0.5)
    scores = [0.0, LN2, 0.0]
    _check(objective, scores, 1.0, LN2)
    _check(objective, scores, 1.25, LN2 + 0.5 * 0.25**2 / 2)
    _check(losses.Expectation(8, losses.CrossEntropy(8), 0.5), [30.0] + [0.0] * 7, 7, 30 + 3.25)
    coral = losses.Expectation(3, losses.Coral(3), 0.5)
    assert (coral.outputs, coral.shared_weights, coral.initial_bias) == (2, True, (1.0, 0.5))


def test_expected_position() -> None:
    np.testing.assert_array_equal(losses.expected(jnp.array([[0.25, 0.5, 0.25]])), [1.0])
    np.testing.assert_array_equal(losses.expected(jnp.array([[35.5], [-1.0]])), [35.5, -1.0])


def test_known() -> None:
    np.testing.assert_array_equal(losses.known(np.array([0, -1, 7], np.int32)), [True, False, True])
    years = np.array([0.0, np.nan, 99.5], np.float32)
    np.testing.assert_array_equal(losses.known(years), [True, False, True])


def test_objectives_are_static() -> None:
    assert losses.Corn(8) == losses.Corn(8) != losses.Corn(7)
    assert len({*ALL.values(), losses.Coral(8)}) == len(ALL)


@functools.cache
def _compiled(name: str):
    objective = ALL[name]

    def total(scores: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss = objective.loss(scores, labels)
        return loss.sum(), loss

    return jax.jit(
        lambda scores, labels: (
            *jax.grad(total, has_aux=True)(scores, labels),
            objective.probabilities(scores),
        )
    )


def _run(name: str, scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Gradient of the summed losses, the losses, and the probabilities."""
    return tuple(np.asarray(x) for x in _compiled(name)(scores, labels))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(DISTRIBUTIONS)),
    st.sampled_from((0.1, 1.0, 10.0, 1e4)),
    st.integers(0, 2**32 - 1),
)
def test_rows_are_distributions(name: str, scale: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.normal(0, scale, (8, DISTRIBUTIONS[name].outputs)).astype(np.float32)
    _, _, found = _run(name, scores, np.full(8, np.nan, np.float32))
    assert found.shape == (8, DISTRIBUTIONS[name].classes)
    assert found.min() >= 0.0
    np.testing.assert_allclose(found.sum(1), 1.0, atol=2e-6)


@pytest.mark.parametrize("name", ALL)
def test_unknown_labels_and_large_scores_stay_finite(name: str) -> None:
    objective = ALL[name]
    labels = np.array([np.nan, np.nan, np.nan, 0.0, 2.0, 3.5, 7.0, 104.5], np.float32)
    signs = np.random.default_rng(0).choice([-1e4, 1e4], (8, objective.outputs))
    scores = signs.astype(np.float32)
    scores[1] = np.nan
    scores[2] = 1e30
    gradient, loss, _ = _run(name, scores, labels)
    assert np.isfinite(loss).all()
    assert np.isfinite(gradient).all()
    assert not gradient[:3].any()


@pytest.mark.parametrize("name", ["cross_entropy", "coral", "corn", "mean_variance"])
def test_classes_may_be_unknown_too(name: str) -> None:
    scores = jnp.ones((3, ALL[name].outputs))
    whole = ALL[name].loss(scores, np.array([-1, 2, 7], np.int32))
    years = ALL[name].loss(scores, np.array([np.nan, 2, 7], np.float32))
    np.testing.assert_array_equal(whole, years)


@pytest.mark.parametrize("name", ALL)
def test_of_confident_scores_the_right_label_costs_least(name: str) -> None:
    objective, right = ALL[name], 5
    if isinstance(objective, losses.Expectation):
        objective = objective.inner
    k = np.arange(objective.outputs, dtype=np.float32)
    if objective.outputs == 1:
        scores = np.array([right / 10], np.float32)
    elif objective.outputs == 2:
        scores = np.array([right / 10, -5], np.float32)
    elif objective.outputs == objective.classes:
        scores = -np.square(k - right)
    else:
        scores = 4 * (right - 0.5 - k)
    labels = np.arange(8, dtype=np.float32)
    _, loss, found = _run(name, np.tile(scores, (8, 1)), labels)
    assert loss.argmin() == right
    # The loss grows with the distance from the right label.
    assert (np.diff(loss[: right + 1]) < 0).all()
    assert (np.diff(loss[right:]) > 0).all()
    estimate = np.asarray(losses.expected(jnp.asarray(found)))
    np.testing.assert_allclose(estimate, right, atol=0.1)
    if ALL[name].distribution:
        assert (found.argmax(1) == right).all()
    else:
        assert found.shape == (8, 1)
