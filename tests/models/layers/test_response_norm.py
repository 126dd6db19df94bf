"""Caffe's pooling and normalisation against literal arrays and numpy."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax.models.layers.pooling import ceil_max_pool
from ageflax.models.layers.response_norm import local_response_norm

# A short list of sizes: every new shape is compiled.
SIZES = st.sampled_from((1, 2, 3, 4, 5, 7, 8))


def _pool(x: np.ndarray, window: int, stride: int) -> np.ndarray:
    """Caffe's definition, with windows cut off at the border."""
    rows, columns = (
        range(max(math.ceil((side - window) / stride), 0) + 1) for side in x.shape[1:3]
    )
    return np.stack(
        [
            np.stack(
                [
                    x[:, i : i + window, j : j + window].max((1, 2))
                    for j in (column * stride for column in columns)
                ],
                axis=1,
            )
            for i in (row * stride for row in rows)
        ],
        axis=1,
    )


def _norm(x: np.ndarray, size: int, alpha: float, beta: float) -> np.ndarray:
    """Krizhevsky's formula with Caffe's alpha / size, per channel in float64."""
    x = x.astype(np.float64)
    out = np.empty_like(x)
    for c in range(x.shape[-1]):
        around = x[..., max(c - size // 2, 0) : c + size // 2 + 1]
        out[..., c] = x[..., c] / (1 + alpha / size * np.square(around).sum(-1)) ** beta
    return out


def test_pooling_rounds_up_and_the_border_is_cut_off() -> None:
    x = -np.arange(1.0, 17.0, dtype=np.float32).reshape(1, 4, 4, 1)
    # Rounding down would give [[-1]]. All negative, so zero padding would show.
    np.testing.assert_array_equal(
        ceil_max_pool(jnp.asarray(x))[0, :, :, 0], [[-1.0, -3.0], [-9.0, -11.0]]
    )


def test_pooling_a_size_that_fits_needs_no_padding() -> None:
    x = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1)
    np.testing.assert_array_equal(ceil_max_pool(jnp.asarray(x))[0, :, :, 0], [[12, 14], [22, 24]])


def test_pooling_less_than_a_window_takes_what_there_is() -> None:
    x = jnp.asarray([[[[-5.0], [-3.0]]]])
    np.testing.assert_array_equal(ceil_max_pool(x), [[[[-3.0]]]])


@pytest.mark.parametrize(
    ("size", "expected"), [(56, 28), (28, 14), (14, 7), (7, 3), (3, 1), (2, 1)]
)
def test_pooled_sizes_are_caffes(size: int, expected: int) -> None:
    pooled = jax.eval_shape(ceil_max_pool, jnp.zeros((1, size, size, 2)))
    assert pooled.shape == (1, expected, expected, 2)


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.sampled_from(((3, 2), (2, 2), (3, 3))), st.integers(0, 2**32 - 1))
def test_pooling_equals_its_definition(
    height: int, width: int, geometry: tuple[int, int], seed: int
) -> None:
    window, stride = geometry
    x = np.random.default_rng(seed).normal(-5, 1, (2, height, width, 3)).astype(np.float32)
    pooled = ceil_max_pool(jnp.asarray(x), window=window, stride=stride)
    np.testing.assert_array_equal(pooled, _pool(x, window, stride))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pooling_gradient_goes_to_the_largest_only(dtype: str) -> None:
    x = jnp.asarray([[3.0, 1.0, 0.0, 7.0]], dtype)[:, None, :, None]
    gradient = jax.grad(lambda x: ceil_max_pool(x).sum())(x)
    assert gradient.dtype == dtype
    # Windows (3, 1, 0) and (0, 7).
    np.testing.assert_array_equal(gradient.astype(jnp.float32).ravel(), [1, 0, 0, 1])


def test_norm_divides_alpha_by_the_window_and_reaches_two_channels_to_each_side() -> None:
    # With alpha 5 and size 5 the denominator is (1 + sum of squares) ^ .75.
    x = jnp.asarray([[[[1.0, 2.0, 0.0, 0.0, 3.0, 1.0]]]])
    sums = np.array([5.0, 5.0, 14.0, 14.0, 10.0, 10.0])
    expected = np.array([1.0, 2.0, 0.0, 0.0, 3.0, 1.0]) / (1 + sums) ** 0.75
    np.testing.assert_allclose(local_response_norm(x, alpha=5.0)[0, 0, 0], expected, 1e-6)


def test_norm_of_one_large_value_is_literal() -> None:
    # 1 + 1e-4 / 5 * 1000^2 = 21, and 1000 / 21^.75 = 101.93786...
    x = jnp.asarray([[[[1000.0]]]])
    np.testing.assert_allclose(local_response_norm(x), [[[[101.93786]]]], 1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from((1, 2, 4, 5, 6, 11)),
    st.sampled_from(((5, 0.75), (3, 0.75), (5, 0.5))),
    st.sampled_from((1.0, 30.0, 700.0)),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_norm_equals_its_definition(
    channels: int, window: tuple[int, float], scale: float, train: bool, seed: int
) -> None:
    size, beta = window
    x = np.random.default_rng(seed).normal(0, scale, (2, 3, 2, channels)).astype(np.float32)
    norm = functools.partial(local_response_norm, size=size, beta=beta, train=train)
    found = jax.jit(norm)(x)
    np.testing.assert_allclose(found, _norm(x, size, 1e-4, beta), 2e-6, 1e-6)


def _norm_gradient(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Gradient of sum(weights * norm(x)) by central differences in float64."""
    gradient, step = np.empty_like(x), 1e-3
    for index in np.ndindex(*x.shape):
        moved = np.zeros_like(x)
        moved[index] = step
        difference = _norm(x + moved, 5, 1e-4, 0.75) - _norm(x - moved, 5, 1e-4, 0.75)
        gradient[index] = (weights * difference).sum() / (2 * step)
    return gradient


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.03)])
def test_norm_gradient_equals_finite_differences(dtype: str, tolerance: float, train: bool) -> None:
    generator = np.random.default_rng(4)
    # Representable in bfloat16, so that only the arithmetic differs.
    x = generator.integers(-120, 121, (1, 2, 2, 7)).astype(np.float64) * 2
    weights = generator.integers(-8, 9, x.shape).astype(np.float64)
    inputs, factors = jnp.asarray(x, dtype), jnp.asarray(weights, dtype)
    gradient = jax.jit(jax.grad(lambda x: (factors * local_response_norm(x, train=train)).sum()))(
        inputs
    )
    assert gradient.dtype == dtype
    expected = _norm_gradient(x, weights)
    # bfloat16 keeps eight bits, and terms of a gradient cancel: relative to the largest.
    atol = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(gradient.astype(jnp.float32), expected, tolerance, atol)


def test_norm_in_bfloat16_is_close() -> None:
    x = np.random.default_rng(1).integers(-120, 121, (2, 3, 3, 16)) * 2.0
    found = local_response_norm(jnp.asarray(x, jnp.bfloat16))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), _norm(x, 5, 1e-4, 0.75), 0.02)
