"""ResNets against torchvision's; see tests/golden/make_resnet.py."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.models.resnet import ResNet, ResNet18, ResNet34, ResNet50
from tests.golden import seeded_weights as shared

GOLDEN = Path(__file__).parents[1] / "golden" / "resnet.npz"
GAIN = 0.5
NETWORKS: dict[str, ResNet] = {
    "resnet18": ResNet18(),
    "resnet34": ResNet34(),
    "resnet50": ResNet50(),
}
TRAIN = (8, 80, 112)
EVAL_SIZES = {"resnet18": (2, 71, 93), "resnet34": (1, 224, 224), "resnet50": (2, 59, 80)}

Tree = Any


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def _shapes(network: ResNet, height: int = 64, width: int = 64, channels: int = 3) -> Tree:
    def init(images: jax.Array) -> Tree:
        return network.init(jax.random.key(0), images, train=False)

    return jax.eval_shape(init, jnp.zeros((1, height, width, channels)))


def _name(keys: Any) -> str:
    """torchvision's name of one of our arrays."""
    *modules, kind = (key.key for key in keys[1:])
    module = ".".join(modules).replace("downsample_conv", "downsample.0")
    module = module.replace("downsample_bn", "downsample.1").replace("_", ".")
    kinds = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    return f"{module}.{kinds.get(kind, kind)}"


