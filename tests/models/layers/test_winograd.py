import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.platform import traced_for
from ageflax.models.layers.winograd import (
    _matrices,
    tile_outputs,
    winograd_convolution,
)


def plain(x, w, padding):
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), ((padding, padding),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize(
    ("outputs", "kernel"), [(2, 3), (3, 3), (4, 3), (5, 3), (6, 3), (2, 5), (4, 5)]
)
def test_the_matrices_are_a_correlation(outputs, kernel):
    a, g, b = _matrices(outputs, kernel)
    rng = np.random.default_rng(0)
    signal, taps = rng.normal(size=outputs + kernel - 1), rng.normal(size=kernel)
    expected = [signal[k : k + kernel] @ taps for k in range(outputs)]
    np.testing.assert_allclose(a @ ((g @ taps) * (b @ signal)), expected, rtol=1e-9, atol=1e-9)


def test_the_matrices_are_the_papers():
    # Lavin & Gray's F(2, 3), up to the sign of a row, which two of the matrices share.
    a, g, b = _matrices(2, 3)
    np.testing.assert_array_equal(a, [[1, 1, 1, 0], [0, 1, -1, 1]])
    np.testing.assert_array_equal(np.abs(g), [[1, 0, 0], [0.5] * 3, [0.5] * 3, [0, 0, 1]])
    np.testing.assert_array_equal(
        np.abs(b), [[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]]
    )


@pytest.mark.parametrize(
    ("size", "kernel", "padding", "outputs"),
    [
        ((9, 13), 5, 2, 4), ((4, 5), 5, 2, 4), ((8, 7), 5, 0, 2), ((6, 6), 3, 1, 4),
        ((14, 9), 3, 1, 5), ((14, 14), 3, 1, None), ((7, 16), 3, 1, None), ((6, 3), 3, 1, None),
    ],
)  # fmt: skip
def test_values_and_derivatives_are_those_of_the_convolution(size, kernel, padding, outputs):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *size, 6)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(kernel, kernel, 6, 7)), jnp.float32)
    shape = jax.eval_shape(functools.partial(plain, padding=padding), x, w).shape
    g = jnp.asarray(rng.normal(size=shape), jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def found(convolution, x, w):
        y, back = jax.vjp(convolution, x, w)
        return y, *back(g)

    tiled = functools.partial(winograd_convolution, padding=padding, outputs=outputs)
    whole = functools.partial(plain, padding=padding)
    for one, other in zip(found(tiled, x, w), found(whole, x, w), strict=True):
        scale = float(jnp.abs(other).max())
        np.testing.assert_allclose(one / scale, other / scale, atol=3e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "outputs"),
    [
        ((14, 14), 3, 5),  # 9 tiles of 49 products, not 16 of 36
        ((10, 25), 3, 5),
        ((28, 28), 3, 4),  # as many products either way
        ((112, 112), 3, 4),  # 92 % of the products: not worth the additions
        ((7, 7), 3, 4),
        ((6, 6), 3, 3),  # 4 tiles of 25 products, not of 36
        ((3, 3), 3, 3),
        ((6, 6), 5, 3),
        ((14, 7), 3, 4),
        ((10, 10), 5, 4),  # needs more points than there are
    ],
)
def test_another_tile_is_for_where_it_saves_products(size, kernel, outputs):
    height, width = size
    assert tile_outputs(height, width, kernel) == outputs


@pytest.mark.parametrize(
    ("batch", "kernel", "stride", "form"),
    [
        (1, 3, 1, "patches"),  # for one face the kernel's transform costs more than it saves
        (16, 3, 1, "tiles"),
        (16, 3, 2, "patches"),
        (16, 1, 2, "patches"),
    ],
)
def test_at_test_a_cpu_has_products_and_exporters_see_one_convolution(batch, kernel, stride, form):
    module = Conv(48, kernel, strides=stride, padding=kernel // 2)
    x = jax.random.normal(jax.random.key(0), (batch, 9, 9, 40))
    variables = module.init(jax.random.key(1), x)

    names = {
        "conv_general_dilated": "convolution",
        "dot_general": "patches",
        "custom_vjp_call": "tiles",
    }

    def forms() -> list[str]:
        traced = jax.make_jaxpr(functools.partial(module.apply, variables))(x).jaxpr
        found = [names.get(eqn.primitive.name) for eqn in traced.eqns]
        return [name for name in found if name]

    outside: Any = module.apply(variables, x)
    assert forms() == ["convolution"]
    with traced_for("cpu"):
        assert forms() == [form]
        inside: Any = module.apply(variables, x)
        np.testing.assert_allclose(inside, outside, atol=2e-5 * float(jnp.abs(outside).max()))
    with traced_for("gpu"):
        assert forms() == ["convolution"]
