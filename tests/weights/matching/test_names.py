import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax import models
from ageflax.errors import InputError
from ageflax.weights.matching.names import to_ours
from tests.weights.foreign_states import resnet, vgg, vit


def ours(tensors, model_name, channels="rgb"):
    return to_ours(tensors, model_name=model_name, channels=channels)


RESNET_34 = (3, 4, 6, 3)
STATES = {
    "resnet18": ("resnet18", {"width": 1 / 16}, resnet()),
    "resnet34": ("resnet34", {"width": 1 / 16}, resnet(RESNET_34)),
    "resnet50": ("resnet50", {"width": 1 / 16}, resnet(RESNET_34, bottleneck=True)),
    "vgg16, torchvision": ("vgg16", {"width": 1 / 64}, vgg()),
    "vgg16, timm": ("vgg16", {"width": 1 / 64}, vgg("timm")),
    "vgg16, caffe": ("vgg16", {"width": 1 / 64}, vgg("caffe")),
    "vit_b16, clip": ("vit_b16", {"width": 1 / 12}, vit()),
    "vit_b16, timm": ("vit_b16", {"width": 1 / 12}, vit("timm")),
    "vit_b16, transformers": ("vit_b16", {"width": 1 / 12}, vit("transformers")),
    "vit_b16, its image half": ("vit_b16", {"width": 1 / 12}, vit("transformers, image")),
}


