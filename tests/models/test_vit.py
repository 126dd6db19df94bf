"""ViT-B/16 against timm's in CLIP's layout; see tests/golden/make_vit.py."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ageflax.models.layers.platform import traced_for
from ageflax.models.vit import ViTB16, _scores, _summed_once
from tests.golden import seeded_weights
from tests.golden import vit_weights as shared

GOLDEN = Path(__file__).parents[1] / "golden" / "vit.npz"
NAMES = {
    "patch_embedding": "patch_embed.proj",
    "pre_norm": "norm_pre",
    "post_norm": "norm",
    "qkv": "attn.qkv",
    "projection": "attn.proj",
    "norm1": "norm1",
    "norm2": "norm2",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
KINDS = {"kernel": "weight", "scale": "weight", "bias": "bias"}
NARROW = 1 / 12  # one attention head

Tree = Any


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return dict(file)


def _shapes(network: ViTB16, height: int, width: int) -> Tree:
    def init(images: jax.Array) -> Tree:
        return network.init(jax.random.key(0), images, train=False)["params"]

    return jax.eval_shape(init, jnp.zeros((1, height, width, 3)))


def _timms_name(path: str) -> str:
    """timm's name of one of our parameters, such as "block_0/qkv/kernel"."""
    if path in ("class_token", "position_embedding"):
        return {"class_token": "cls_token", "position_embedding": "pos_embed"}[path]
    *block, layer, kind = path.split("/")
    prefix = f"blocks.{block[0].removeprefix('block_')}." if block else ""
    return f"{prefix}{NAMES[layer]}.{KINDS[kind]}"


