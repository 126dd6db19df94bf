"""Convolution with the kernel's derivative summed over a few images at a time, against XLA's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ageflax.models.layers import kernel_gradient
from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.kernel_gradient import plain_convolution
from ageflax.models.layers.platform import traced_for
from ageflax.runtime.mesh import batched, make_mesh, replicated

summed_gradient_convolution: Any = kernel_gradient.summed_gradient_convolution


def operands(batch: int, size: int, *, side: tuple[int, int] = (9, 12)) -> list[jax.Array]:
    """Integers, whose sums do not depend on the order."""
    rng = np.random.default_rng(0)
    shapes = (batch, *side, 6), (size, size, 6, 5)
    return [jnp.asarray(rng.integers(-4, 5, shape), jnp.float32) for shape in shapes]


@pytest.mark.parametrize("batch", [1, 2, 7, 8])
@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [(3, 1, 1), (3, 2, 1), (3, 1, 0), (5, 2, 2), (2, 2, 0), (1, 2, 0)],
)
def test_values_and_derivatives_are_xlas(batch, size, stride, padding):
    x, w = operands(batch, size)

    def derived(function, x, w):
        y, back = jax.vjp(lambda x, w: function(x, w, stride, padding), x, w)
        return y, *back(jnp.round(y / 8))

    forms = summed_gradient_convolution, plain_convolution
    found, expected = jax.jit(lambda x, w: [derived(form, x, w) for form in forms])(x, w)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("batch", [8, 20])
def test_each_device_sums_its_own_part_of_the_batch(batch):
    """Devices exchange only the sums, not features."""
    x, w = operands(batch, 3)
    mesh = make_mesh()

    def loss(w, x):
        return (summed_gradient_convolution(x, w, 1, 1, mesh) ** 2).sum()

    placed = jax.device_put(x, batched(mesh))
    step = jax.jit(jax.grad(loss), out_shardings=replicated(mesh)).lower(w, placed).compile()
    text = step.as_text() or ""
    assert "all-reduce" in text
    assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))
    expected = jax.grad(lambda w: (plain_convolution(x, w, 1, 1) ** 2).sum())(w)
    np.testing.assert_array_equal(step(w, placed), expected)


def test_an_uneven_batch_is_summed_too():
    x, w = operands(7, 3)
    got = jax.grad(lambda w: summed_gradient_convolution(x, w, 1, 1, make_mesh()).sum())(w)
    expected = jax.grad(lambda w: plain_convolution(x, w, 1, 1).sum())(w)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("side", "summed"), [(9, True), (6, False)])  # 25 outputs, and 9
def test_the_layer_is_flaxs_in_training_on_a_cpu(side, summed):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, side, side, 40)), jnp.float32)
    ours, flaxs = Conv(48, 3, 2, 1), nn.Conv(48, (3, 3), 2, padding=1)
    variables = ours.init(jax.random.key(0), x)

    def derived(module, **options):
        def loss(variables):
            return (module.apply(variables, x, **options) ** 2).mean()

        return jax.value_and_grad(loss)(variables)

    with traced_for("cpu"):
        (value, found), text = derived(ours, train=True), str(
            jax.make_jaxpr(lambda: ours.apply(variables, x, train=True))()
        )  # fmt: skip
    assert ("custom_vjp" in text) == summed
    expected, expected_found = derived(flaxs)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), found, expected_found
    )
