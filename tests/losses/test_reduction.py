"""Weights of faces, classes and tasks; padding and unknown labels, which do not count."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax import losses

LN2, LN3 = float(np.log(2.0)), float(np.log(3.0))
# Probabilities 1/2, 1/4, 1/4 and 1/3, 1/3, 1/3.
LOGITS = np.array([[LN2, 0.0, 0.0], [5.0, 5.0, 5.0]], np.float32)
GROUPS = losses.CrossEntropy(3)
PER_TASK = {"age": jnp.float32(2.0), "gender": jnp.float32(0.5)}


def _total(
    objective: losses.Objective,
    scores: jax.Array,
    labels: np.ndarray,
    mask: np.ndarray,
    class_weights: np.ndarray | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Weighted loss of a batch and the weight of its faces, as training computes them."""
    weights = losses.face_weights(objective, labels, mask, class_weights)
    return losses.weighted_loss(objective, scores, labels, weights), weights.sum()


def _sum(
    labels: list[float], mask: list[bool], weights: list[float] | None = None
) -> tuple[float, float]:
    loss, weight = _total(
        GROUPS,
        jnp.asarray(LOGITS),
        np.array(labels, np.float32 if np.nan in labels else np.int32),
        np.array(mask),
        None if weights is None else np.array(weights, np.float32),
    )
    return float(loss), float(weight)


@pytest.mark.parametrize(
    ("labels", "mask", "loss", "weight"),
    [
        ([0, 2], [True, True], LN2 + LN3, 2.0),
        ([1, 2], [True, True], 2 * LN2 + LN3, 2.0),
        ([0, 2], [True, False], LN2, 1.0),
        ([0, 2], [False, True], LN3, 1.0),
        ([-1, 2], [True, True], LN3, 1.0),
        ([0, -1], [True, False], LN2, 1.0),
        ([-1, 2], [True, False], 0.0, 0.0),
        ([-1, -1], [True, True], 0.0, 0.0),
        ([0.2, np.nan], [True, True], LN2, 1.0),
    ],
)
def test_masked_and_unknown_faces_count_for_nothing(
    labels: list[float], mask: list[bool], loss: float, weight: float
) -> None:
    assert _sum(labels, mask) == (pytest.approx(loss, rel=1e-6, abs=0.0), weight)


def test_a_face_counts_what_its_class_does() -> None:
    weights = [0.5, 1.0, 3.0]
    assert _sum([0, 2], [True, True], weights) == (pytest.approx(0.5 * LN2 + 3 * LN3), 3.5)
    assert _sum([-1, 2], [True, True], weights) == (pytest.approx(3 * LN3), 3.0)
    # Years take the weight of the nearest class, beyond the last one that of the last.
    years = np.array([0.4, 0.5, 1.5, 104.0, np.nan, 1.0], np.float32)
    found = losses.face_weights(
        GROUPS, years, np.array([True] * 5 + [False]), np.array(weights, np.float32)
    )
    np.testing.assert_array_equal(found, np.array([0.5, 1, 3, 3, 0, 0], np.float32))
    found = losses.face_weights(GROUPS, years, np.array([True] * 5 + [False]))
    np.testing.assert_array_equal(found, np.array([1, 1, 1, 1, 0, 0], np.float32))


def test_gradient_is_probability_less_label() -> None:
    labels, mask = np.array([0, 2, 1], np.int32), np.array([True, True, False])

    def loss(logits: jax.Array) -> jax.Array:
        return _total(GROUPS, logits, labels, mask)[0]

    gradient = jax.grad(loss)(jnp.asarray([*LOGITS, [9.0, 1.0, 0.0]]))
    expected = np.array([[-1 / 2, 1 / 4, 1 / 4], [1 / 3, 1 / 3, -2 / 3], [0, 0, 0]])
    np.testing.assert_allclose(gradient, expected, 1e-6, 1e-7)
    assert not np.any(np.asarray(gradient)[2])


