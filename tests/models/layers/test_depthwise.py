"""The depthwise convolution of each device against XLA's grouped convolution."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ageflax.models.layers import depthwise
from ageflax.models.layers.depthwise import DepthwiseConv, relu6, same_padding
from ageflax.models.layers.platform import traced_for
from ageflax.runtime.mesh import batched, make_mesh, replicated

# Height, width, side of the kernel, stride.
SIZES = [
    (9, 10, 3, 1), (8, 8, 5, 1), (10, 9, 3, 2), (7, 8, 5, 2), (9, 7, 5, 3), (3, 2, 5, 2), (1, 1, 3, 1),
    (1, 2, 3, 2), (6, 5, 1, 1), (6, 5, 1, 2), (6, 6, 2, 2), (5, 6, 4, 1), (32, 5, 3, 2), (11, 4, 5, 1),
]  # fmt: skip


def _drawn(height, width, size, stride, channels=3, batch=2):
    rng = np.random.default_rng(height * 100 + width * 10 + size)
    x = rng.normal(2, 4, (batch, height, width, channels)).astype(np.float32)
    kernel = rng.normal(0, 1, (size, size, 1, channels)).astype(np.float32)
    outer = rng.normal(0, 1, (batch, -(-height // stride), -(-width // stride), channels))
    return x, kernel, outer.astype(np.float32)


def _grouped(x, kernel, stride):
    return lax.conv_general_dilated(
        jnp.where(x > 6, 6, jnp.where(x > 0, x, 0)),
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@pytest.mark.parametrize("nearby", [0, 1_000, 10**9])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (5, 2)])
def test_kernels_derivative_whatever_the_cache_holds(monkeypatch, nearby, size, stride):
    monkeypatch.setattr(depthwise, "_NEARBY", nearby)
    x, kernel, outer = (jnp.asarray(a) for a in _drawn(12, 5, size, stride))
    found = []
    for form in (_grouped, depthwise.rectified_taps):
        pull = jax.vjp(lambda k, form=form: form(x, k, stride), kernel)[1]
        found.append(pull(outer)[0])
    np.testing.assert_allclose(found[1], found[0], 1e-5, 1e-4)


@pytest.mark.parametrize(("height", "width", "size", "stride"), SIZES)
def test_values_and_both_derivatives_are_those_of_the_grouped_convolution(
    height, width, size, stride
):
    x, kernel, outer = _drawn(height, width, size, stride)

    @jax.jit
    def both(x, kernel, outer):
        found = []
        for form in (_grouped, depthwise.rectified_taps):
            y, pull = jax.vjp(lambda x, k, form=form: form(x, k, stride), x, kernel)
            found.append((y, *pull(outer)))
        return found

    plain, taps = both(x, kernel, outer)
    for expected, found in zip(plain, taps, strict=True):
        np.testing.assert_allclose(found, expected, 1e-5, 1e-4)


@pytest.mark.parametrize("train", [False, True])
def test_every_device_has_the_same_convolution(train):
    x = jnp.asarray(_drawn(9, 8, 3, 2)[0])
    layer = DepthwiseConv(3, 2)
    variables: Any = layer.init(jax.random.key(0), x)
    assert variables["params"]["kernel"].shape == (3, 3, 1, 3)
    found = {}
    for form in ("", "cpu", "gpu", "tpu"):
        with traced_for(form):
            found[form] = jax.jit(layer.apply)(variables, x)
            text = jax.make_jaxpr(layer.apply)(variables, x).pretty_print()
            assert ("conv_general_dilated" in text) == (form != "cpu")
        np.testing.assert_allclose(found[form], found[""], 1e-5, 1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "zeros"),
    [
        (224, 3, 2, (0, 1)), (225, 3, 2, (1, 1)), (64, 5, 2, (1, 2)), (65, 5, 2, (2, 2)),
        (64, 3, 1, (1, 1)), (64, 5, 1, (2, 2)), (1, 3, 2, (1, 1)), (2, 1, 2, (0, 0)), (7, 2, 1, (0, 1)),
    ],
)  # fmt: skip
def test_padding_is_tensorflows(size, kernel, stride, zeros):
    assert same_padding(size, kernel, stride) == zeros
    assert tuple(lax.padtype_to_pads([size], [kernel], [stride], "SAME")[0]) == zeros


def test_relu6_and_its_derivative():
    x = jnp.array([-np.inf, -1, -0.0, 0, 1e-6, 3, 5.999, 6, 7, np.inf], jnp.float32)
    y, pull = jax.vjp(relu6, x)
    np.testing.assert_array_equal(y, np.clip(x, 0, 6))
    np.testing.assert_array_equal(pull(jnp.full(10, 2.0))[0], [0, 0, 0, 0, 2, 2, 2, 0, 0, 0])


def test_what_is_not_a_number_stays_so():
    x, kernel = jnp.full((1, 2, 2, 1), jnp.nan), jnp.ones((1, 1, 1, 1))
    taps: Any = depthwise.rectified_taps
    assert np.isnan(taps(x, kernel, 1)).all()


@pytest.mark.parametrize("batch", [8, 16, 7])
def test_each_device_sums_its_own_part_of_the_batch(batch):
    """Devices exchange only the sums, not features."""
    x, kernel, _ = (jnp.asarray(a) for a in _drawn(6, 8, 3, 2, batch=batch))
    spread = make_mesh()
    taps: Any = depthwise.rectified_taps

    def loss(kernel, x):
        return (taps(x, kernel, 2, spread) ** 2).sum()

    expected = jax.grad(lambda kernel: (_grouped(x, kernel, 2) ** 2).sum())(kernel)
    if batch % spread.size:
        np.testing.assert_allclose(jax.grad(loss)(kernel, x), expected, 1e-5)
        return
    placed = jax.device_put(x, batched(spread))
    step = jax.jit(jax.grad(loss), out_shardings=replicated(spread)).lower(kernel, placed).compile()
    text = step.as_text() or ""
    assert "all-reduce" in text
    assert not any(word in text for word in ("all-gather", "all-to-all", "collective-permute"))
    np.testing.assert_allclose(step(kernel, placed), expected, 1e-5)
