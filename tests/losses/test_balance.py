"""Several tasks at once: fixed factors, trainable balance, faces that lack the labels of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax import losses

LN2, LN3 = float(np.log(2.0)), float(np.log(3.0))
PER_TASK = {"age": jnp.float32(2.0), "gender": jnp.float32(0.5)}


def _both(gender_logits: jax.Array, genders: list[int], mask: list[bool]) -> jax.Array:
    """Age and gender as a step forms them: each a mean over its own counted faces."""
    logits = {"age": jnp.array([[LN2, 0.0, 0.0], [5.0, 5.0, 5.0]]), "gender": gender_logits}
    labels = {"age": [0, 2], "gender": genders}
    per_task = {}
    for task, scores in logits.items():
        total, weight = losses.weighted_sum(
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