OBJECTIVES: dict[losses.Objective, Callable[..., tuple[jax.Array, jax.Array]]] = {
    each: jax.jit(jax.value_and_grad(
        lambda x, y, m, w, each=each: _total(each, x, y, m, w)[0]
    ))
    for each in (
        losses.CrossEntropy(8), losses.LabelDistribution(8, 1.5), losses.Corn(8), losses.Gaussian(8)
    )
}  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(OBJECTIVES, key=str)),
    st.lists(st.integers(-1, 7), min_size=4, max_size=4),
    st.lists(st.integers(-1, 7), min_size=3, max_size=3),
    st.sampled_from((0.0, 1.0, 100.0)),
    st.integers(0, 2**32 - 1),
)
def test_padded_rows_never_shift_loss_or_gradient(
    objective: losses.Objective, labels: list[int], padded: list[int], scale: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.normal(0, 1, (4, objective.outputs)).astype(np.float32)
    padding = np.full((3, objective.outputs), scale, np.float32)
    weights = generator.uniform(0.5, 2, 8).astype(np.float32)

    def run(rows: np.ndarray, classes: list[int], mask: list[bool]) -> tuple[jax.Array, jax.Array]:
        compiled = OBJECTIVES[objective]
        return compiled(rows, np.array(classes, np.int32), np.array(mask), weights)

    loss, gradient = run(scores, labels, [True] * 4)
    padded_loss, padded_gradient = run(
        np.concatenate([scores, padding]), labels + padded, [True] * 4 + [False] * 3
    )
    # The two sizes may differ in the order of the sum alone.
    np.testing.assert_allclose(padded_loss, loss, 2e-6)
    np.testing.assert_allclose(padded_gradient[:4], gradient, 2e-6, 1e-7)
    assert not np.any(np.asarray(padded_gradient)[4:])


def test_counts_of_classes_and_of_years() -> None:
    np.testing.assert_array_equal(
        losses.class_counts(np.array([0, 2, -1, 2], np.int32), 3), [1, 0, 2]
    )
    years = np.array([0.2, 0.5, 1.49, np.nan, 1.5, 104.0], np.float32)
    np.testing.assert_array_equal(losses.class_counts(years, 3), [1, 2, 2])
    drawn = np.array([0.5, 2, 0.25, 9, 1, 3])
    np.testing.assert_array_equal(losses.class_counts(years, 3, drawn), [0.5, 2.25, 4])


def test_balanced_class_weights() -> None:
    counts = np.array([6, 0, 2, 4])
    found = losses.class_weights(counts)
    assert found.dtype == np.float32
    # 12 faces in 3 classes: 4 a class, if they were even. The class without faces gets one.
    np.testing.assert_allclose(found, [4 / 6, 1, 2, 1], 1e-7)
    # Classes weigh the same, and a face one on average.
    np.testing.assert_allclose(found[[0, 2, 3]] * counts[[0, 2, 3]], 4, 1e-6)
    assert (found * counts).sum() / counts.sum() == pytest.approx(1.0)
    np.testing.assert_array_equal(losses.class_weights(np.zeros(3, int)), np.ones(3))
    # Faces drawn more rarely than once an epoch: the classes still weigh the same.
    drawn = np.array([0.5, 0, 5.5])
    np.testing.assert_allclose(losses.class_weights(drawn), [6, 1, 6 / 11], 1e-6)


def _both(gender_logits: jax.Array, genders: list[int], mask: list[bool]) -> jax.Array:
    """Loss of age and gender as in a training step: each a mean over its own counted faces."""
    logits = {"age": jnp.array([[LN2, 0.0, 0.0], [5.0, 5.0, 5.0]]), "gender": gender_logits}
    labels = {"age": [0, 2], "gender": genders}
    per_task = {}
    for task, scores in logits.items():
        total, weight = _total(
            losses.CrossEntropy(scores.shape[1]),
            scores,
            np.array(labels[task], np.int32),
            np.array(mask),
        )
        per_task[task] = total / jnp.maximum(weight, 1.0)
    return losses.combined(per_task, {"age": 1.0, "gender": 0.5})


def test_each_tasks_mean_is_over_the_faces_that_have_its_label() -> None:
    loss = _both(jnp.zeros((2, 2)), [-1, 1], [True, True])
    assert float(loss) == pytest.approx((LN2 + LN3) / 2 + 0.5 * LN2, rel=1e-6)


@pytest.mark.parametrize(
    ("genders", "mask", "age"),
    [([-1, -1], [True, True], (LN2 + LN3) / 2), ([1, -1], [False, True], LN3)],
)
def test_a_task_without_labels_adds_exactly_nothing(
    genders: list[int], mask: list[bool], age: float
) -> None:
    logits = jnp.asarray([[3.0, -1.0], [0.5, 2.0]])
    loss, gradient = jax.value_and_grad(_both)(logits, genders, mask)
    assert float(loss) == pytest.approx(age, rel=1e-6)
    assert not np.any(np.asarray(gradient))


def test_only_the_face_with_a_gender_moves_its_head() -> None:
    gradient = jax.grad(_both)(jnp.zeros((2, 2)), [-1, 1], [True, True])
    np.testing.assert_allclose(gradient, [[0, 0], [0.25, -0.25]], 1e-6)


def test_combined_is_the_sum_with_factors() -> None:
    assert float(losses.combined(PER_TASK, {"gender": 0.5})) == 2.25
    assert float(losses.combined({"age": jnp.float32(3.0)}, {"age": 0.0})) == 0.0


def test_balanced_by_hand() -> None:
    zero = {"age": jnp.float32(0.0), "gender": jnp.float32(0.0)}
    assert float(losses.balanced(PER_TASK, zero)) == 2.5
    assert float(losses.balanced(PER_TASK, zero, regression={"age"})) == 1.5
    # exp(-ln 2) 2 + ln 2 / 2 + exp(ln 3) / 2 - ln 3 / 2
    some = {"age": jnp.float32(LN2), "gender": jnp.float32(-LN3)}
    expected = 1.0 + 0.5 * LN2 + 1.5 - 0.5 * LN3
    assert float(losses.balanced(PER_TASK, some)) == pytest.approx(expected, rel=1e-6)
    assert float(losses.balance_terms(some)) == pytest.approx(0.5 * (LN2 - LN3), rel=1e-6)


@pytest.mark.parametrize(
    ("regression", "age"), [(frozenset(), np.log(4.0)), (frozenset({"age"}), np.log(2.0))]
)
def test_the_best_balance_is_the_logarithm_of_twice_the_loss(
    regression: frozenset[str], age: float
) -> None:
    # -exp(-s) L + 1/2 = 0, with L / 2 for a regression.
    best = {"age": jnp.float32(age), "gender": jnp.float32(0.0)}

    def loss(s: dict[str, jax.Array]) -> jax.Array:
        return losses.balanced(PER_TASK, s, regression=regression)

    for slope in jax.tree.leaves(jax.grad(loss)(best)):
        assert float(slope) == pytest.approx(0.0, abs=1e-6)
    for step in (-0.5, 0.5):
        assert float(loss({**best, "age": best["age"] + step})) > float(loss(best)) + 0.01


def test_gradient_descent_finds_the_balance() -> None:
    gradient = jax.jit(jax.grad(lambda s: losses.balanced(PER_TASK, s)))
    s = {"age": jnp.float32(0.0), "gender": jnp.float32(0.0)}
    for _ in range(60):
        s = jax.tree.map(lambda value, slope: value - 0.5 * slope, s, gradient(s))
    assert float(s["age"]) == pytest.approx(np.log(4.0), abs=1e-4)
    assert float(s["gender"]) == pytest.approx(0.0, abs=1e-4)


def test_errors_are_regressions_and_likelihoods_are_not() -> None:
    objectives = {
        "age": losses.Corn(8),
        "years": losses.Huber(101),
        "apparent": losses.Absolute(101),
        "normal": losses.Gaussian(101),
        "mean": losses.Expectation(101, losses.CrossEntropy(101), 0.1),
    }
    assert losses.regressions(objectives) == {"years", "apparent"}
