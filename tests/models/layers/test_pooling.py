import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax.models.layers.platform import traced_for
from ageflax.models.layers.pooling import ceil_max_pool, max_pool

# Window, stride, padding: those of all networks, and others.
FORMS = [
    (3, 2, ((0, 1), (0, 1))),
    (3, 2, ((1, 1), (1, 1))),
    (3, 1, ((1, 1), (1, 1))),
    (2, 2, ((0, 0), (0, 0))),
    (3, 3, ((0, 0), (1, 0))),
    (2, 3, ((0, 0), (0, 0))),
    (5, 2, ((2, 2), (0, 1))),
]


def derived(pool, platform="gpu"):
    """Jitted (x, g) -> pooled features, and the derivative by x from g."""

    @jax.jit
    def found(x, g):
        with traced_for(platform):
            pooled, back = jax.vjp(pool, x)
            return pooled, back(g)[0]

    return found


def features(height: int, width: int, dtype=np.float32) -> jax.Array:
    # Few distinct values, so that many windows have ties.
    values = np.random.default_rng(height).integers(-2, 3, (2, height, width, 3))
    return jnp.asarray(values, dtype)


@pytest.mark.parametrize(("window", "stride", "padding"), FORMS)
@pytest.mark.parametrize("size", [(7, 7), (8, 11), (6, 5)])
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_the_noted_form_is_the_plain_one_to_the_last_bit(window, stride, padding, size, platform):
    x = features(*size)

    def pooled(train):
        return functools.partial(
            max_pool, window=window, stride=stride, padding=padding, train=train
        )

    # Integers, whose sums do not depend on the order.
    shape = jax.eval_shape(pooled(False), x).shape
    g = jnp.asarray(np.random.default_rng(1).integers(-9, 10, shape), jnp.float32)
    plain, noted = (derived(pooled(train), platform)(x, g) for train in (False, True))
    np.testing.assert_array_equal(plain[0], noted[0])
    np.testing.assert_array_equal(plain[1], noted[1])


@settings(deadline=None, max_examples=6)
@given(height=st.integers(3, 12), width=st.integers(3, 12))
def test_rounding_up_is_noted_alike(height, width):
    x = features(height, width)
    g = ceil_max_pool(x)
    plain = derived(ceil_max_pool)(x, g)
    noted = derived(functools.partial(ceil_max_pool, train=True))(x, g)
    np.testing.assert_array_equal(plain[0], noted[0])
    np.testing.assert_array_equal(plain[1], noted[1])


def test_bfloat16_stays_bfloat16_and_minus_infinity_passes():
    x = features(7, 7, jnp.bfloat16).at[0].set(-jnp.inf)
    pooled, back = jax.vjp(lambda x: ceil_max_pool(x, train=True), x)
    assert pooled.dtype == back(pooled)[0].dtype == jnp.bfloat16
    assert np.isneginf(np.asarray(pooled[0], np.float32)).all()


def test_a_nan_is_not_hidden():
    x = features(6, 6).at[0, 2, 2, 0].set(jnp.nan)
    plain, noted = ceil_max_pool(x), ceil_max_pool(x, train=True)
    np.testing.assert_array_equal(np.isnan(plain), np.isnan(noted))


@pytest.mark.parametrize(("platform", "searched"), [("tpu", True), ("gpu", False), ("cpu", False)])
def test_tpus_keep_their_own_operation_for_the_derivative(platform, searched):
    def total(x):
        return ceil_max_pool(x, train=True).sum()

    with traced_for(platform):
        text = jax.jit(jax.grad(total)).lower(features(7, 7)).as_text()
    assert ("select_and_scatter" in text) == searched
