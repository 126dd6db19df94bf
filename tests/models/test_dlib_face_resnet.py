"""The trunk against dlib itself; see tests/golden/make_dlib.py."""

import functools
import importlib.metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from ageflax.augment.means import FIXED
from ageflax.models import dlib_face_resnet
from ageflax.models.dlib_face_resnet import DlibFaceResNet, _Block
from ageflax.models.layers.platform import traced_for
from ageflax.weights import transfer
from ageflax.weights.formats import dlib
from ageflax.weights.packages import PACKAGED
from tests.golden import dlib_network

GOLDEN = Path(__file__).parents[1] / "golden" / "dlib.npz"
NAME = "dlib_face_resnet"

Tree = Any


def _true() -> Path:
    row = PACKAGED[NAME]
    try:
        return Path(str(importlib.metadata.distribution(row.distribution).locate_file(row.file)))
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{row.distribution} is not installed")


def _loaded(path: Path) -> Tree:
    """Parameters of the trunk, from a file of dlib's."""
    tensors = transfer.load(str(path), model_name=NAME, channels="rgb").tensors
    trunk = {name.removeprefix("params/trunk/"): values for name, values in tensors.items()}
    return {"params": traverse_util.unflatten_dict(trunk, sep="/")}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dlib") / "drawn.dat"
    path.write_bytes(dlib_network.content())
    return path


def _golden_images() -> np.ndarray:
    mean, std = FIXED["dlib"]
    return (dlib_network.images() - mean) / std


@pytest.mark.parametrize(
    ("weights", "width", "form", "train"),
    [
        ("true", 1.0, "cpu", False),
        ("drawn", dlib_network.WIDTH, "", False),
        ("drawn", dlib_network.WIDTH, "cpu", True),
    ],
)
def test_descriptors_are_dlibs(
    weights: str, width: float, form: str, *, train: bool, drawn: Path
) -> None:
    path = _true() if weights == "true" else drawn
    with traced_for(form):
        apply = jax.jit(functools.partial(DlibFaceResNet(width=width).apply, train=train))
        features = np.asarray(apply(_loaded(path), _golden_images()))
    descriptors = features @ dlib.read(path)["fc1.weight"].T
    expected = np.load(GOLDEN, allow_pickle=False)[weights]
    np.testing.assert_allclose(descriptors, expected, 0, 1e-4 * np.abs(expected).max())


def _shapes(network: DlibFaceResNet, side: int = 64) -> Tree:
    images = jnp.zeros((2, side, side, 3))
    return jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), images, train=False))


def test_parameters_are_counted() -> None:
    _, variables = _shapes(DlibFaceResNet())
    assert variables.keys() == {"params"}
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 5_574_720
    assert set(variables["params"]["level1_2"]) == {"conv1", "conv2"}


@pytest.mark.parametrize("side", [32, 64, 102, 103, 227])
def test_any_size_will_do(side: int) -> None:
    assert _shapes(DlibFaceResNet(width=0.5), side)[0].shape == (2, 128)


def test_a_map_smaller_than_the_kernel_repeats_its_edges() -> None:
    block = _Block(6, halving=True, dtype=jnp.dtype("float32"))
    x = jax.random.uniform(jax.random.key(0), (2, 2, 1, 3))
    larger = jnp.repeat(x, np.array([1, 2]), 1, total_repeat_length=3).repeat(3, 2)
    found, variables = block.init_with_output(jax.random.key(1), x, train=False)
    np.testing.assert_array_equal(found, block.apply(variables, larger, train=False))
    assert found.shape == (2, 1, 1, 6)


def _images(count: int, side: int) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (count, side, side, 3)) / 4


def test_drawn_weights_neither_vanish_nor_explode_and_all_learn() -> None:
    network, images = DlibFaceResNet(width=0.25), _images(8, 64)

    @jax.jit
    def gradient(key: jax.Array) -> tuple[Tree, jax.Array]:
        def loss(variables: Tree) -> tuple[jax.Array, jax.Array]:
            features: Any = network.apply(variables, images, train=True)
            return jnp.square(features).sum(), features

        return jax.grad(loss, has_aux=True)(network.init(key, images[:1], train=False))

    gradients, features = gradient(jax.random.key(0))
    assert 0.1 < np.std(features) < 10
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks: quick to compile."""
    monkeypatch.setattr(dlib_face_resnet, "LEVELS", {"level4": (32, 1), "level3": (64, 1)})


@pytest.mark.usefixtures("short")
def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights() -> None:
    networks = [DlibFaceResNet(width=0.25, dtype=jnp.dtype(d)) for d in ("bfloat16", "float32")]
    images = _images(8, 64)

    @jax.jit
    def features(key: jax.Array) -> Tree:
        variables = networks[0].init(key, images[:1], train=False)
        return variables, [net.apply(variables, images, train=True) for net in networks]

    variables, (rounded, exact) = features(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert (rounded.dtype, exact.dtype) == (jnp.bfloat16, jnp.float32)
    difference = np.abs(rounded.astype(jnp.float32) - exact)
    assert 1e-5 < difference.max() < 0.1 * np.std(exact)


@pytest.mark.usefixtures("short")
def test_dropout_drops_and_doubles_pooled_features_in_training_only() -> None:
    images = _images(32, 64)

    @jax.jit
    def features(key: jax.Array) -> list[Any]:
        networks = [DlibFaceResNet(width=0.25, dropout=rate) for rate in (0.5, 0.0)]
        variables = networks[0].init(key, images[:1], train=False)
        return [
            net.apply(variables, images, train=train, rngs={"dropout": key})
            for train in (True, False)
            for net in networks
        ]

    dropped, kept, tested, again = map(np.asarray, features(jax.random.key(5)))
    alive = kept > 0
    assert np.mean(dropped[alive] == 0) == pytest.approx(0.5, abs=0.1)
    np.testing.assert_allclose(dropped[dropped > 0], 2 * kept[dropped > 0], 1e-6)
    np.testing.assert_array_equal(tested, again)