def _torch_layout(array: np.ndarray) -> np.ndarray:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def _named(tree: Tree) -> dict[str, Any]:
    """Leaves by torchvision's name, sorted by name."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return dict(sorted((_name(keys), leaf) for keys, leaf in leaves))


def _drawn(network: ResNet) -> Tree:
    """Weights of the golden file."""

    def draw(keys: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        shape = leaf.shape
        if len(shape) == 4:
            shape = (shape[3], shape[2], shape[0], shape[1])
            return shared.draw(_name(keys), shape, gain=GAIN).transpose(2, 3, 1, 0)
        return shared.draw(_name(keys), shape, gain=GAIN)

    return jax.tree_util.tree_map_with_path(draw, _shapes(network))


@pytest.fixture(scope="module")
def weights() -> dict[str, Tree]:
    return {name: _drawn(network) for name, network in NETWORKS.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_arrays_are_torchvisions_one_for_one(
    weights: dict[str, Tree], golden: dict[str, np.ndarray], name: str
) -> None:
    named = {key: _torch_layout(array) for key, array in _named(weights[name]).items()}
    assert [f"{k} {v.shape}" for k, v in named.items()] == golden[f"{name}/names"].tolist()
    found = np.stack([shared.probe(array) for array in named.values()])
    np.testing.assert_allclose(
        found, golden[f"{name}/weights"], 1e-5, 1e-6, err_msg="numpy draws other weights"
    )


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 11_176_512), ("resnet34", 21_284_672), ("resnet50", 23_508_032)],
)
def test_there_are_as_many_parameters_as_in_torchvisions_less_its_classifier(
    name: str, count: int
) -> None:
    params = jax.tree.leaves(_shapes(NETWORKS[name])["params"])
    assert sum(leaf.size for leaf in params) == count


@pytest.mark.parametrize("name", NETWORKS)
def test_features_equal_torchvisions(
    weights: dict[str, Tree], golden: dict[str, np.ndarray], name: str
) -> None:
    images = jnp.asarray(shared.draw_images(*EVAL_SIZES[name]))
    features = jax.jit(lambda w, x: NETWORKS[name].apply(w, x, train=False))(weights[name], images)
    expected = golden[f"{name}/eval"]
    np.testing.assert_allclose(features, expected, 1e-5, 1e-5 * expected.std())


@pytest.mark.parametrize("name", NETWORKS)
def test_training_equals_torchvisions(
    weights: dict[str, Tree], golden: dict[str, np.ndarray], name: str
) -> None:
    """Features with the batch's statistics, the running statistics, and resnet18's gradients."""
    images = jnp.asarray(shared.draw_images(*TRAIN))
    statistics = weights[name]["batch_stats"]
    directions = shared.draw("directions", golden[f"{name}/train"].shape, gain=512)

    network = NETWORKS[name]

    def forward(params: Tree, images: jax.Array) -> tuple[jax.Array, tuple[jax.Array, Tree]]:
        variables = {"params": params, "batch_stats": statistics}
        features, kept = network.apply(variables, images, train=True, mutable="batch_stats")
        return (features * directions.astype(features.dtype)).sum(), (features, kept)

    if name == "resnet18":
        step = jax.jit(jax.grad(forward, has_aux=True))
        # In float64 like PyTorch's: rounding may push a ReLU's input over zero, and its gradient with it.
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), weights[name])
            network, statistics = network.clone(dtype=jnp.dtype("float64")), wide["batch_stats"]
            gradients, _ = step(wide["params"], np.asarray(images, np.float64))
        network, statistics = NETWORKS[name], weights[name]["batch_stats"]
        found = [_torch_layout(np.asarray(g)) for g in _named({"params": gradients}).values()]
        for array, probe in zip(found, golden["resnet18/gradients"], strict=True):
            # Values may be differences of large terms: atol relative to the array's scale.
            np.testing.assert_allclose(shared.probe(array), probe, 1e-6, 1e-6 * probe[1])
    _, (features, kept) = jax.jit(forward)(weights[name]["params"], images)
    expected = golden[f"{name}/train"]
    # Batch statistics amplify rounding: over 53 of them PyTorch's float32 differs from its float64 as much.
    np.testing.assert_allclose(features, expected, 0, 1e-4 * np.sqrt(np.square(expected).mean()))
    for array, probe in zip(_named(kept).values(), golden[f"{name}/statistics"], strict=True):
        np.testing.assert_allclose(shared.probe(np.asarray(array)), probe, 1e-5, 1e-5 * probe[1])


def _sizes(network: ResNet, height: int, width: int) -> list[tuple[int, ...]]:
    """Height and width of the maps after conv1 and each stage."""

    def run(images: jax.Array) -> Tree:
        key = jax.random.key(0)
        return network.init_with_output(
            key, images, train=False, capture_intermediates=True, mutable=True
        )[1]

    captured = jax.eval_shape(run, jnp.zeros((1, height, width, 3)))["intermediates"]
    stages = ("conv1", "layer1_1", "layer2_1", "layer3_1", "layer4_1")
    return [captured[stage]["__call__"][0].shape[1:3] for stage in stages]


@pytest.mark.parametrize(("k", "side"), list(enumerate([(59, 71), (80, 113), (224, 224)])))
def test_maps_have_torchvisions_sizes(
    golden: dict[str, np.ndarray], k: int, side: tuple[int, int]
) -> None:
    np.testing.assert_array_equal(_sizes(ResNet18(), *side), golden["sizes"][k])


def test_the_small_stem_is_5x5_and_halves_once() -> None:
    network = ResNet18(stem="small")
    assert _shapes(network)["params"]["conv1"]["kernel"].shape == (5, 5, 3, 64)
    assert _sizes(network, 80, 71) == [(40, 36), (40, 36), (20, 18), (10, 9), (5, 5)]
    without_stem = [_named(_shapes(net)) for net in (network, ResNet18())]
    for named in without_stem:
        del named["conv1.weight"]
    assert without_stem[0] == without_stem[1]


@pytest.mark.parametrize(("name", "features"), [("resnet34", 512), ("resnet50", 2048)])
def test_the_width_multiplies_every_layer(name: str, features: int) -> None:
    half = type(NETWORKS[name])(width=0.5)
    params, whole = _named(_shapes(half)), _named(_shapes(NETWORKS[name]))
    for key, leaf in params.items():
        assert leaf.shape[-1] * 2 == whole[key].shape[-1], key
    images = jnp.zeros((3, 64, 64, 1))
    run = jax.eval_shape(
        lambda x: half.init_with_output(jax.random.key(0), x, train=False)[0], images
    )
    assert run.shape == (3, features // 2)


class _Short(ResNet):
    """Two blocks, the second with a downsample: quick to compile."""

    blocks = (1, 1)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights_and_statistics() -> None:
    network = _Short(width=0.5, dtype=jnp.dtype("bfloat16"))
    assert {leaf.dtype for leaf in jax.tree.leaves(_shapes(network))} == {jnp.dtype("float32")}
    variables, images = _drawn(network), jnp.asarray(shared.draw_images(4, 32, 32))

    @jax.jit
    def forward(variables: Tree, images: jax.Array) -> Tree:
        return [
            net.apply(variables, images, train=True, mutable="batch_stats")
            for net in (network, _Short(width=0.5))
        ]

    (features, kept), (exact, _) = forward(variables, images)
    assert (features.dtype, exact.dtype) == (jnp.bfloat16, jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype("float32")}
    # Eight bits of mantissa, six convolutions.
    difference = np.abs(features.astype(jnp.float32) - exact)
    assert 1e-4 < difference.mean() < 0.05 * np.std(exact)


def test_initial_kernels_are_torchvisions() -> None:
    network = ResNet50(width=0.25)
    # Two kernels with different fans: each further one takes long to compile.
    kernels = ("layer3.0.conv1.weight", "layer4.0.conv3.weight")

    @jax.jit
    def init(key: jax.Array) -> dict[str, jax.Array]:
        named = _named(network.init(key, jnp.zeros((1, 32, 32, 3)), train=False))
        return {k: v for k, v in named.items() if k in kernels or v.ndim == 1}

    for name, array in init(jax.random.key(3)).items():
        values = np.asarray(array, np.float64)
        if name in kernels:
            std = (2 / values.shape[-1]) ** 0.5  # He et al., fan out of 1x1
            # Five standard errors; a normal truncated at two std has no values beyond.
            assert abs(values.std() / std - 1) < 5 / (2 * values.size) ** 0.5, name
            assert np.abs(values).max() > 2.5 * std, name
        else:
            assert np.all(values == (not name.endswith(("bias", "mean")))), name


def test_dropout_drops_and_doubles_pooled_features_in_training_only() -> None:
    networks = [_Short(width=0.25, dropout=rate) for rate in (0.5, 0.0)]
    variables, images = _drawn(networks[0]), jnp.asarray(shared.draw_images(64, 32, 32))

    @functools.partial(jax.jit, static_argnames="train")
    def features(variables: Tree, images: jax.Array, *, train: bool) -> list[Any]:
        rngs, mutable = {"dropout": jax.random.key(5)}, ["batch_stats"]
        return [
            net.apply(variables, images, train=train, rngs=rngs, mutable=mutable)[0]
            for net in networks
        ]

    dropped, kept = map(np.asarray, features(variables, images, train=True))
    alive = kept > 0
    np.testing.assert_allclose(dropped[dropped > 0], 2 * kept[dropped > 0], 1e-6)
    assert np.mean(dropped[alive] == 0) == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(*features(variables, images, train=False))
