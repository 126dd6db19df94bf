"""Activations at literal values, and initialisers that keep a signal's size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models import Head, build
from ageflax.models.layers.activations import activate, matched

ACTIVATIONS = ("relu", "selu", "elu", "leaky", "prelu")
INPUTS = [[-2.0, -0.5, 0.0, 1.5]]


class _Layer(nn.Module):
    activation: str

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        return activate(x, self.activation, name="prelu")


def _run(activation: str, x: jax.Array) -> Any:
    layer = _Layer(activation)
    return jax.jit(lambda x: layer.init_with_output(jax.random.key(0), x)[0])(x)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("relu", [0.0, 0.0, 0.0, 1.5]),
        # 1.0507 x and 1.75810 (e^x - 1)
        ("selu", [-1.5201665, -0.6917582, 0.0, 1.5760515]),
        ("elu", [-0.8646647, -0.3934693, 0.0, 1.5]),
        ("leaky", [-0.02, -0.005, 0.0, 1.5]),
        ("prelu", [-0.5, -0.125, 0.0, 1.5]),
    ],
)
def test_values_are_the_papers(activation: str, expected: list[float]) -> None:
    np.testing.assert_allclose(_run(activation, jnp.array(INPUTS)), [expected], 1e-6)


def test_relu_is_flaxs_to_the_last_bit() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 8))
    np.testing.assert_array_equal(_run("relu", x), nn.relu(x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bfloat16_stays_bfloat16_under_float32_slopes(activation: str) -> None:
    x = jnp.array(INPUTS, jnp.bfloat16)
    found = _run(activation, x)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), _run(activation, jnp.array(INPUTS)), 0.01)


def test_prelu_learns_one_slope_a_channel() -> None:
    layer, x = _Layer("prelu"), jnp.array([[[-2.0, 3.0, -1.0]], [[-4.0, 1.0, 5.0]]])
    variables = layer.init(jax.random.key(0), x)
    slopes = variables["params"]["prelu"]["slope"]
    np.testing.assert_array_equal(slopes, np.full(3, 0.25, np.float32))

    def total(params: Any) -> jax.Array:
        found: Any = layer.apply({"params": params}, x)
        return found.sum()

    gradient = jax.grad(total)(variables["params"])["prelu"]["slope"]
    # Sum of a channel's negative inputs.
    np.testing.assert_array_equal(gradient, [-6.0, 0.0, -1.0])
    other = {"params": {"prelu": {"slope": jnp.array([0.5, 9.0, -1.0])}}}
    np.testing.assert_array_equal(layer.apply(other, x), [[[-1.0, 3.0, 1.0]], [[-2.0, 1.0, 5.0]]])


@pytest.mark.parametrize(
    ("activation", "gain"),
    [("relu", 2.0), ("selu", 1.0), ("elu", 1.55), ("leaky", 2 / 1.0001), ("prelu", 2 / 1.0625)],
)
def test_matched_weights_have_the_gain_that_fits(activation: str, gain: float) -> None:
    # fan in 9 * 16
    kernel = matched(activation)(jax.random.key(1), (3, 3, 16, 512), jnp.float32)
    assert np.std(kernel) == pytest.approx((gain / 144) ** 0.5, rel=0.01)
    assert abs(np.mean(kernel)) < 1e-3


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_signal_keeps_its_size_through_ten_matched_layers(activation: str) -> None:
    keys = jax.random.split(jax.random.key(5), 11)
    x = jax.random.normal(keys[0], (128, 512))
    for key in keys[1:]:
        x = _run(activation, x) @ matched(activation)(key, (512, 512), jnp.float32)
    assert 0.8 < np.mean(np.square(x)) < 1.25


def _before_activations(activation: str, initialization: str) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of conv1 and fc7 of a narrow, newly initialised network for eight images."""
    model = {"name": "levi_hassner", "dtype": "float32", "width": 0.25, "norm": "none"}
    options = {"activation": activation, "initialization": initialization}
    trunk = build({**model, **options}, {"age": Head(8)}).trunk
    images = jax.random.normal(jax.random.key(1), (8, 48, 48, 3))

    @jax.jit
    def outputs(images: jax.Array) -> list[Any]:
        variables = trunk.init(jax.random.key(2), images, train=False)
        _, captured = trunk.apply(variables, images, train=False, capture_intermediates=True)
        return [captured["intermediates"][name]["__call__"][0] for name in ("conv1", "fc7")]

    first, last = outputs(images)
    return np.asarray(first), np.asarray(last)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_matched_initialisation_keeps_the_signal_through_the_network(activation: str) -> None:
    first, last = _before_activations(activation, "matched")
    # Padding shrinks the signal, max pooling enlarges it.
    assert 0.25 < np.std(last) / np.std(first) < 4
    # Faces stay distinguishable.
    assert np.std(last, axis=0).mean() > 0.1 * np.std(last)


def test_the_papers_stds_let_a_narrow_networks_signal_vanish() -> None:
    first, last = _before_activations("relu", "gaussian")
    assert np.std(last, axis=0).mean() < 1e-4 * np.std(first)
