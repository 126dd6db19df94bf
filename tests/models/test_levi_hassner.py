"""The network and its training against PyTorch and OpenCV; see tests/golden/make_levi_hassner.py."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import TypeCheckError

from ageflax import config as configuration
from ageflax import losses, models
from ageflax.config import Optim
from ageflax.models import Network
from ageflax.models.layers.pooling import ceil_max_pool
from ageflax.models.layers.response_norm import local_response_norm
from ageflax.training import optimizer
from tests.golden import levi_hassner_weights as shared

ROOT = Path(__file__).parents[2]
LABELS = np.array([0, 3, 5, 7], np.int32)
PAPER = {"name": "levi_hassner", "dtype": "float32"}
AGE = {"age": models.Head(8)}

Tree = Any


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(ROOT / "tests/golden/levi_hassner.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def images(golden: dict[str, np.ndarray]) -> np.ndarray:
    images = shared.draw_images(4)
    found = [images.sum(dtype=np.float64), *images.ravel()[:3]]
    np.testing.assert_allclose(found, golden["images"], err_msg="numpy draws other images")
    return images


def _weights(golden: dict[str, np.ndarray], name: str) -> Tree:
    weights = shared.draw_weights(getattr(shared, name.upper()))
    np.testing.assert_allclose(
        shared.checksum(weights), golden[f"weights_{name}"], 1e-6, err_msg="numpy draws others"
    )
    return jax.tree.map(jnp.asarray, shared.flax_params(weights, "age"))


@pytest.fixture(scope="module")
def large(golden: dict[str, np.ndarray]) -> Tree:
    return _weights(golden, "large")


@pytest.fixture(scope="module")
def forward(large: Tree, images: np.ndarray) -> dict[str, np.ndarray]:
    """Every stage under Caffe's name, from the outputs of the network's layers."""
    network = models.build(PAPER, AGE)
    apply = jax.jit(lambda p, x: network.apply({"params": p}, x, capture_intermediates=True))
    logits, captured = apply(large, images[:3])
    layers = {
        k: v["__call__"][0] for k, v in captured["intermediates"]["trunk"].items() if k[0] != "_"
    }
    found = {"fc8": logits["age"]}
    for number, layer in (("1", "conv1"), ("2", "conv2"), ("5", "conv3")):
        found[f"pool{number}"] = ceil_max_pool(jax.nn.relu(layers[layer]))
    for number in ("1", "2"):
        found[f"norm{number}"] = local_response_norm(found[f"pool{number}"])
    for layer in ("fc6", "fc7"):
        found[layer] = jax.nn.relu(layers[layer])
    return {
        name: np.asarray(x).transpose(0, 3, 1, 2) if x.ndim == 4 else np.asarray(x)
        for name, x in found.items()
    }


@pytest.mark.parametrize("stage", ["pool1", "norm1", "pool2", "norm2", "pool5", "fc6", "fc7"])
def test_every_stage_equals_pytorchs(
    forward: dict[str, np.ndarray], golden: dict[str, np.ndarray], stage: str
) -> None:
    # Float32 sums of up to 18,816 products; terms may cancel, so atol follows the stage's scale.
    mean, std = golden[f"{stage}/moments"]
    found = forward[stage]
    atol = 1e-5 * std
    np.testing.assert_allclose(shared.probe(found), golden[f"{stage}/probe"], 1e-5, atol)
    np.testing.assert_allclose(
        [found.mean(dtype=np.float64), found.std(dtype=np.float64)], [mean, std], 1e-5
    )


def test_logits_equal_pytorchs(
    forward: dict[str, np.ndarray], golden: dict[str, np.ndarray]
) -> None:
    # Logits up to 5; PyTorch's own float32 is 9e-6 from its float64.
    np.testing.assert_allclose(forward["fc8"], golden["logits"], 1e-5, 5e-5)


def test_probabilities_equal_opencvs_caffe_importer(
    forward: dict[str, np.ndarray], golden: dict[str, np.ndarray]
) -> None:
    probabilities = np.asarray(jax.nn.softmax(jnp.asarray(forward["fc8"])))
    np.testing.assert_allclose(probabilities, golden["probabilities_opencv"], 1e-4, 1e-6)


@pytest.fixture(scope="module")
def levi_optim() -> Optim:
    """The optim group of configs/levi.py, with all defaults."""
    return configuration.load(str(ROOT / "configs/levi.py")).optim


@pytest.fixture(scope="module")
def loss_and_gradient(images: np.ndarray) -> Callable[[Tree], tuple[jax.Array, Tree]]:
    """Loss over one batch of four as in training, without dropout, in the dtype of the weights."""
    labels, mask = jnp.asarray(LABELS), jnp.ones(4, bool)

    def objective(params: Tree) -> jax.Array:
        batch = jnp.asarray(images, jax.tree.leaves(params)[0].dtype)
        network = models.build({**PAPER, "dropout": 0.0, "dtype": batch.dtype.name}, AGE)
        logits: Any = network.apply({"params": params}, batch, train=True)
        groups = losses.CrossEntropy(8)
        weights = losses.face_weights(groups, labels, mask)
        return losses.weighted_loss(groups, logits["age"], labels, weights) / weights.sum()

    return jax.jit(jax.value_and_grad(objective))


Steps = list[tuple[float, Tree, Tree]]


@pytest.fixture(scope="module")
def take_steps(
    golden: dict[str, np.ndarray], loss_and_gradient: Callable[[Tree], tuple[jax.Array, Tree]]
) -> Callable[[Optim], Steps]:
    """Four steps from weights of the paper's scale: loss, updates and new weights of each."""

    def take(group: Optim) -> Steps:
        dtype = jnp.float64 if jax.config.values["jax_enable_x64"] else jnp.float32
        params = jax.tree.map(lambda a: jnp.asarray(a, dtype), _weights(golden, "paper"))
        tx = optimizer.build(group, params, steps=4)
        update = jax.jit(tx.update)
        state, steps = tx.init(params), []
        for _ in range(4):
            loss, gradient = loss_and_gradient(params)
            updates, state = update(gradient, state, params)
            params = optax.apply_updates(params, updates)
            steps.append((float(loss), updates, params))
        return steps

    return take


