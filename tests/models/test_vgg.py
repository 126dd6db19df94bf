"""VGG-16 against torchvision's; see tests/golden/make_vgg.py."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.models.vgg import VGG16
from tests.golden import seeded_weights as shared

GOLDEN = Path(__file__).parents[1] / "golden" / "vgg.npz"
GAIN = 2.0
# torchvision's numbers, which count ReLUs and pools.
FEATURES = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12,
    "conv3_3": 14, "conv4_1": 17, "conv4_2": 19, "conv4_3": 21, "conv5_1": 24, "conv5_2": 26,
    "conv5_3": 28,
}  # fmt: skip
CLASSIFIER = {"fc6": 0, "fc7": 3}
KINDS = {"kernel": "weight", "bias": "bias"}
LAST_MAP = (3, 2)

Tree = Any


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def _shapes(network: VGG16, height: int, width: int, channels: int = 3) -> Tree:
    def init(images: jax.Array) -> Tree:
        return network.init(jax.random.key(0), images, train=False)["params"]

    return jax.eval_shape(init, jnp.zeros((1, height, width, channels)))


def _names(tree: Tree) -> dict[str, tuple[str, str]]:
    """(layer, kind) by torchvision's name, sorted by name."""
    found = {}
    for layer, arrays in tree.items():
        part, number = ("features", FEATURES) if layer in FEATURES else ("classifier", CLASSIFIER)
        for kind in arrays:
            found[f"{part}.{number[layer]}.{KINDS[kind]}"] = (layer, kind)
    return dict(sorted(found.items()))


@pytest.fixture(scope="module")
def weights(golden: dict[str, np.ndarray]) -> Tree:
    """Weights of the golden file, drawn in torchvision's layout and transposed."""
    shapes = _shapes(VGG16(), 96, 75)
    names, probes, params = [], [], {layer: {} for layer in shapes}
    for name, (layer, kind) in _names(shapes).items():
        shape = shapes[layer][kind].shape
        if len(shape) == 4:
            array = shared.draw(name, (shape[3], shape[2], shape[0], shape[1]), gain=GAIN)
            params[layer][kind] = array.transpose(2, 3, 1, 0)
        else:
            array = shared.draw(name, shape[::-1], gain=GAIN)
            turned = array
            if (layer, kind) == ("fc6", "kernel"):  # from C, H, W to H, W, C
                turned = array.reshape(-1, 512, *LAST_MAP).transpose(0, 2, 3, 1)
                turned = turned.reshape(array.shape)
            params[layer][kind] = turned.T
        names.append(f"{name} {array.shape}")
        probes.append(shared.probe(array))
    assert names == golden["names"].tolist()
    np.testing.assert_allclose(
        np.stack(probes), golden["weights"], 1e-5, 1e-6, err_msg="numpy draws other weights"
    )
    return params


@pytest.fixture(scope="module")
def layers(weights: Tree) -> dict[str, np.ndarray]:
    """Outputs of fc6 and of the network for the golden file's images."""
    network, images = VGG16(), jnp.asarray(shared.draw_images(2, 96, 75))

    @jax.jit
    def run(params: Tree, images: jax.Array) -> Tree:
        return network.apply({"params": params}, images, train=False, capture_intermediates=True)

    features, captured = run(weights, images)
    fc6 = captured["intermediates"]["fc6_dropout"]["__call__"][0]
    return {"fc6": np.asarray(fc6), "fc7": np.asarray(features)}


@pytest.mark.parametrize("layer", ["fc6", "fc7"])
def test_features_equal_torchvisions(
    layers: dict[str, np.ndarray], golden: dict[str, np.ndarray], layer: str
) -> None:
    expected = golden[layer]
    np.testing.assert_allclose(layers[layer], expected, 1e-5, 1e-5 * expected.std())


def test_at_224_pixels_there_are_as_many_parameters_as_in_vgg_face_less_its_last_layer() -> None:
    params = _shapes(VGG16(), 224, 224)
    # torchvision's 138,357,544 less fc8 of 1,000 classes.
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 138_357_544 - 4_097_000
    assert params["fc6"]["kernel"].shape == (7 * 7 * 512, 4096)
    assert params.keys() == {*FEATURES, *CLASSIFIER}


@pytest.mark.parametrize(
    ("side", "inputs"), [((71, 71), 2 * 2 * 512), ((63, 95), 1 * 2 * 512), ((80, 64), 2 * 2 * 512)]
)
def test_pools_round_down(side: tuple[int, int], inputs: int) -> None:
    assert _shapes(VGG16(), *side)["fc6"]["kernel"].shape == (inputs, 4096)


