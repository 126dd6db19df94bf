"""The small trunks: sizes, effects of training, and dtypes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ageflax.models.inception_small import InceptionSmall
from ageflax.models.multitask_gray import MultitaskGray
from ageflax.models.resnet_small import ResNetSmall

CHANNELS = {InceptionSmall: 3, ResNetSmall: 3, MultitaskGray: 1}
ALL = pytest.mark.parametrize("trunk", list(CHANNELS), ids=lambda trunk: trunk.__name__)

# Each program runs once or twice, so most time is compilation.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

Tree = Any


def _images(trunk: type[nn.Module], count: int, side: int) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (count, side, side, CHANNELS[trunk]))


def _shapes(network: nn.Module, side: int, channels: int) -> tuple[Any, Tree, Tree]:
    """Shapes of features, variables and every layer's output."""

    def run(images: jax.Array) -> Tree:
        return network.init_with_output(
            jax.random.key(0), images, train=False, capture_intermediates=True, mutable=True
        )

    features, variables = jax.eval_shape(run, jnp.zeros((2, side, side, channels)))
    layers = variables.pop("intermediates")
    return (
        features,
        variables,
        {k: v["__call__"][0].shape for k, v in layers.items() if k[0] != "_"},
    )


def _count(tree: Tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _drawn(network: nn.Module, images: jax.Array) -> Tree:
    """Variables of He et al.'s scale, from numpy: compiling an initialiser takes seconds."""
    generator = np.random.default_rng(0)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        kind = path[-1].key
        if kind == "kernel":
            std = (2 * leaf.shape[-1] / leaf.size) ** 0.5
            return generator.normal(0, std, leaf.shape).astype(np.float32)
        return np.full(leaf.shape, kind in ("scale", "var"), np.float32)

    init = functools.partial(network.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), images)
    return jax.tree.map(jnp.asarray, jax.tree_util.tree_map_with_path(draw, shapes))


@pytest.mark.parametrize(
    ("trunk", "side", "features", "parameters"),
    [
        (InceptionSmall, 224, 832, 2_364_944),
        (ResNetSmall, 227, 1024, 8_568_384),
        (MultitaskGray, 128, 4096, 89_792),
    ],
)
def test_at_their_own_size_features_and_parameters_are_counted(
    trunk: type[nn.Module], side: int, features: int, parameters: int
) -> None:
    shape, variables, _ = _shapes(trunk(), side, CHANNELS[trunk])
    assert shape.shape == (2, features)
    assert _count(variables["params"]) == parameters


@ALL
@pytest.mark.parametrize("side", [32, 64, 80, 227])
def test_any_size_from_32_pixels_will_do(trunk: Any, side: int) -> None:
    shape, _, layers = _shapes(trunk(width=0.1), side, CHANNELS[trunk])
    assert all(np.prod(layer) for layer in layers.values())
    assert trunk is MultitaskGray or shape.shape == (
        2,
        {InceptionSmall: 84, ResNetSmall: 102}[trunk],
    )


def _sides(layers: dict[str, tuple[int, ...]], *names: str) -> list[int]:
    return [layers[name][1] for name in names]


def test_inceptions_maps_halve_five_times_but_one() -> None:
    names = ("stem1_conv", "stem3_conv", "3a_1x1_conv", "3b_pool_conv", "4a_5x5_conv", "4e_3x3_bn")
    for side, sides in ((224, [112, 56, 28, 28, 14, 14]), (64, [32, 16, 8, 8, 4, 4])):
        assert _sides(_shapes(InceptionSmall(), side, 3)[2], *names) == sides


def test_an_inception_module_has_googlenets_features() -> None:
    _, variables, layers = _shapes(InceptionSmall(), 64, 3)
    features = {name: shape[-1] for name, shape in layers.items() if name.endswith("_bn")}
    # Rows 3a and 4e of the paper's table 1.
    assert {k: v for k, v in features.items() if k.startswith("3a")} == {
        "3a_1x1_bn": 64, "3a_3x3_reduce_bn": 96, "3a_3x3_bn": 128,
        "3a_5x5_reduce_bn": 16, "3a_5x5_bn": 32, "3a_pool_bn": 32,
    }  # fmt: skip
    assert [features[f"4e_{k}_bn"] for k in ("1x1", "3x3", "5x5", "pool")] == [256, 320, 128, 128]
    kernels = variables["params"]
    # A module sees the branches of the one before: 256 = 64 + 128 + 32 + 32.
    assert kernels["3b_1x1_conv"]["kernel"].shape == (1, 1, 256, 128)
    assert "bias" not in kernels["3b_1x1_conv"]


def test_resnets_maps_are_the_projects() -> None:
    names = ("conv1", "conv2", "block1_0_conv1", "block2_0_conv3", "block3_5_conv2")
    for side, sides in ((227, [225, 110, 28, 14, 7]), (64, [62, 29, 7, 4, 2])):
        assert _sides(_shapes(ResNetSmall(), side, 3)[2], *names) == sides
    _, variables, _ = _shapes(ResNetSmall(), 64, 3)
    blocks = {name.rsplit("_", 1)[0] for name in variables["params"] if name.endswith("_conv2")}
    assert blocks == {f"block{s}_{k}" for s, n in ((1, 3), (2, 4), (3, 6)) for k in range(n)}
    shortcuts = {name for name in variables["params"] if name.endswith("shortcut_conv")}
    assert shortcuts == {f"block{s}_0_shortcut_conv" for s in (1, 2, 3)}


