import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ageflax.models.layers.convolution import Conv, space_to_depth_convolution

# Kernel, stride, padding, channels: the stems of Levi & Hassner, ResNet, ResNet's small stem and the grey
# network, and a kernel of whole blocks.
STEMS = [(7, 4, 0, 3), (7, 2, 3, 3), (5, 2, 2, 3), (7, 2, 2, 1), (4, 2, 1, 3)]


@pytest.mark.parametrize(("kernel", "stride", "padding", "channels"), STEMS)
@pytest.mark.parametrize("size", [(27, 27), (32, 33), (30, 24)])
def test_blocks_give_the_plain_sums_and_derivatives(kernel, stride, padding, channels, size):
    rng = np.random.default_rng(0)
    # Integers, whose sums do not depend on the order.
    x = rng.integers(-4, 5, (2, *size, channels)).astype(np.float32)
    w = rng.integers(-4, 5, (kernel, kernel, channels, 5)).astype(np.float32)

    def plain(x, w):
        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), ((padding, padding),) * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip

    def blocks(x, w):
        return space_to_depth_convolution(x, w, stride=stride, padding=padding)

    def derived(function, x, w):
        y, back = jax.vjp(function, x, w)
        return y, *back(y)

    found, expected = jax.jit(lambda x, w: [derived(form, x, w) for form in (blocks, plain)])(x, w)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("use_bias", [True, False])
def test_parameters_are_drawn_and_named_as_flax_does(use_bias):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 19, 19, 3)), jnp.float32)
    ours = Conv(6, 7, strides=2, padding=3, use_bias=use_bias, name="conv")
    flaxs = nn.Conv(6, (7, 7), strides=2, padding=3, use_bias=use_bias, name="conv")
    drawn, expected = (module.init(jax.random.key(3), x) for module in (ours, flaxs))
    assert jax.tree.structure(drawn) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, drawn, expected)
    tested, trained = (np.asarray(ours.apply(drawn, x, train=train)) for train in (False, True))
    reference = np.asarray(flaxs.apply(drawn, x))
    np.testing.assert_array_equal(tested, reference)
    np.testing.assert_allclose(trained, reference, rtol=1e-4, atol=1e-5)


def test_only_training_sees_blocks():
    """Exporters and inference compilers see one plain convolution."""
    module, x = Conv(6, 7, strides=2, padding=3), jnp.zeros((1, 19, 19, 3))
    variables = module.init(jax.random.key(0), x)

    def shapes(train):
        jaxpr = jax.make_jaxpr(lambda x: module.apply(variables, x, train=train))(x)
        return [
            eqn.invars[1].aval.shape
            for eqn in jaxpr.eqns
            if eqn.primitive.name == "conv_general_dilated"
        ]

    assert shapes(False) == [(7, 7, 3, 6)]
    # 12 channels of a 2x2 block, and 4 of zeros.
    assert shapes(True) == [(4, 4, 16, 6)]
