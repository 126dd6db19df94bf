"""EfficientNet-Lite0 against its PyTorch copy; see tests/golden/make_efficientnet_lite.py."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from ageflax.models.efficientnet_lite import EfficientNetLite0, Stage
from ageflax.models.layers.platform import traced_for
from ageflax.weights import transfer
from ageflax.weights.matching.names import to_ours
from tests.golden import efficientnet_lite_weights as own
from tests.golden import seeded_weights as shared

GOLDEN = Path(__file__).parents[1] / "golden" / "efficientnet_lite.npz"
NAME = "efficientnet_lite0"

Tree = Any


class _Short(EfficientNetLite0):
    stages = (
        Stage(1, 3, 1, 1, 16),
        Stage(2, 3, 2, 6, 24),
        Stage(2, 5, 2, 6, 40),
        Stage(1, 5, 1, 6, 56),
    )


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def _trees(tensors: dict[str, np.ndarray]) -> Tree:
    """Variables of the trunk, from tensors by our paths."""
    return unflatten_dict({k.replace("/trunk/", "/"): v for k, v in tensors.items()}, sep="/")


def _described(lines: np.ndarray) -> dict[str, tuple[int, ...]]:
    """Shapes by their name."""
    pairs = (line.partition(" ") for line in lines.tolist())
    return {name: tuple(int(n) for n in shape.strip("(),").split(",")) for name, _, shape in pairs}


def _short_paths(name: str) -> str:
    """Our path of one of the short network's arrays."""
    stem = {
        "_conv_stem": "stem_conv",
        "_conv_head": "head_conv",
        "_bn0": "stem_bn",
        "_bn1": "head_bn",
    }
    *module, kind = name.split(".")
    within = {"_bn0": "expand_bn", "_bn1": "depthwise_bn", "_bn2": "project_bn"}
    if module[0] == "_blocks":
        layer = f"block_{module[1]}/{within.get(module[2], module[2].lstrip('_'))}"
    else:
        layer = stem[module[0]]
    ours = {"running_mean": "mean", "running_var": "var", "bias": "bias"}
    leaf = ours.get(kind, "kernel" if layer.endswith("conv") else "scale")
    return f"{'batch_stats' if leaf in ('mean', 'var') else 'params'}/{layer}/{leaf}"


def _drawn_short(golden: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The short network's weights by our paths, in the order of the golden file."""
    found = {}
    for name, shape in _described(golden["short/names"]).items():
        array = own.draw(name, shape)
        found[_short_paths(name)] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
    return found


@pytest.mark.parametrize("form", ["", "cpu"])
def test_features_of_the_published_weights(golden: dict[str, np.ndarray], form: str) -> None:
    loaded = transfer.load(NAME, model_name=NAME, channels="rgb")
    variables, network = _trees(loaded.tensors), EfficientNetLite0()
    for side in own.SIDES if form else own.SIDES[1:]:
        with traced_for(form):
            run = jax.jit(lambda v, x: network.apply(v, x, train=False))
            features = run(variables, jnp.asarray(shared.draw_images(1, side, side)))
        expected = golden[f"true/{side}"]
        np.testing.assert_allclose(features, expected, 1e-4, 1e-4 * expected.std())


def test_features_of_drawn_weights_at_odd_sides(golden: dict[str, np.ndarray]) -> None:
    shapes = _described(golden["names"])
    drawn = {name: own.draw(name, shape) for name, shape in shapes.items()}
    probes = np.stack([shared.probe(array) for array in drawn.values()])
    np.testing.assert_allclose(
        probes, golden["weights"], 1e-5, 1e-6, err_msg="numpy draws other weights"
    )
    tensors, left_out = to_ours(drawn, model_name=NAME, channels="rgb")
    assert not left_out
    network = EfficientNetLite0(dtype=jnp.dtype("float64"))
    # Drawn norms amplify rounding from block to block.
    with jax.enable_x64(True), traced_for("cpu"):
        wide = {path: np.asarray(array, np.float64) for path, array in tensors.items()}
        images = jnp.asarray(shared.draw_images(*own.EVAL), jnp.float64)
        run = jax.jit(lambda v, x: network.apply(v, x, train=False))
        features = np.asarray(run(_trees(wide), images))
    expected = golden["eval"]
    np.testing.assert_allclose(features, expected, 1e-5, 1e-5 * expected.std())


def test_training(golden: dict[str, np.ndarray]) -> None:
    """Features with the batch's statistics, the running statistics and all gradients, in float64."""
    drawn = _drawn_short(golden)
    expected = golden["short/train"]
    directions = np.asarray(own.directions(expected.shape[1]), np.float64)
    network = _Short(dtype=jnp.dtype("float64"))

    def loss(params: Tree, statistics: Tree) -> tuple[jax.Array, tuple[jax.Array, Tree]]:
        variables = {"params": params, "batch_stats": statistics}
        features, kept = network.apply(variables, images, train=True, mutable="batch_stats")
        return (features * directions).sum(), (features, kept)

    with jax.enable_x64(True), traced_for("cpu"):
        images = jnp.asarray(shared.draw_images(*own.TRAIN), jnp.float64)
        trees = _trees({path: np.asarray(array, np.float64) for path, array in drawn.items()})
        step = jax.jit(jax.grad(loss, has_aux=True))
        gradients, (features, kept) = step(trees["params"], trees["batch_stats"])
        found = jax.tree.map(np.asarray, {"params": gradients, **kept})
    np.testing.assert_allclose(features, expected, 1e-5, 1e-5 * expected.std())
    of_kind = {"params": golden["short/gradients"], "batch_stats": golden["short/statistics"]}
    for kind, probes in of_kind.items():
        paths = [path for path in drawn if path.startswith(kind)]
        for path, expected in zip(paths, probes, strict=True):
            array = found
            for part in path.split("/"):
                array = array[part]
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            # A bias before another norm has no gradient, but for rounding.
            np.testing.assert_allclose(
                shared.probe(array), expected, 1e-5, 1e-9 + 1e-5 * expected[1], err_msg=path
            )


def _shapes(network: EfficientNetLite0, side: int = 64) -> Tree:
    return jax.eval_shape(
        lambda: network.init_with_output(
            jax.random.key(0), jnp.zeros((2, side, side, 3)), train=False
        )
    )


def test_there_are_as_many_parameters_as_in_the_paper_less_the_classifier() -> None:
    features, variables = _shapes(EfficientNetLite0())
    assert features.shape == (2, 1280)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert parameters == 4_652_008 - 1_281_000


def test_every_form_has_the_same_parameters() -> None:
    network, x = _Short(width=0.1), jnp.zeros((2, 32, 32, 3))
    found = []
    for form in ("", "cpu", "gpu", "tpu"):
        with traced_for(form):
            shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), x, train=True))
            found.append(jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), shapes))
    assert all(shapes == found[0] for shapes in found)