def test_greys_maps_are_as_its_docstring_says() -> None:
    _, _, layers = _shapes(MultitaskGray(), 128, 1)
    assert [layers[f"conv{i}"] for i in (1, 2, 3)] == [
        (2, 63, 63, 32),
        (2, 31, 31, 64),
        (2, 17, 17, 64),
    ]


def test_colour_images_are_refused_by_the_key_that_makes_them_grey() -> None:
    with pytest.raises(ValueError, match=r"3 channels: .*data\.channels=grey"):
        _shapes(MultitaskGray(), 64, 3)


def test_greys_norm_bends_large_activations_alone() -> None:
    images = _images(MultitaskGray, 2, 32)
    variables = _drawn(MultitaskGray(width=0.25), images)
    assert _drawn(MultitaskGray(width=0.25, norm="none"), images).keys() == variables.keys()

    @compiled
    def run(variables: Tree, images: jax.Array) -> list[Any]:
        networks = [MultitaskGray(width=0.25, norm=norm) for norm in ("lrn", "none")]
        return [network.apply(variables, images, train=False) for network in networks]

    small, plain = run(variables, images)
    np.testing.assert_allclose(small, plain, 0, 0.01 * np.max(np.asarray(plain)))
    large, plain = run(variables, images * 100)
    assert np.max(np.asarray(large)) < 0.7 * np.max(np.asarray(plain))


@functools.cache
def _tested(trunk: Any) -> tuple[Tree, Any, Any]:
    """Variables of a narrow network, and its features in bfloat16 and float32 at test."""
    networks = [trunk(width=0.05, dtype=jnp.dtype(dtype)) for dtype in ("bfloat16", "float32")]
    images = _images(trunk, 8, 32)
    variables = _drawn(networks[0], images)

    @compiled
    def run(variables: Tree) -> list[Any]:
        return [network.apply(variables, images, train=False) for network in networks]

    return variables, *run(variables)


@ALL
def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(trunk: type[nn.Module]) -> None:
    variables, features, exact = _tested(trunk)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert (features.dtype, exact.dtype) == (jnp.bfloat16, jnp.float32)
    # Eight bits of mantissa, up to forty layers.
    difference = np.abs(features.astype(jnp.float32) - exact)
    assert 1e-5 < difference.max() < 0.2 * np.std(exact)


@pytest.mark.parametrize("trunk", [InceptionSmall, ResNetSmall])
def test_training_normalises_by_the_batch_and_drops_pooled_features(trunk: Any) -> None:
    variables, _, tested = _tested(trunk)

    @compiled
    def run(key: jax.Array) -> Tree:
        apply = trunk(width=0.05, dropout=0.5).apply
        images = _images(trunk, 8, 32)
        return apply(variables, images, train=True, mutable=["batch_stats"], rngs={"dropout": key})

    (first, moved), (second, _) = map(run, jax.random.split(jax.random.key(0)))
    first, second = np.asarray(first), np.asarray(second)
    for before, after in zip(
        *map(jax.tree.leaves, (variables["batch_stats"], moved["batch_stats"])), strict=True
    ):
        assert np.any(np.asarray(before) != np.asarray(after))
    assert np.mean(first == 0) == pytest.approx(0.5, abs=0.15)
    assert np.any((first == 0) != (second == 0))
    kept = (first != 0) & (second != 0)
    np.testing.assert_array_equal(first[kept], second[kept])
    # Dropout doubles what it keeps; the rest of the difference is the batch's statistics.
    assert not np.allclose(first[kept] / 2, np.asarray(tested)[kept], 0.01)


def test_grey_has_no_state_and_trains_as_it_tests() -> None:
    variables, _, tested = _tested(MultitaskGray)
    assert variables.keys() == {"params"}
    images = _images(MultitaskGray, 8, 32)
    apply = compiled(functools.partial(MultitaskGray(width=0.05).apply, train=True))
    # In training the first convolution sums in another order.
    np.testing.assert_allclose(apply(variables, images), tested, rtol=1e-4, atol=2e-6)


def test_grey_learns_in_bfloat16() -> None:
    network, images = (
        MultitaskGray(width=0.25, dtype=jnp.dtype("bfloat16")),
        _images(MultitaskGray, 2, 32),
    )
    variables = _drawn(network, images)

    @compiled
    @jax.grad
    def gradient(variables: Tree) -> jax.Array:
        features: Any = network.apply(variables, images, train=True)
        return jnp.square(features.astype(jnp.float32)).sum()

    for leaf in jax.tree.leaves(gradient(variables)):
        assert leaf.dtype == jnp.float32
        assert np.isfinite(leaf).all()
        assert np.any(np.asarray(leaf))