@pytest.mark.parametrize("recipe", ["sgd", "drop"])
def test_training_equals_pytorchs(
    take_steps: Callable[[Optim], Steps],
    levi_optim: Optim,
    golden: dict[str, np.ndarray],
    recipe: str,
) -> None:
    drops = {"decay_every": 2} if recipe == "drop" else {}
    # In float32 the greatest of a pool's inputs depends on the order of sums, which differs between
    # kinds of CPUs, and the pool's gradient with it.
    with jax.enable_x64(True):
        steps = take_steps(dataclasses.replace(levi_optim, **drops))
    # A loss is computed in float32 whatever the network's dtype.
    np.testing.assert_allclose([loss for loss, _, _ in steps], golden[f"{recipe}/losses"], 1e-6)
    for number in (1, 4):
        # Updates, not weights: a step changes a weight by about one part in 10,000.
        updates = shared.caffe_arrays(steps[number - 1][1], "age")
        norms = golden[f"{recipe}/step{number}/norms"]
        for (name, update), norm in zip(updates.items(), norms, strict=True):
            # Values may be differences of large terms: atol relative to the array's scale.
            atol = 1e-6 * norm / update.size**0.5
            np.testing.assert_allclose(np.linalg.norm(update), norm, 1e-6, err_msg=name)
            expected = golden[f"{recipe}/step{number}/{name}"]
            np.testing.assert_allclose(shared.sample(update), expected, 1e-6, atol, err_msg=name)
    for name, array in shared.caffe_arrays(steps[3][2], "age").items():
        expected = golden[f"{recipe}/weights/{name}"]
        np.testing.assert_allclose(shared.sample(array), expected, 1e-7, 1e-9, err_msg=name)


def test_losses_in_float32_equal_pytorchs(
    take_steps: Callable[[Optim], Steps], levi_optim: Optim, golden: dict[str, np.ndarray]
) -> None:
    losses = [loss for loss, _, _ in take_steps(levi_optim)]
    # Logits reach 5, where float32 has steps of 5e-7; sums are in another order on each kind of CPU.
    np.testing.assert_allclose(losses, golden["sgd/losses"], 5e-6)


def test_the_two_recipes_part_where_the_rate_drops(golden: dict[str, np.ndarray]) -> None:
    sgd, drop = golden["sgd/losses"], golden["drop/losses"]
    np.testing.assert_allclose(sgd[:3], drop[:3], 1e-12)
    assert abs(sgd[3] - drop[3]) > 0.01


def _shapes(model: dict[str, Any], classes: dict[str, models.Head], side: int = 227) -> Tree:
    network = models.build({**PAPER, **model}, classes)
    return jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, side, side, 3)))


