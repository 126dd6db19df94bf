"""Trunks of dlib's age predictor and gender classifier; tests/import_weights/test_dlib.py has dlib's answers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.models import TRUNKS


def shapes(name: str, side: int, **options: float) -> Any:
    network = TRUNKS[name](**options)
    images = jnp.zeros((2, side, side, 3))
    return jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), images, train=False))


@pytest.mark.parametrize(
    ("name", "side", "features", "parameters"),
    [("dlib_age_resnet", 64, 256, 2_665_344), ("dlib_gender_cnn", 32, 16, 131_120)],
)
def test_parameters_are_counted(name: str, side: int, features: int, parameters: int) -> None:
    found, variables = shapes(name, side)
    assert found.shape == (2, features)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters


@pytest.mark.parametrize("side", [31, 64, 103, 227])
def test_the_resnet_sees_any_size(side: int) -> None:
    assert shapes("dlib_age_resnet", side, width=0.5)[0].shape == (2, 128)


def test_drawn_weights_all_learn() -> None:
    network = TRUNKS["dlib_gender_cnn"](width=0.25)
    images = jax.random.normal(jax.random.key(1), (8, 32, 32, 3)) / 4
    keys = {"dropout": jax.random.key(2)}

    @jax.jit
    def gradient(key: jax.Array) -> tuple[Any, jax.Array]:
        def loss(variables: Any) -> tuple[jax.Array, jax.Array]:
            features: Any = network.apply(variables, images, train=True, rngs=keys)
            return jnp.square(features).sum(), features

        return jax.grad(loss, has_aux=True)(network.init(key, images[:1], train=False))

    gradients, features = gradient(jax.random.key(0))
    assert 0.05 < np.std(features) < 10
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))