def test_the_width_multiplies_every_layer() -> None:
    half, whole = _shapes(VGG16(width=0.5), 64, 64, 1), _shapes(VGG16(), 64, 64, 1)
    for layer, arrays in half.items():
        assert arrays["bias"].shape[0] * 2 == whole[layer]["bias"].shape[0], layer
        assert arrays["kernel"].shape[-1] * 2 == whole[layer]["kernel"].shape[-1], layer


def _narrow(dtype: str = "float32", dropout: float = 0.5) -> VGG16:
    return VGG16(width=0.0625, dropout=dropout, dtype=jnp.dtype(dtype))


@pytest.fixture(scope="module")
def narrow_weights() -> Tree:
    """He et al.'s kernels and zero biases, from numpy: compiling an initialiser takes seconds."""
    return {
        layer: {
            "kernel": shared.draw(layer, arrays["kernel"].shape[::-1], gain=GAIN).T,
            "bias": np.zeros(arrays["bias"].shape, np.float32),
        }
        for layer, arrays in _shapes(_narrow(), 32, 32).items()
    }


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(narrow_weights: Tree) -> None:
    shapes = _shapes(_narrow("bfloat16"), 32, 32)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    images = jnp.asarray(shared.draw_images(2, 32, 32))

    @jax.jit
    def run(params: Tree, images: jax.Array) -> list[Any]:
        networks = _narrow("bfloat16"), _narrow()
        return [net.apply({"params": params}, images, train=False) for net in networks]

    features, exact = run(narrow_weights, images)
    assert (features.dtype, exact.dtype) == (jnp.bfloat16, jnp.float32)
    # Eight bits of mantissa, fifteen layers.
    difference = np.abs(features.astype(jnp.float32) - exact)
    assert 1e-4 < difference.max() < 0.1 * np.std(exact)


def test_dropout_halves_and_doubles_fc6_and_fc7_in_training_only(narrow_weights: Tree) -> None:
    images = jnp.asarray(shared.draw_images(8, 32, 32))
    # Kernels of 0 and biases of 1, so every feature is 1 before dropout.
    params = dict(narrow_weights)
    for layer in ("fc6", "fc7"):
        kernel, bias = params[layer]["kernel"], params[layer]["bias"]
        params[layer] = {"kernel": np.zeros_like(kernel), "bias": np.ones_like(bias)}

    @jax.jit
    def run(params: Tree, images: jax.Array, key: jax.Array) -> Tree:
        network, variables = _narrow(), {"params": params}
        tested = network.apply(variables, images, train=False)
        _, captured = network.apply(
            variables, images, train=True, rngs={"dropout": key}, capture_intermediates=True
        )
        layers = captured["intermediates"]
        return tested, [layers[f"{layer}_dropout"]["__call__"][0] for layer in ("fc6", "fc7")]

    tested, trained = run(params, images, jax.random.key(5))
    assert np.all(np.asarray(tested) == 1)
    for features in map(np.asarray, trained):
        assert set(np.unique(features)) == {0.0, 2.0}
        assert np.mean(features == 0) == pytest.approx(0.5, abs=0.06)
    assert np.any(np.asarray(trained[0]) != np.asarray(trained[1]))


def test_initial_weights_are_torchvisions() -> None:
    network = VGG16(width=0.25)
    stds = {"conv4_1": (2 / (9 * 128)) ** 0.5, "fc7": 0.01}  # He et al., fan out; fixed

    @jax.jit
    def init(key: jax.Array) -> tuple[Tree, Tree]:
        params = network.init(key, jnp.zeros((1, 32, 32, 3)), train=False)["params"]
        # One convolution and one matrix: each further one takes long to compile.
        kernels = {layer: params[layer]["kernel"] for layer in stds}
        return kernels, [arrays["bias"] for arrays in params.values()]

    kernels, biases = init(jax.random.key(3))
    for layer, std in stds.items():
        kernel = np.asarray(kernels[layer], np.float64)
        # Five standard errors; a normal truncated at two std has no values beyond.
        assert abs(kernel.std() / std - 1) < 5 / (2 * kernel.size) ** 0.5, layer
        assert np.abs(kernel).max() > 2.5 * std, layer
    assert not any(np.any(np.asarray(bias)) for bias in biases)
