"""In training, the layers' forms for each device learn like the plain layers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ageflax import models
from ageflax.models.layers.platform import platform, traced_for
from tests.support.plain_layers import plain_layers

# A width at which Winograd's form is taken, and a side that tiles do not divide.
OPTIONS = {"width": 0.34, "initialization": "matched", "dropout": 0.0, "dtype": "float32"}
SIDE = 59


def trained(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Losses of a few steps, and a kernel after the last."""
    network = models.build({"name": "levi_hassner", **OPTIONS}, {"age": models.Head(3)})
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(6, SIDE, SIDE, 3)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 3, 6))
    params = jax.jit(network.init)(jax.random.key(0), x[:1])["params"]

    def loss(params):
        scores: Any = network.apply(
            {"params": params}, x, train=True, rngs={"dropout": jax.random.key(1)}
        )
        return -jax.nn.log_softmax(scores["age"])[jnp.arange(6), labels].mean()

    def step(params):
        value, found = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - np.float32(0.0005) * g, params, found), value

    values = []
    with traced_for(kind):
        step = jax.jit(step)
        for _ in range(4):
            params, value = step(params)
            values.append(float(value))
    return np.array(values), np.asarray(params["trunk"]["conv2"]["kernel"])


def test_every_form_gives_the_plain_loss_curve():
    forms = [trained("cpu"), trained("gpu")]
    with plain_layers():
        losses, kernel = trained("cpu")
    assert losses[-1] < losses[0]
    for found, changed in forms:
        np.testing.assert_allclose(found, losses, rtol=1e-5)
        np.testing.assert_allclose(changed, kernel, atol=1e-6)
        assert not np.array_equal(changed, kernel)  # another form was taken
    # A TPU's compiler has its own forms.
    for found, plain in zip(trained("tpu"), (losses, kernel), strict=True):
        np.testing.assert_array_equal(found, plain)


def test_the_platform_is_known_inside_alone():
    assert platform() == ""
    with traced_for("tpu"):
        with traced_for("cpu"):
            assert platform() == "cpu"
        assert platform() == "tpu"
    assert platform() == ""
