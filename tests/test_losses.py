"""Cross-entropy by hand, and what must not count: padding, unknown labels, unlabelled tasks."""

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


def _cross_entropy(logits: np.ndarray, labels: list[int], mask: list[bool]) -> tuple[float, float]:
    loss, count = losses.cross_entropy(
        jnp.asarray(logits), jnp.asarray(labels, jnp.int32), jnp.asarray(mask)
    )
    return float(loss), float(count)


def test_literal_sum_and_count() -> None:
    loss, count = _cross_entropy(LOGITS, [0, 2], [True, True])
    assert (loss, count) == (pytest.approx(LN2 + LN3, rel=1e-6), 2.0)
    loss, count = _cross_entropy(LOGITS, [1, 2], [True, True])
    assert (loss, count) == (pytest.approx(2 * LN2 + LN3, rel=1e-6), 2.0)


@pytest.mark.parametrize(
    ("labels", "mask", "loss", "count"),
    [
        ([0, 2], [True, False], LN2, 1.0),
        ([0, 2], [False, True], LN3, 1.0),
        ([-1, 2], [True, True], LN3, 1.0),
        ([0, -1], [True, False], LN2, 1.0),
        ([-1, 2], [True, False], 0.0, 0.0),
        ([-1, -1], [True, True], 0.0, 0.0),
    ],
)
def test_masked_and_unknown_faces_count_for_nothing(
    labels: list[int], mask: list[bool], loss: float, count: float
) -> None:
    found = _cross_entropy(LOGITS, labels, mask)
    assert found == (pytest.approx(loss, rel=1e-6, abs=0.0), count)


def test_large_logits_neither_overflow_nor_vanish() -> None:
    loss, _ = _cross_entropy(np.array([[1e4, -1e4], [1e4, -1e4]], np.float32), [0, 1], [True] * 2)
    assert loss == pytest.approx(2e4)


def _total(
    logits: dict[str, jax.Array], labels: dict[str, list[int]], mask: list[bool]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    arrays = {task: jnp.asarray(found, jnp.int32) for task, found in labels.items()}
    return losses.total(logits, arrays, jnp.asarray(mask))


def test_total_is_the_sum_of_each_tasks_own_mean() -> None:
    logits = {"age": jnp.asarray(LOGITS), "gender": jnp.asarray([[0.0, 0.0], [0.0, 0.0]])}
    loss, per_task = _total(logits, {"age": [0, 2], "gender": [-1, 1]}, [True, True])
    assert float(per_task["age"]) == pytest.approx((LN2 + LN3) / 2, rel=1e-6)
    # The mean is over the one face with a gender, not over both.
    assert float(per_task["gender"]) == pytest.approx(LN2, rel=1e-6)
    assert float(loss) == pytest.approx((LN2 + LN3) / 2 + LN2, rel=1e-6)


@pytest.mark.parametrize(("genders", "mask"), [([-1, -1], [True, True]), ([1, -1], [False, True])])
def test_a_task_without_labels_adds_exactly_nothing(genders: list[int], mask: list[bool]) -> None:
    ages = [0, 2]

    def both(gender_logits: jax.Array) -> jax.Array:
        logits = {"age": jnp.asarray(LOGITS), "gender": gender_logits}
        return _total(logits, {"age": ages, "gender": genders}, mask)[0]

    loss, gradient = jax.value_and_grad(both)(jnp.asarray([[3.0, -1.0], [0.5, 2.0]]))
    alone, _ = _total({"age": jnp.asarray(LOGITS)}, {"age": ages}, mask)
    assert float(loss) == float(alone)
    assert not np.any(np.asarray(gradient))


def test_gradient_is_probability_less_label_over_the_count() -> None:
    def loss(logits: jax.Array) -> jax.Array:
        return _total({"age": logits}, {"age": [0, 2, 1]}, [True, True, False])[0]

    gradient = jax.grad(loss)(jnp.asarray([*LOGITS, [9.0, 1.0, 0.0]]))
    expected = np.array([[-1 / 2, 1 / 4, 1 / 4], [1 / 3, 1 / 3, -2 / 3], [0, 0, 0]]) / 2
    np.testing.assert_allclose(gradient, expected, 1e-6, 1e-7)
    assert not np.any(np.asarray(gradient)[2])


@jax.jit
def _loss_and_gradient(
    logits: jax.Array, labels: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return jax.value_and_grad(lambda x: losses.total({"age": x}, {"age": labels}, mask)[0])(logits)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(-1, 7), min_size=4, max_size=4),
    st.lists(st.integers(-1, 7), min_size=3, max_size=3),
    st.sampled_from((0.0, 1.0, 1e4, 1e30)),
    st.integers(0, 2**32 - 1),
)
def test_padded_rows_never_shift_loss_or_gradient(
    labels: list[int], padded_labels: list[int], scale: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (4, 8)).astype(np.float32)
    padding = (generator.normal(0, 1, (3, 8)) * scale).astype(np.float32)

    def run(rows: np.ndarray, classes: list[int], mask: list[bool]) -> tuple[jax.Array, jax.Array]:
        return _loss_and_gradient(
            jnp.asarray(rows), jnp.asarray(classes, jnp.int32), jnp.asarray(mask)
        )

    loss, gradient = run(logits, labels, [True] * 4)
    padded_loss, padded_gradient = run(
        np.concatenate([logits, padding]), labels + padded_labels, [True] * 4 + [False] * 3
    )
    # Only the order of the sum may differ between the two sizes.
    np.testing.assert_allclose(padded_loss, loss, 1e-6)
    np.testing.assert_allclose(padded_gradient[:4], gradient, 1e-6, 1e-8)
    assert not np.any(np.asarray(padded_gradient)[4:])