@pytest.mark.parametrize("channels", ["rgb", "grey"])
@pytest.mark.parametrize("state", STATES)
def test_every_array_of_the_network_is_found_and_no_other(state, channels):
    name, options, tensors = STATES[state]
    trunk = models.TRUNKS[name](**options)
    x = jax.ShapeDtypeStruct((1, 224, 224, 1 if channels == "grey" else 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: trunk.init(jax.random.key(0), x, train=False), x)
    expected = {
        "/".join((keys[0].key, "trunk", *(key.key for key in keys[1:]))): leaf.shape
        for keys, leaf in jax.tree_util.tree_flatten_with_path(shapes)[0]
    }
    found, _ = ours(tensors, name, channels)
    assert {path: values.shape for path, values in found.items()} == expected
    assert all(values.dtype == np.float32 for values in found.values())


def test_a_resnets_entries_are_where_they_belong():
    theirs = resnet()
    found, left_out = ours(theirs, "resnet18")
    kernel = found["params/trunk/layer2_0/conv1/kernel"]
    assert (
        kernel[2, 1, 3, 5] == theirs["layer2.0.conv1.weight"][5, 3, 2, 1]
    )  # H, W, I, O of O, I, H, W
    for path, name in {
        "params/trunk/bn1/scale": "bn1.weight",
        "params/trunk/bn1/bias": "bn1.bias",
        "batch_stats/trunk/bn1/mean": "bn1.running_mean",
        "batch_stats/trunk/bn1/var": "bn1.running_var",
        "params/trunk/layer4_1/bn2/scale": "layer4.1.bn2.weight",
        "batch_stats/trunk/layer3_0/downsample_bn/var": "layer3.0.downsample.1.running_var",
    }.items():
        np.testing.assert_array_equal(found[path], theirs[name])
    down = found["params/trunk/layer3_0/downsample_conv/kernel"]
    np.testing.assert_array_equal(down[0, 0], theirs["layer3.0.downsample.0.weight"][:, :, 0, 0].T)
    assert left_out == ["fc.weight", "fc.bias", "20 num_batches_tracked"]


@pytest.mark.parametrize("layout", ["torchvision", "timm", "caffe"])
def test_vggs_fc6_sees_the_same_features_in_another_order(layout):
    found, left_out = ours(vgg(layout), "vgg16")
    weight = vgg()["classifier.0.weight"]  # drawn alike in every layout
    features = np.random.default_rng(1).normal(size=(8, 7, 7)).astype(np.float32)  # C, H, W
    np.testing.assert_allclose(
        features.transpose(1, 2, 0).ravel() @ found["params/trunk/fc6/kernel"],
        weight @ features.ravel(),
        rtol=1e-4,
        atol=1e-4,
    )
    np.testing.assert_array_equal(found["params/trunk/fc7/kernel"], vgg()["classifier.3.weight"].T)
    head = {"torchvision": "classifier.6", "timm": "head.fc", "caffe": "fc8"}[layout]
    assert left_out == [f"{head}.weight", f"{head}.bias"]


def test_vggs_three_layouts_are_one_network():
    first, _ = ours(vgg(), "vgg16")
    for layout, channels in (("timm", "rgb"), ("caffe", "bgr")):
        other, _ = ours(vgg(layout), "vgg16", channels)
        assert other.keys() == first.keys()
        for path, values in first.items():
            np.testing.assert_array_equal(other[path], values)


def test_vits_two_layouts_are_one_network():
    clip, left_out = ours(vit(), "vit_b16")
    timm, timms_head = ours(vit("timm"), "vit_b16")
    assert clip.keys() == timm.keys()
    for path, values in clip.items():
        np.testing.assert_array_equal(timm[path], values)
    theirs = vit()
    block = "visual.transformer.resblocks.3"
    np.testing.assert_array_equal(
        clip["params/trunk/block_3/qkv/kernel"], theirs[f"{block}.attn.in_proj_weight"].T
    )
    np.testing.assert_array_equal(
        clip["params/trunk/block_3/fc2/kernel"], theirs[f"{block}.mlp.c_proj.weight"].T
    )
    np.testing.assert_array_equal(
        clip["params/trunk/block_3/norm2/scale"], theirs[f"{block}.ln_2.weight"]
    )
    assert clip["params/trunk/class_token"].shape == (64,)
    assert clip["params/trunk/position_embedding"].shape == (197, 64)
    assert left_out == ["visual.proj", "2 not of the image encoder"]
    assert timms_head == ["head.weight", "head.bias"]


LAYER = "vision_model.encoder.layers.3"


def test_transformers_layout_is_the_same_network():
    clip, _ = ours(vit(), "vit_b16")
    whole, left_out = ours(vit("transformers"), "vit_b16")
    image, nothing = ours(vit("transformers, image"), "vit_b16")
    assert clip.keys() == whole.keys() == image.keys()
    for path, values in clip.items():
        np.testing.assert_array_equal(whole[path], values)
        np.testing.assert_array_equal(image[path], values)
    assert left_out == [
        "vision_model.embeddings.position_ids",
        "visual_projection.weight",
        "4 not of the image encoder",
    ]
    assert nothing == []
    # The image encoder alone, as saved before version 5, with and without the projection.
    for name in ("position_ids", "visual_projection.weight"):
        kept = {n: v for n, v in vit("transformers").items() if n.startswith("vision") or name in n}
        assert ours(kept, "vit_b16")[0].keys() == clip.keys()


def test_queries_keys_and_values_are_joined_in_this_order():
    theirs = vit("transformers", depth=4)
    for k, letter in enumerate("vqk"):  # in any order in the file
        weight = np.full((64, 64), k, np.float32)
        weight[5, 7] = 10 + k  # output 5, input 7
        del theirs[f"{LAYER}.self_attn.{letter}_proj.weight"]
        theirs[f"{LAYER}.self_attn.{letter}_proj.weight"] = weight
        theirs[f"{LAYER}.self_attn.{letter}_proj.bias"] = np.full(64, 20 + k, np.float32)
    found, _ = ours(theirs, "vit_b16")
    kernel = found["params/trunk/block_3/qkv/kernel"]
    assert kernel.shape == (64, 192)
    assert kernel[0, [0, 63, 64, 127, 128, 191]].tolist() == [1, 1, 2, 2, 0, 0]
    assert kernel[7, [5, 69, 133]].tolist() == [11, 12, 10]
    bias = found["params/trunk/block_3/qkv/bias"]
    assert bias[[0, 63, 64, 127, 128, 191]].tolist() == [21, 21, 22, 22, 20, 20]


@pytest.mark.parametrize("letter", ["q", "k", "v"])
@pytest.mark.parametrize(("part", "ours_is"), [("weight", "kernel"), ("bias", "bias")])
def test_a_missing_query_key_or_value_is_refused(letter, part, ours_is):
    theirs = vit("transformers", depth=4)
    del theirs[f"{LAYER}.self_attn.{letter}_proj.{part}"]
    with pytest.raises(InputError, match=f"block_3/qkv/{ours_is} needs .*: {letter} missing$"):
        ours(theirs, "vit_b16")


@pytest.mark.parametrize("shape", [(), (32, 64), (64,), (64, 64, 1, 1)])
def test_queries_keys_and_values_of_unlike_shapes_are_refused(shape):
    theirs = vit("transformers", depth=4)
    theirs[f"{LAYER}.self_attn.k_proj.weight"] = np.ones(shape, np.float32)
    with pytest.raises(
        InputError, match=r"block_3/qkv/kernel needs .* and the file.s are \(64, 64\), "
    ):
        ours(theirs, "vit_b16")


def test_what_only_looks_like_transformers_layout_is_refused():
    theirs = vit("transformers") | {f"{LAYER}.mlp.gate.weight": np.ones(1, np.float32)}
    with pytest.raises(InputError, match=r"no place in vit_b16: vision_model.*mlp\.gate\.weight$"):
        ours(theirs, "vit_b16")
    with pytest.raises(InputError, match=r"no place in vit_b16: head\.weight$"):
        ours(vit("transformers") | {"head.weight": np.ones(1, np.float32)}, "vit_b16")


def test_what_farl_predicts_masked_patches_with_is_left_out():
    extras = (
        "visual.mask_token",
        "visual.mim_head.weight",
        "visual.lm_transformer.resblocks.0.attn.in_proj_weight",
        "visual.lm_head.weight",
        "visual.ln_lm.bias",
    )
    found, left_out = ours(vit() | {n: np.ones(1, np.float32) for n in extras}, "vit_b16")
    assert found.keys() == ours(vit(), "vit_b16")[0].keys()
    assert left_out[-1] == "5 of masked images"
    with pytest.raises(InputError, match=r"no place in vit_b16: visual\.other$"):
        ours(vit() | {"visual.other": np.ones(1, np.float32)}, "vit_b16")


def test_the_first_kernel_is_turned_to_the_channels_it_will_see():
    weight = resnet()["conv1.weight"].transpose(2, 3, 1, 0)
    path = "params/trunk/conv1/kernel"
    np.testing.assert_array_equal(ours(resnet(), "resnet18", "rgb")[0][path], weight)
    np.testing.assert_array_equal(ours(resnet(), "resnet18", "bgr")[0][path], weight[:, :, ::-1])
    grey = ours(resnet(), "resnet18", "grey")[0][path]
    # A pixel of value 2 in all three channels, and one of value 2 in the one.
    np.testing.assert_allclose((2 * weight).sum(2), 2 * grey[:, :, 0], rtol=1e-6)


def test_caffes_first_kernel_sees_bgr():
    path = "params/trunk/conv1_1/kernel"
    weight = vgg("caffe")["conv1_1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(ours(vgg("caffe"), "vgg16", "bgr")[0][path], weight)
    np.testing.assert_array_equal(ours(vgg("caffe"), "vgg16", "rgb")[0][path], weight[:, :, ::-1])


def test_other_kernels_of_three_channels_are_left_alone():
    theirs = resnet(base=3)
    found, _ = ours(theirs, "resnet18", "bgr")
    np.testing.assert_array_equal(
        found["params/trunk/layer1_0/conv1/kernel"],
        theirs["layer1.0.conv1.weight"].transpose(2, 3, 1, 0),
    )


@pytest.mark.parametrize("prefix", ["module.", "model.", "state_dict.module.", "backbone." * 99])
def test_a_prefix_of_all_names_is_stripped(prefix):
    found, _ = ours({prefix + n: v for n, v in resnet().items()}, "resnet18")
    assert found.keys() == ours(resnet(), "resnet18")[0].keys()


def test_a_prefix_of_some_names_is_not():
    theirs = resnet()
    theirs["module.fc.weight"] = theirs.pop("fc.weight")
    with pytest.raises(InputError, match=r"no place in resnet18: module\.fc\.weight$"):
        ours(theirs, "resnet18")


@pytest.mark.parametrize(
    ("tensors", "asked", "looks_like"),
    [
        (resnet(), "resnet34", "resnet18"),
        (resnet(RESNET_34), "resnet18", "resnet34"),
        (resnet(RESNET_34), "resnet50", "resnet34"),
        (resnet(RESNET_34, bottleneck=True), "resnet34", "resnet50"),
        (resnet((3, 4, 23, 3), bottleneck=True, base=1), "resnet50", "resnet101"),
        (resnet((2, 2, 2, 3)), "resnet18", "a ResNet of [2, 2, 2, 3] blocks"),
        (resnet(), "vgg16", "resnet18"),
        (vgg(), "resnet18", "vgg16"),
        (vgg("caffe"), "vit_b16", "vgg16"),
        (vit(), "resnet50", "vit_b16"),
        (vit("transformers"), "resnet50", "vit_b16"),
        (vit("transformers, image"), "vgg16", "vit_b16"),
        (resnet(), "levi_hassner", "resnet18"),
        ({"features.0.weight": np.ones((2, 3, 3, 3)), "features.34.weight": np.ones((2, 2, 3, 3))},
         "vgg16", "vgg19"),
        ({"features.0.weight": np.ones((2, 3, 3, 3)), "features.40.weight": np.ones((2, 2, 3, 3))},
         "vgg16", "vgg16_bn"),
        ({n: v for n, v in vit("timm").items() if "norm_pre" not in n}, "vit_b16", "a ViT without"),
        ({"a": np.ones(1), "b": np.ones(1)}, "vgg16", "unknown (its first names: a, b)"),
        ({}, "vgg16", "unknown (its first names: none)"),
    ],
)  # fmt: skip
def test_another_architecture_is_named(tensors, asked, looks_like):
    with pytest.raises(InputError) as caught:
        ours(tensors, asked)
    assert f"{asked!r}, but the file's network is {looks_like}" in str(caught.value)


def test_tensors_without_a_place_are_named_and_counted():
    theirs = vgg() | {f"extra.{k}": np.ones(1, np.float32) for k in range(9)}
    with pytest.raises(InputError, match=r"vgg16: extra\.0, .*, extra\.5 and 3 more$"):
        ours(theirs, "vgg16")


def _passes_on(theirs, absurd, name):
    """Asserts that absurd tensors get the right paths and keep all their elements."""
    right, wrong = ours(theirs, name)[0], ours(theirs | absurd, name)[0]
    assert wrong.keys() == right.keys()
    more = sum(values.size - theirs[path].size for path, values in absurd.items())
    count = lambda found: sum(values.size for values in found.values())  # noqa: E731
    assert count(wrong) - count(right) == more


def test_tensors_of_absurd_shapes_are_passed_on_for_the_comparison_of_shapes():
    for name in ("conv1.weight", "layer1.0.conv1.weight", "bn1.weight"):
        for shape in ((), (3,), (0, 0), (2, 3, 4), (1, 2, 3, 4, 5)):
            _passes_on(resnet(), {name: np.ones(shape, np.float32)}, "resnet18")
    for name in ("classifier.0.weight", "features.28.weight", "features.0.weight"):
        for shape in ((), (3,), (0, 0), (5, 7), (2, 3, 4, 5)):
            if name != "features.28.weight" or len(shape) == 4:
                _passes_on(vgg(), {name: np.ones(shape, np.float32)}, "vgg16")
    for name in ("visual.positional_embedding", "visual.class_embedding"):
        for shape in ((), (1,), (1, 1, 1), (2, 197, 64)):
            _passes_on(vit(depth=1), {name: np.ones(shape, np.float32)}, "vit_b16")
    q, k, v = (f"encoder.layers.0.self_attn.{letter}_proj.weight" for letter in "qkv")
    for shape in ((1,), (0, 0), (2, 3, 4), (2, 3, 4, 5)):
        alike = dict.fromkeys((q, k, v), np.ones(shape, np.float32))
        _passes_on(vit("transformers, image", depth=1), alike, "vit_b16")
