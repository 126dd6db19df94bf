import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax import models
from ageflax.errors import InputError
from ageflax.weights.foreign_names import to_ours
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
        (resnet(), "levi_hassner", "resnet18"),
        ({"features.0.weight": np.ones((2, 3, 3, 3)), "features.34.weight": np.ones((2, 2, 3, 3))},
         "vgg16", "vgg19"),
        ({"features.0.weight": np.ones((2, 3, 3, 3)), "features.40.weight": np.ones((2, 2, 3, 3))},
         "vgg16", "vgg16_bn"),
        ({n: v for n, v in vit("timm").items() if "norm_pre" not in n}, "vit_b16", "a ViT that lacks"),
        ({"a": np.ones(1), "b": np.ones(1)}, "vgg16", "none that is known (its first names: a, b)"),
        ({}, "vgg16", "none that is known (its first names: none)"),
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


def test_tensors_of_absurd_shapes_are_passed_on_for_the_comparison_of_shapes():
    for name in ("conv1.weight", "layer1.0.conv1.weight", "bn1.weight"):
        for shape in ((), (3,), (0, 0), (2, 3, 4), (1, 2, 3, 4, 5)):
            ours(resnet() | {name: np.ones(shape, np.float32)}, "resnet18")
    for name in ("classifier.0.weight", "features.28.weight", "features.0.weight"):
        for shape in ((), (3,), (0, 0), (5, 7), (2, 3, 4, 5)):
            if name != "features.28.weight" or len(shape) == 4:
                ours(vgg() | {name: np.ones(shape, np.float32)}, "vgg16")
    for name in ("visual.positional_embedding", "visual.class_embedding"):
        for shape in ((), (1,), (1, 1, 1), (2, 197, 64)):
            ours(vit(depth=1) | {name: np.ones(shape, np.float32)}, "vit_b16")
