"""The objective that a config names is built with the config's values."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax import losses
from ageflax.config import KEYS, Loss
from ageflax.errors import InputError


def _group(**values: Any) -> Loss:
    return dataclasses.replace(Loss(), **values)


@pytest.mark.parametrize("task", ["age", "years", "gender"])
def test_the_default_is_plain_cross_entropy(task: str) -> None:
    assert losses.build(task, _group(), 8) == losses.CrossEntropy(8)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"years": "cross_entropy", "label_smoothing": 0.1}, losses.CrossEntropy(101, 0.1)),
        (
            {"years": "label_distribution", "deviation": 2.0},
            losses.LabelDistribution(101, 2.0),
        ),
        (
            {"years": "label_distribution", "deviation": 0.7, "deviation_growth": 0.05},
            losses.LabelDistribution(101, 0.7, 0.05),
        ),
        (
            {"years": "mean_variance", "mean": 0.3, "variance": 0.1},
            losses.MeanVariance(101, 0.3, 0.1),
        ),
        ({"years": "coral"}, losses.Coral(101)),
        ({"years": "corn"}, losses.Corn(101)),
        ({"years": "l1"}, losses.Absolute(101)),
        ({"years": "huber", "huber_delta": 2.0}, losses.Huber(101, 2.0)),
        ({"years": "gaussian"}, losses.Gaussian(101)),
        (
            {"years": "corn", "expectation": 0.05},
            losses.Expectation(101, losses.Corn(101), 0.05),
        ),
    ],
)
def test_every_key_reaches_its_objective(
    values: dict[str, object], expected: losses.Objective
) -> None:
    assert losses.build("years", _group(**values), 101) == expected


def test_gender_has_no_order_and_no_expectation() -> None:
    group = _group(age="coral", expectation=0.5, label_smoothing=0.1)
    assert losses.build("gender", group, 2) == losses.CrossEntropy(2, 0.1)
    assert losses.build("age", group, 8) == losses.Expectation(8, losses.Coral(8), 0.5)


def test_groups_have_the_losses_of_years_but_those_of_an_age() -> None:
    choices = KEYS["loss.age"].choices
    assert set(KEYS["loss.years"].choices) - set(choices) == {"l1", "huber", "gaussian"}
    assert all(losses.build("age", _group(age=name), 8).distribution for name in choices)


@pytest.mark.parametrize("name", ["l1", "huber"])
def test_an_estimate_takes_no_expectation(name: str) -> None:
    with pytest.raises(
        InputError, match=rf"loss\.years = '{name}' has no distribution.*, gaussian$"
    ):
        losses.build("years", _group(years=name, expectation=0.1), 101)


@pytest.mark.parametrize("name", KEYS["loss.years"].choices)
def test_a_linear_head_learns_to_tell_young_from_old(name: str) -> None:
    # Starting from the head's initial bias.
    objective = losses.build("years", _group(years=name), 101)
    labels = np.repeat(np.array([8, 62], np.float32), 8)
    generator = np.random.default_rng(0)
    features = generator.uniform(0, 1, (16, 64)).astype(np.float32)
    features[8:, :32] += 1.0
    bias = objective.initial_bias or (0.0,) * objective.outputs
    columns = 1 if objective.shared_weights else objective.outputs
    params = {"kernel": jnp.zeros((64, columns)), "bias": jnp.array(bias, jnp.float32)}

    def scores(params: dict[str, jax.Array]) -> jax.Array:
        return jnp.asarray(features) @ params["kernel"] + params["bias"]

    def loss(params: dict[str, jax.Array]) -> jax.Array:
        return objective.loss(scores(params), jnp.asarray(labels)).mean()

    @jax.jit
    def train(params: dict[str, jax.Array]) -> dict[str, jax.Array]:
        # Adam by hand: optax's does not keep to strict promotion.
        def step(carry, t):
            params, mean, square = carry
            gradient = jax.grad(loss)(params)
            mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
            square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, gradient)
            rate = 1e-2 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            params = jax.tree.map(
                lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), params, mean, square
            )
            return (params, mean, square), None

        zeros = jax.tree.map(jnp.zeros_like, params)
        steps = jnp.arange(1, 501, dtype=jnp.float32)
        return jax.lax.scan(step, (params, zeros, zeros), steps)[0][0]

    estimate = losses.expected(objective.probabilities(scores(train(params))))
    assert np.abs(np.asarray(estimate) - labels).mean() < 4.0


def test_attributes_are_what_the_config_says_and_nothing_else() -> None:
    names = {field.name for field in dataclasses.fields(losses.MeanVariance(8))}
    assert names == {"classes", "mean_weight", "variance_weight"}
