import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax import losses

RNG = np.random.default_rng(0)


def test_the_divergence_by_hand():
    teacher, student = jnp.array([[0.5, 0.5]]), jnp.array([[0.25, 0.75]])
    expected = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    np.testing.assert_allclose(losses.divergence(teacher, student, 1.0), [expected], rtol=1e-6)
    # At T = 2, square roots: (1, 1) / 2 and (1, sqrt 3) / (1 + sqrt 3); times four.
    soft = np.array([1.0, 3**0.5]) / (1 + 3**0.5)
    expected = 4 * (0.5 * np.log(0.5 / soft)).sum()
    np.testing.assert_allclose(losses.divergence(teacher, student, 2.0), [expected], rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_of_softmax_heads_it_is_that_of_scores_divided_by_the_temperature(temperature):
    one, other = (jnp.asarray(RNG.normal(0, 3, (5, 101)), jnp.float32) for _ in range(2))
    target = jax.nn.softmax(one / temperature)
    logs = jax.nn.log_softmax(other / temperature)
    expected = temperature**2 * (target * (jnp.log(target) - logs)).sum(1)

    def loss(scores: jax.Array) -> jax.Array:
        return losses.divergence(jax.nn.softmax(one), jax.nn.softmax(scores), temperature).sum()

    np.testing.assert_allclose(
        losses.divergence(jax.nn.softmax(one), jax.nn.softmax(other), temperature),
        expected,
        rtol=1e-4,
    )
    # T times the difference of the distributions: T^2 / T.
    gradient = temperature * (jnp.exp(logs) - target)
    np.testing.assert_allclose(jax.grad(loss)(other), gradient, atol=1e-5)


def test_it_is_zero_where_both_agree_and_finite_where_one_is_sure():
    shares = jax.nn.softmax(jnp.asarray(RNG.normal(0, 5, (4, 8)), jnp.float32))
    np.testing.assert_allclose(losses.divergence(shares, shares, 3.0), 0.0, atol=1e-6)
    sure = jnp.eye(3)
    for one, other in ((sure, sure[::-1]), (sure, jnp.full((3, 3), 1 / 3))):
        value, slope = jax.value_and_grad(lambda s, t=one: losses.divergence(t, s, 1.0).sum())(
            other
        )
        assert jnp.isfinite(value)
        assert jnp.isfinite(slope).all()