@pytest.fixture(scope="module")
def weights(golden: dict[str, np.ndarray]) -> Tree:
    """Weights of the golden file, transposed from PyTorch's layout."""
    drawn = shared.draw_weights()
    probes = np.stack([seeded_weights.probe(array) for array in drawn.values()])
    np.testing.assert_allclose(probes, golden["weights"], 1e-5, 1e-6, err_msg="numpy draws others")

    def turned(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        array = drawn.pop(_timms_name(jax.tree_util.keystr(path, simple=True, separator="/")))
        if array.ndim == 4:
            return array.transpose(2, 3, 1, 0)
        return array.T if array.ndim == 2 else array.reshape(leaf.shape)

    shapes = _shapes(ViTB16(depth=shared.DEPTH), *shared.IMAGES[1:])
    params = jax.tree_util.tree_map_with_path(turned, shapes)
    assert not drawn
    assert jax.tree.map(np.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    return params


def _run(network: ViTB16, params: Tree, images: np.ndarray, **kwargs: Any) -> tuple[Any, Tree]:
    """Features, and the output of every layer."""

    @jax.jit
    def run(params: Tree, images: jax.Array) -> Tree:
        variables = {"params": params}
        return network.apply(variables, images, capture_intermediates=True, **kwargs)

    features, captured = run(params, jnp.asarray(images))
    return features, captured["intermediates"]


@pytest.fixture(scope="module")
def layers(weights: Tree) -> Tree:
    features, layers = _run(ViTB16(depth=2), weights, shared.draw_images(), train=False)
    return {"features": features, **layers}


def test_features_equal_timms(layers: Tree, golden: dict[str, np.ndarray]) -> None:
    # Values of about 0.6; PyTorch's float32 is 8e-7 from its float64, an epsilon of 1e-6 1.4e-5.
    np.testing.assert_allclose(layers["features"], golden["features"], 1e-5, 4e-6)


@pytest.mark.parametrize("block", [0, 1])
def test_every_block_equals_timms(layers: Tree, golden: dict[str, np.ndarray], block: int) -> None:
    found = layers[f"block_{block}"]["__call__"][0]
    assert found.shape == (2, 1 + 4 * 6, 768)
    np.testing.assert_allclose(found[:, 0], golden["blocks"][block], 1e-5, 1e-5)


def test_at_224_pixels_there_are_as_many_parameters_as_in_timms() -> None:
    params = _shapes(ViTB16(), 224, 224)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 85_799_424
    assert params["position_embedding"].shape == (1 + 14 * 14, 768)
    assert params["class_token"].shape == (768,)
    assert "bias" not in params["patch_embedding"]
    assert {name for name in params if name.startswith("block_")} == {
        f"block_{k}" for k in range(12)
    }


@pytest.mark.parametrize(("width", "features"), [(NARROW, 64), (0.5, 384), (0.01, 64), (0.3, 256)])
def test_the_width_is_a_whole_number_of_heads(width: float, features: int) -> None:
    params = _shapes(ViTB16(width=width, depth=1), 32, 32)
    block = params["block_0"]
    assert block["qkv"]["kernel"].shape == (features, 3 * features)
    assert block["fc1"]["kernel"].shape == (features, 4 * features)
    assert params["post_norm"]["scale"].shape == (features,)


@pytest.mark.parametrize(("height", "width"), [(227, 227), (224, 220), (24, 32)])
def test_sides_that_patches_do_not_fill_are_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"{height}x{width} pixels: .*multiples of 16"):
        _shapes(ViTB16(depth=1), height, width)


@pytest.fixture(scope="module")
def narrow_weights() -> Tree:
    """One head, two blocks, 32x48 pixels; from numpy: compiling an initialiser takes seconds."""

    def drawn(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith("kernel"):
            return seeded_weights.draw(name, leaf.shape[::-1], gain=2.0).T
        return seeded_weights.draw(name.replace("scale", "weight"), leaf.shape, gain=2.0)

    return jax.tree_util.tree_map_with_path(drawn, _shapes(ViTB16(NARROW, depth=2), 32, 48))


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(narrow_weights: Tree) -> None:
    network = ViTB16(NARROW, depth=2, dtype=jnp.dtype("bfloat16"))
    shapes = _shapes(network, 32, 48)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    images = seeded_weights.draw_images(2, 32, 48)
    features, layers = _run(network, narrow_weights, images, train=False)
    assert {leaf.dtype for leaf in jax.tree.leaves(layers)} == {jnp.dtype("bfloat16")}
    exact, _ = _run(ViTB16(NARROW, depth=2), narrow_weights, images, train=False)
    assert (features.dtype, exact.dtype) == (jnp.bfloat16, jnp.float32)
    difference = np.abs(features.astype(jnp.float32) - exact)
    assert 1e-4 < difference.max() < 0.1 * np.std(exact)


def test_every_product_of_a_training_step_is_of_two_bfloat16s(narrow_weights: Tree) -> None:
    network = ViTB16(NARROW, depth=2, dtype=jnp.dtype("bfloat16"))

    def loss(weights: Tree) -> Any:
        features: Any = network.apply({"params": weights}, jnp.zeros((1, 32, 48, 3)), train=False)
        return features.astype(jnp.float32).sum()

    program = str(jax.jit(jax.grad(loss)).lower(narrow_weights).as_text())
    products = re.findall(r"(?:dot_general|convolution)[^\n]* : \((.*?)\) ->", program)
    assert len(products) > 30
    assert {dtype for p in products for dtype in re.findall(r"x([a-z]+\d+)>", p)} == {"bf16"}


def test_the_scores_derivatives_are_jaxs_own() -> None:
    q, k, outer = (
        jax.random.normal(key, (2, 3, 7, 8)) for key in jax.random.split(jax.random.key(0), 3)
    )
    outer = jnp.einsum("bhqd,bhkd->bhqk", outer, k)

    def plain(q: jax.Array, k: jax.Array) -> jax.Array:
        return jnp.einsum("bhqd,bhkd->bhqk", q, k)

    expected, expected_back = jax.vjp(plain, q, k)
    got, back = jax.vjp(_scores, q, k)
    for one, other in zip((got, *back(outer)), (expected, *expected_back(outer)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_softmax_and_norms_are_computed_in_float32(narrow_weights: Tree) -> None:
    network = ViTB16(NARROW, depth=2, dtype=jnp.dtype("bfloat16"))

    def run(images: jax.Array) -> Any:
        return network.apply({"params": narrow_weights}, images, train=False)

    program = str(jax.make_jaxpr(run)(jnp.zeros((1, 32, 48, 3))))
    for operation, count in (("exp", 2), ("rsqrt", 6)):
        found = re.findall(rf":(\w+)\[[\d,]+\] = {operation} ", program)
        assert found == ["f32"] * count, operation
    # One per block: the scores.
    scores = [line for line in program.splitlines() if ":f32[1,1,7,7] = dot_general" in line]
    assert len(scores) == 2


def test_without_drop_path_training_is_testing_and_needs_no_key(narrow_weights: Tree) -> None:
    images = seeded_weights.draw_images(2, 32, 48)
    network = ViTB16(NARROW, depth=2)
    trained, _ = _run(network, narrow_weights, images, train=True)
    tested, _ = _run(network, narrow_weights, images, train=False)
    np.testing.assert_array_equal(trained, tested)


def test_drop_path_leaves_branches_of_the_last_block_out_for_whole_faces(
    narrow_weights: Tree,
) -> None:
    images = np.repeat(seeded_weights.draw_images(1, 32, 48), 64, axis=0)
    network = ViTB16(NARROW, depth=2, drop_path=0.5)
    rngs = {"dropout": jax.random.key(3)}
    _, layers = _run(network, narrow_weights, images, train=True, rngs=rngs)
    first = np.asarray(layers["block_0"]["__call__"][0])
    np.testing.assert_array_equal(first, np.broadcast_to(first[:1], first.shape))
    tested, _ = _run(network, narrow_weights, images[:1], train=False)
    # The last block adds nothing, either branch doubled, or both.
    added = np.asarray(layers["block_1"]["__call__"][0]) - first
    attention = np.asarray(layers["block_1"]["projection"]["__call__"][0]).reshape(added.shape)
    kinds, counts = np.unique(added.round(4), axis=0, return_counts=True)
    assert len(kinds) == 4
    assert counts.min() >= 6
    nothing = np.abs(added).max((1, 2)) == 0
    alone = np.abs(added - 2 * attention).max((1, 2)) < 1e-5
    assert nothing.sum() in counts
    assert alone.sum() in counts
    assert np.abs(tested[0] - np.asarray(layers["post_norm"]["__call__"][0])).max(1).min() > 1e-3


def test_each_blocks_gradient_is_added_up_once() -> None:
    def widest(depth: int) -> int:
        network = ViTB16(NARROW, depth=depth)

        def loss(weights: Tree, images: jax.Array) -> Any:
            features: Any = network.apply({"params": weights}, images, train=True)
            return features.sum()

        images = jnp.zeros((2, 32, 48, 3))
        with traced_for("cpu"):
            program = jax.jit(jax.grad(loss)).lower(_shapes(network, 32, 48), images).compile()
        fused = re.findall(r" fusion\((.*?)\), kind=", str(program.as_text()))
        return max(operands.count("%") for operands in fused)

    assert widest(6) == widest(3)  # and not three arrays more for each block


@pytest.mark.parametrize("devices", [1, 4])
def test_the_gradient_that_is_added_up_once_is_the_gradient(devices: int) -> None:
    mesh = Mesh(jax.devices()[:devices], "data")
    x = jax.device_put(jnp.arange(24.0).reshape(4, 6) / 7, NamedSharding(mesh, P("data")))

    def of(stream: Any) -> Any:
        return jax.jit(jax.grad(lambda x: (jnp.sin(stream(jnp.square(x))) + x).sum()))(x)

    found = of(_summed_once)
    np.testing.assert_array_equal(found, of(lambda x: x))
    assert found.sharding.is_equivalent_to(x.sharding, x.ndim)


def test_tokens_and_positions_start_small_and_kernels_keep_a_signals_size() -> None:
    init = jax.jit(ViTB16(0.25, depth=1).init, static_argnames="train")
    params = init(jax.random.key(3), jnp.zeros((1, 64, 64, 3)), train=False)["params"]
    stds = {
        "position_embedding": (params["position_embedding"], 192**-0.5),
        "fc2": (params["block_0"]["fc2"]["kernel"], 768**-0.5),
    }
    for name, (found, std) in stds.items():
        assert np.std(found) == pytest.approx(std, rel=0.05), name
    assert not np.any(params["block_0"]["qkv"]["bias"])
    assert np.all(np.asarray(params["pre_norm"]["scale"]) == 1)