def test_initial_kernels_are_of_their_fan_out() -> None:
    network = _Short(width=0.5)
    run = jax.jit(lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))
    params = run()["params"]["block_4"]
    for layer, fan_out in (("expand", 120), ("depthwise", 25 * 120), ("project", 20)):
        kernel = params[f"{layer}_conv"]["kernel"]
        assert np.isclose(kernel.std(), (2 / fan_out) ** 0.5, rtol=0.05)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights_and_statistics() -> None:
    for form in ("cpu", "gpu"):
        with traced_for(form):
            network = _Short(width=0.5, dtype=jnp.dtype("bfloat16"))
            features, variables = _shapes(network)
            assert features.dtype == jnp.bfloat16
            assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_a_block_is_skipped_for_some_faces_and_scaled_up_for_the_others() -> None:
    class OneStage(EfficientNetLite0):
        stages = (Stage(1, 3, 1, 1, 32), Stage(1, 3, 1, 1, 32))

    x = jnp.asarray(shared.draw_images(64, 8, 8))
    whole, half = OneStage(width=0.2), OneStage(width=0.2, drop_path=0.8)
    variables = whole.init(jax.random.key(0), x, train=False)

    def features(network: EfficientNetLite0, seed: int) -> np.ndarray:
        rngs = {"dropout": jax.random.key(seed)}
        run = jax.jit(
            lambda v, x: network.apply(
                v, x, train=True, rngs=rngs, mutable=True, capture_intermediates=True
            )[1]
        )
        return np.asarray(run(variables, x)["intermediates"]["block_1"]["__call__"][0])

    def entering(network: EfficientNetLite0) -> np.ndarray:
        run = jax.jit(
            lambda v, x: network.apply(v, x, train=True, mutable=True, capture_intermediates=True)[
                1
            ]
        )
        return np.asarray(run(variables, x)["intermediates"]["block_0"]["__call__"][0])

    before = entering(whole)
    added = features(whole, 0) - before
    found = features(half, 0) - before  # block 1 of 2: half of 0.8
    skipped = np.array([np.abs(face).max() < 1e-6 for face in found])
    assert 10 < skipped.sum() < 42
    np.testing.assert_allclose(found[~skipped], added[~skipped] / 0.6, 1e-4, 1e-5)
    assert not np.array_equal(found, features(half, 1) - before)
