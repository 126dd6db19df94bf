"""Batch normalisation against literal values of torch.nn.BatchNorm2d."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ageflax.compile_for import hlo
from ageflax.models.layers.batch_norm import BatchNorm

Tree = Any


def _variables(*, mean: float = 0.0, var: float = 1.0, features: int = 1) -> Tree:
    whole = jnp.ones((features,), jnp.float32)
    return {
        "params": {"scale": 2 * whole, "bias": 10 * whole},
        "batch_stats": {"mean": mean * whole, "var": var * whole},
    }


def _train(x: jax.Array, variables: Tree) -> tuple[jax.Array, Tree]:
    y, kept = BatchNorm().apply(variables, x, use_running_average=False, mutable=["batch_stats"])
    return y, kept["batch_stats"]


def test_a_batch_is_normalised_by_its_biased_variance_and_the_unbiased_one_is_kept() -> None:
    # Mean 2; sum of squares 20 over 4 values: 5 biased, 20 / 3 unbiased.
    x = jnp.asarray([-1.0, 1.0, 3.0, 5.0]).reshape(2, 2, 1, 1)
    y, kept = _train(x, _variables(mean=1.0, var=2.0))
    expected = 10 + 2 * np.array([-3.0, -1.0, 1.0, 3.0]) / np.sqrt(5 + 1e-5)
    np.testing.assert_allclose(y.ravel(), expected, 1e-6)
    np.testing.assert_allclose(kept["mean"], [0.9 * 1 + 0.1 * 2], 1e-6)
    np.testing.assert_allclose(kept["var"], [0.9 * 2 + 0.1 * 20 / 3], 1e-6)


def test_at_test_the_running_statistics_count_and_stay() -> None:
    x = jnp.asarray([[3.0], [5.0]])
    y, kept = BatchNorm().apply(
        _variables(mean=1.0, var=4.0), x, use_running_average=True, mutable=["batch_stats"]
    )
    np.testing.assert_allclose(y, [[12.0], [14.0]], 1e-5)
    np.testing.assert_array_equal(kept["batch_stats"]["var"], [4.0])


def test_it_starts_as_pytorchs_and_flaxs_do() -> None:
    x = jnp.ones((2, 3, 3, 4))
    ours = BatchNorm().init(jax.random.key(0), x, use_running_average=False)
    flaxs = nn.BatchNorm().init(jax.random.key(0), x, use_running_average=False)
    jax.tree.map(np.testing.assert_array_equal, ours, flaxs)


def test_it_passes_for_flaxs_where_calls_are_intercepted() -> None:
    def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, nn.BatchNorm) and context.method_name == "__call__":
            kwargs = {**kwargs, "use_running_average": True}
        return call(*args, **kwargs)

    variables = _variables(mean=1.0, var=4.0)
    with nn.intercept_methods(intercept):
        y, kept = _train(jnp.asarray([[3.0], [5.0]]), variables)
    np.testing.assert_allclose(y, [[12.0], [14.0]], 1e-5)
    jax.tree.map(np.testing.assert_array_equal, kept, variables["batch_stats"])


def test_bfloat16_is_normalised_in_float32() -> None:
    # 512 values around 8: their sum in bfloat16 would stop growing, and 8 + 1/16 keeps four bits.
    x = 8 + jnp.asarray(np.random.default_rng(0).integers(-8, 9, (512, 1)) / 16, jnp.bfloat16)
    assert len(np.unique(x.astype(jnp.float32))) == 17
    exact, kept_exact = _train(x.astype(jnp.float32), _variables())
    y, kept = _train(x, _variables())
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))
    jax.tree.map(np.testing.assert_array_equal, kept, kept_exact)
    assert kept["mean"].dtype == jnp.float32


def test_a_large_mean_does_not_drown_a_small_variance() -> None:
    # 4096^2 + 1/4 is 4096^2 in float32, so the mean of squares less the squared mean is 0.
    x = jnp.asarray([[4095.5], [4096.5]])
    y, kept = _train(x, _variables(mean=4090.0))
    np.testing.assert_allclose(y, [[8.0], [12.0]], 1e-4)
    np.testing.assert_allclose(kept["var"], [0.9 + 0.1 * 0.5], 1e-6)


def test_the_running_mean_changes_a_batchs_moments_by_rounding_alone() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(3, 2, (64, 1)), jnp.float32)
    one, kept = _train(x, _variables())
    other, kept_other = _train(x, _variables(mean=5.0))
    np.testing.assert_allclose(one, other, 1e-5)
    np.testing.assert_allclose(kept_other["mean"] - kept["mean"], [0.9 * 5], 1e-5)
    np.testing.assert_allclose(kept_other["var"], kept["var"], 1e-5)


def test_a_first_batch_far_from_zero_has_a_variance() -> None:
    # The running mean starts at 0: with a mean of 64 std, the variance keeps four digits.
    x = 64 + jnp.asarray(np.random.default_rng(0).normal(0, 1, (512, 1)), jnp.float32)
    kept = _train(x, _variables(var=0.0))[1]
    np.testing.assert_allclose(kept["var"], [0.1 * np.var(x, ddof=1)], 2e-3)


def test_a_layer_has_two_exchanges_between_devices() -> None:
    # Moments forward, two sums backward. A third would cost about 30 us per layer on a large slice.
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,), devices=jax.devices()[:4])
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))

    def loss(weights: Tree, statistics: Tree, x: jax.Array) -> tuple[jax.Array, Tree]:
        y, kept = _train(x, {"params": weights, "batch_stats": statistics})
        return jnp.square(y).sum(), kept

    variables = _variables(features=3)
    step = jax.jit(jax.grad(loss, (0, 2), has_aux=True), in_shardings=(whole, whole, split))
    compiled = step.lower(*variables.values(), jnp.ones((8, 2, 2, 3))).compile()
    exchanges = hlo.collectives(compiled.as_text() or "")
    assert [(e.kind, e.bytes) for e in exchanges] == [("all-reduce", 2 * 3 * 4)] * 2


def test_a_single_value_is_no_division_by_zero() -> None:
    y, kept = _train(jnp.asarray([[3.0]]), _variables())
    np.testing.assert_allclose(y, [[10.0]])
    np.testing.assert_allclose(kept["var"], [0.9], 1e-6)


@pytest.mark.parametrize("devices", [2, 4])
def test_statistics_are_of_the_whole_batch_on_many_devices(devices: int) -> None:
    generator = np.random.default_rng(1)
    # Every device sees another mean, so statistics per device would differ.
    x = generator.normal(0, 1, (8, 2, 2, 3)) + np.arange(8).reshape(8, 1, 1, 1)
    x = jnp.asarray(x, jnp.float32)
    mesh = jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    variables = jax.device_put(_variables(features=3), NamedSharding(mesh, PartitionSpec()))
    y, kept = jax.jit(_train)(sharded, variables)
    expected, kept_by_one = _train(x, _variables(features=3))
    assert len(y.sharding.device_set) == devices
    np.testing.assert_allclose(y, expected, 1e-5, 1e-5)
    np.testing.assert_allclose(kept["mean"], kept_by_one["mean"], 1e-6)
    np.testing.assert_allclose(kept["var"], kept_by_one["var"], 1e-6)


def test_the_derivative_is_that_of_the_definition() -> None:
    def defined(x: Any, scale: Any, bias: Any) -> Any:
        mean = x.mean((0, 1, 2))
        var = jnp.square(x - mean).mean((0, 1, 2))
        return (x - mean) * jax.lax.rsqrt(var + 1e-5) * scale + bias

    def ours(x: Any, scale: Any, bias: Any) -> Any:
        statistics = {"mean": jnp.zeros_like(bias), "var": jnp.ones_like(bias)}
        variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": statistics}
        return _train(x, variables)[0]

    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, g = (jnp.asarray(rng.normal(3, 2, (4, 5, 6, 3))) for _ in range(2))
        scale, bias = jnp.asarray(rng.normal(size=(2, 3)))
        one, one_back = jax.vjp(defined, x, scale, bias)
        other, other_back = jax.vjp(ours, x, scale, bias)
        np.testing.assert_allclose(other, one, rtol=1e-12)
        for got, expected in zip(other_back(g), one_back(g), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def _product(*, features: int = 5, wanted: int = 7) -> tuple[Tree, jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(3, 2, (6, 3, 4, features)), jnp.float32)
    kernel = jnp.asarray(rng.normal(0, 1, (features, wanted)), jnp.float32)
    variables = _variables(mean=1.0, var=2.0, features=wanted)
    scale = jnp.asarray(rng.uniform(0.5, 2, wanted), jnp.float32)
    return {**variables, "params": {**variables["params"], "scale": scale}}, x, kernel


def _of_product(
    variables: Tree, x: jax.Array, kernel: jax.Array, *, inside: bool, average: bool = False
) -> tuple[jax.Array, Tree]:
    options: dict[str, Any] = {"kernel": kernel} if inside else {}
    return BatchNorm().apply(
        variables,
        x if inside else x @ kernel,
        use_running_average=average,
        mutable=["batch_stats"],
        **options,
    )


@pytest.mark.parametrize("average", [False, True])
def test_a_product_is_normalised_as_if_it_had_been_computed(*, average: bool) -> None:
    variables, x, kernel = _product()
    (y, kept), (expected, expected_kept) = (
        _of_product(variables, x, kernel, inside=inside, average=average)
        for inside in (True, False)
    )
    np.testing.assert_allclose(y, expected, 1e-4, 1e-4)
    for found, other in zip(jax.tree.leaves(kept), jax.tree.leaves(expected_kept), strict=True):
        np.testing.assert_allclose(found, other, 1e-5, 1e-5)


def test_a_products_derivatives_are_those_of_the_definition() -> None:
    variables, x, kernel = _product()
    outer = jnp.asarray(np.random.default_rng(1).normal(size=(6, 3, 4, 7)), jnp.float32)

    def derived(*, inside: bool) -> Tree:
        def loss(params: Tree, x: jax.Array, kernel: jax.Array) -> jax.Array:
            y, _ = _of_product({**variables, "params": params}, x, kernel, inside=inside)
            return (jnp.sin(y) * outer).sum()

        return jax.jit(jax.grad(loss, (0, 1, 2)))(variables["params"], x, kernel)

    found, expected = derived(inside=True), derived(inside=False)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, 1e-3, 1e-3 * np.abs(other).max())


def test_a_product_without_variance_is_its_bias() -> None:
    variables, x, kernel = _product()
    y, kept = _of_product(variables, jnp.full_like(x, 3), kernel, inside=True)
    np.testing.assert_allclose(y, jnp.full_like(y, 10), 1e-3)
    np.testing.assert_allclose(kept["batch_stats"]["var"], 0.9 * 2, 1e-6)
