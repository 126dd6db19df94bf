"""What counts in a batch and how much; what does not: padding, unknown labels."""

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


def _sum(
    labels: list[float], mask: list[bool], weights: list[float] | None = None
) -> tuple[float, float]:
    loss, weight = losses.weighted_sum(
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
    # Years have the weight of the nearest class, those beyond the last one the last's.
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
        return losses.weighted_sum(GROUPS, logits, labels, mask)[0]

    gradient = jax.grad(loss)(jnp.asarray([*LOGITS, [9.0, 1.0, 0.0]]))
    expected = np.array([[-1 / 2, 1 / 4, 1 / 4], [1 / 3, 1 / 3, -2 / 3], [0, 0, 0]])
    np.testing.assert_allclose(gradient, expected, 1e-6, 1e-7)
    assert not np.any(np.asarray(gradient)[2])


OBJECTIVES: dict[losses.Objective, Callable[..., tuple[jax.Array, jax.Array]]] = {
    each: jax.jit(jax.value_and_grad(
        lambda x, y, m, w, each=each: losses.weighted_sum(each, x, y, m, w)[0]
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
    st.sampled_from((0.0, 1.0, 1e30, np.inf, np.nan)),
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
    # Only the order of the sum may differ between the two sizes.
    np.testing.assert_allclose(padded_loss, loss, 2e-6)
    np.testing.assert_allclose(padded_gradient[:4], gradient, 2e-6, 1e-7)
    assert not np.any(np.asarray(padded_gradient)[4:])


def test_counts_of_classes_and_of_years() -> None:
    np.testing.assert_array_equal(
        losses.class_counts(np.array([0, 2, -1, 2], np.int32), 3), [1, 0, 2]
    )
    years = np.array([0.2, 0.5, 1.49, np.nan, 1.5, 104.0], np.float32)
    np.testing.assert_array_equal(losses.class_counts(years, 3), [1, 2, 2])


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