def _count(tree: Tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_age_network_has_11_415_048_parameters() -> None:
    params = _shapes({}, AGE)["params"]
    assert _count(params) == 11_415_048
    assert params["trunk"]["fc6"]["kernel"].shape == (18_816, 512)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert _count(_shapes({}, {"gender": models.Head(2)})["params"]) == 11_415_048 - 6 * 513


@pytest.mark.parametrize("activation", ["selu", "elu", "leaky", "prelu"])
def test_of_the_activations_prelu_alone_has_parameters(activation: str) -> None:
    params = _shapes({"activation": activation}, AGE)["params"]["trunk"]
    layers = {"conv1": 96, "conv2": 256, "conv3": 384, "fc6": 512, "fc7": 512}
    slopes = {f"{name}_prelu": {"slope": (size,)} for name, size in layers.items()}
    found = {k: jax.tree.map(lambda leaf: leaf.shape, v) for k, v in params.items()}
    assert {k: v for k, v in found.items() if k not in layers} == (
        slopes if activation == "prelu" else {}
    )


def test_maps_shrink_from_56_to_28_to_14_to_7(forward: dict[str, np.ndarray]) -> None:
    trunk = models.build(PAPER, AGE).trunk

    def run(x: jax.Array) -> Tree:
        return trunk.init_with_output(
            jax.random.key(0), x, train=False, capture_intermediates=True, mutable=True
        )

    _, captured = jax.eval_shape(run, jnp.zeros((2, 227, 227, 3)))
    layers = captured["intermediates"]
    assert [layers[f"conv{i}"]["__call__"][0].shape for i in (1, 2, 3)] == [
        (2, 56, 56, 96),
        (2, 28, 28, 256),
        (2, 14, 14, 384),
    ]
    assert forward["pool5"].shape == (3, 384, 7, 7)


def test_initial_weights_are_the_papers() -> None:
    network = models.build(PAPER, AGE)
    params = jax.jit(network.init)(jax.random.key(3), jnp.zeros((1, 227, 227, 3)))["params"]
    layers = {**params["trunk"], "fc8": params["heads"]["age"]}
    expected = {
        "conv1": (0.01, 0),
        "conv2": (0.01, 1),
        "conv3": (0.01, 0),
        "fc6": (0.005, 1),
        "fc7": (0.005, 1),
        "fc8": (0.01, 0),
    }
    assert layers.keys() == expected.keys()
    for name, (std, bias) in expected.items():
        kernel = np.asarray(layers[name]["kernel"], np.float64)
        # Five standard errors; a normal truncated at two std would be 12 % off.
        tolerance = 5 / np.sqrt(kernel.size)
        assert abs(kernel.std() / std - 1) < tolerance / np.sqrt(2), name
        assert abs(kernel.mean() / std) < tolerance, name
        assert np.abs(kernel).max() > 3 * std, name
        assert np.all(np.asarray(layers[name]["bias"]) == bias), name


def test_he_initialisation_keeps_the_signal_and_zeroes_biases() -> None:
    network = models.build({**PAPER, "initialization": "matched", "width": 0.25}, AGE)

    @jax.jit
    def init(key: jax.Array) -> Tree:
        trunk = network.init(key, jnp.zeros((1, 32, 32, 3)))["params"]["trunk"]
        # One convolution and one matrix: each further one takes a second to compile.
        kernels = {name: trunk[name]["kernel"] for name in ("conv2", "fc7")}
        return kernels, {name: layer["bias"] for name, layer in trunk.items()}

    kernels, biases = init(jax.random.key(3))
    assert np.std(kernels["conv2"]) == pytest.approx((2 / (25 * 24)) ** 0.5, rel=0.03)
    assert np.std(kernels["fc7"]) == pytest.approx((2 / 128) ** 0.5, rel=0.03)
    assert len(biases) == 5
    assert not any(np.any(np.asarray(bias)) for bias in biases.values())


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(
    large: Tree, images: np.ndarray, golden: dict[str, np.ndarray]
) -> None:
    network = models.build({**PAPER, "dtype": "bfloat16"}, AGE)
    params = _shapes({"dtype": "bfloat16"}, AGE)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    logits = jax.jit(network.apply)({"params": large}, images[:3])["age"]
    assert logits.dtype == jnp.float32
    differences = np.abs(np.asarray(logits) - golden["logits"])
    # Eight bits of mantissa, five layers; logits span 8.
    assert 1e-4 < differences.max() < 0.15


def _drawn(network: Network, images: jax.Array) -> Tree:
    """Variables of He et al.'s scale, from numpy: compiling an initialiser takes seconds."""
    generator = np.random.default_rng(0)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        kind = path[-1].key
        if kind == "kernel":
            std = (2 * leaf.shape[-1] / leaf.size) ** 0.5
            return generator.normal(0, std, leaf.shape).astype(np.float32)
        return np.full(leaf.shape, kind in ("scale", "var"), np.float32)

    shapes = jax.eval_shape(network.init, jax.random.key(0), images)
    return jax.tree.map(jnp.asarray, jax.tree_util.tree_map_with_path(draw, shapes))


@pytest.mark.parametrize("norm", ["batch", "none", "lrn"])
def test_narrow_variants_give_logits_of_every_task(norm: str) -> None:
    network = models.build(
        {**PAPER, "width": 0.25, "norm": norm}, {"age": models.Head(8), "gender": models.Head(2)}
    )
    images = jax.random.normal(jax.random.key(1), (2, 64, 64, 3)) * 50
    variables = _drawn(network, images)
    trunk = variables["params"]["trunk"]
    assert trunk["conv1"]["kernel"].shape == (7, 7, 3, 24)
    assert trunk["fc7"]["kernel"].shape == (128, 128)
    assert ("batch_stats" in variables) == (norm == "batch")
    logits = jax.jit(network.apply)(variables, images)
    assert {task: scores.shape for task, scores in logits.items()} == {
        "age": (2, 8),
        "gender": (2, 2),
    }
    assert all(np.isfinite(scores).all() for scores in logits.values())


def test_batch_norm_updates_its_statistics_in_training_only() -> None:
    network = models.build({**PAPER, "width": 0.1, "norm": "batch", "dropout": 0.0}, AGE)
    images = jax.random.normal(jax.random.key(1), (4, 40, 40, 3)) * 50 + 7
    variables = _drawn(network, images)
    before = variables["batch_stats"]["trunk"]
    assert set(before) == {"conv1_norm", "conv2_norm", "conv3_norm", "fc6_norm", "fc7_norm"}

    @functools.partial(jax.jit, static_argnames="train")
    def apply(variables: Tree, *, train: bool) -> tuple[Tree, Tree]:
        return network.apply(variables, images, train=train, mutable=["batch_stats"])

    logits, updated = apply(variables, train=False)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"]["trunk"], before)
    trained, updated = apply(variables, train=True)
    assert not np.allclose(logits["age"], trained["age"])
    # Momentum .99 from a mean of 0 and a variance of 1.
    kernel = variables["params"]["trunk"]["conv1"]["kernel"]
    layout = ("NHWC", "HWIO", "NHWC")
    maps = jax.lax.conv_general_dilated(images, kernel, (4, 4), "VALID", dimension_numbers=layout)
    found = updated["batch_stats"]["trunk"]["conv1_norm"]
    np.testing.assert_allclose(found["mean"], 0.01 * maps.mean((0, 1, 2)), 1e-3, 1e-4)
    np.testing.assert_allclose(found["var"], 0.99 + 0.01 * maps.var((0, 1, 2)), 1e-3)


def test_dropout_halves_and_doubles_the_features_of_fc7_in_training_only() -> None:
    network = models.build({**PAPER, "width": 0.25, "norm": "none", "dropout": 0.5}, AGE)
    images = jax.random.normal(jax.random.key(1), (8, 32, 32, 3)) * 50
    params = _drawn(network, images)["params"]["trunk"]
    # A bias of 1 in place of fc7's kernel: every feature is 1 before dropout.
    params["fc7"] = {"kernel": jnp.zeros((128, 128)), "bias": jnp.ones(128)}

    @functools.partial(jax.jit, static_argnames="train")
    def features(key: jax.Array, *, train: bool) -> Any:
        rngs = {"dropout": key}
        return network.trunk.apply({"params": params}, images, train=train, rngs=rngs)

    first, second = jax.random.split(jax.random.key(5))
    assert np.all(np.asarray(features(first, train=False)) == 1.0)
    dropped = np.asarray(features(first, train=True))
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert np.mean(dropped == 0) == pytest.approx(0.5, abs=0.08)
    np.testing.assert_array_equal(features(first, train=True), dropped)
    assert np.mean(np.asarray(features(second, train=True)) == dropped) < 0.6


def test_fc6_is_dropped_too() -> None:
    network = models.build({**PAPER, "width": 0.1, "norm": "none", "dropout": 0.99}, AGE)
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3)) * 50
    params = _drawn(network, images)["params"]["trunk"]
    apply = jax.jit(functools.partial(network.trunk.apply, train=True, capture_intermediates=True))
    _, captured = apply({"params": params}, images, rngs={"dropout": jax.random.key(0)})
    fc6 = np.asarray(captured["intermediates"]["fc6_dropout"]["__call__"][0])
    assert np.mean(fc6 == 0) > 0.9
    assert np.mean(np.asarray(captured["intermediates"]["fc6"]["__call__"][0]) > 0) > 0.2


def test_a_grey_network_differs_in_its_first_kernel_alone() -> None:
    network = models.build(PAPER, AGE)
    colour, grey = (
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 227, 227, channels)))
        for channels in (3, 1)
    )
    different = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for (path, one), other in zip(
            jax.tree_util.tree_leaves_with_path(colour), jax.tree.leaves(grey), strict=True
        )
        if one.shape != other.shape
    ]
    assert different == ["params/trunk/conv1/kernel"]
    assert grey["params"]["trunk"]["conv1"]["kernel"].shape == (7, 7, 1, 96)


def test_an_image_without_a_channel_axis_is_refused() -> None:
    network = models.build(PAPER, AGE)
    with pytest.raises(TypeCheckError):
        jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 227, 227)))
