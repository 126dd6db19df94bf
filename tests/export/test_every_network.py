"""Every trunk and every objective as ONNX: onnxruntime against JAX."""

import collections
from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime
import pytest

from ageflax import models
from ageflax.bundle import load
from ageflax.export.onnx.file import OnnxFile
from ageflax.export.serving import serving
from tests.export import bundles

TRUNKS = {
    "levi_hassner": {"width": 0.1},
    "resnet18": {"width": 0.05, "channels": "rgb"},
    "resnet34": {"width": 0.05, "channels": "rgb"},
    "resnet50": {"width": 0.05, "channels": "rgb"},
    "vgg16": {"width": 0.03},
    "vit_b16": {"width": 0.1, "depth": 2, "channels": "rgb"},
    "inception_small": {"width": 0.05},
    "resnet_small": {"width": 0.05, "channels": "rgb"},
    "multitask_gray": {"width": 0.2, "channels": "grey", "head_hidden": (16, 8)},
    "dlib_face_resnet": {"width": 0.1, "channels": "rgb"},
    "dlib_age_resnet": {"width": 0.1, "channels": "rgb"},
    "dlib_gender_cnn": {"width": 0.1, "channels": "rgb"},
    "efficientnet_lite0": {"width": 0.1, "channels": "rgb"},
}


SEEN = 8  # faces for which JAX is compiled


def exported(tmp_path, values, *, mean="image", crops="center", opset=17):
    """A model and what its .onnx gives, by onnxruntime itself."""
    model = load(bundles.write(tmp_path / "bundle", values, mean=mean))
    served = serving(model, layout="nhwc_rgb_uint8", crops=crops)
    path = tmp_path / "model.onnx"
    OnnxFile(served, opset=opset, precision="float32").write(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def answer(images) -> dict[str, Any]:
        return dict(zip(names, session.run(names, {"images": images}), strict=True))

    return model, answer, onnx.load(path)


def faces(model):
    """Dark, bright, flat and full of contrast."""
    side = model.config["input"]["resize"]
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.integers(0, 256, (2, SEEN, 1, 1, 3)), axis=0)
    return rng.integers(low, high + 1, (SEEN, side, side, 3)).astype(np.uint8)


def agree(model, answer, *counts, crops="center"):
    """Asserts that batches of some sizes are answered as JAX does; returns the last answer."""
    images = faces(model)
    expected = jax.jit(lambda images: model(images, crops=crops))(images)
    years = model.ages(expected).years if {"years", "age"} & expected.keys() else None
    found = {}
    for count in counts:
        rows = np.arange(count) % SEEN
        found = answer(images[rows])
        for task, values in expected.items():
            if values.shape[1] > 1:
                here = found[f"{task}_probabilities"]
                assert here.dtype == np.float32
                np.testing.assert_allclose(here, values[rows], atol=1e-4)
                assert np.asarray(values).std() > 1e-3  # no one answer to all
        if years is not None:
            most = 1e-4 * max(1, abs(years).max())
            assert found["age"].shape == (count,)
            np.testing.assert_allclose(found["age"], years[rows], atol=most)
    return found


def test_none_is_forgotten():
    assert TRUNKS.keys() == models.TRUNKS.keys()


@pytest.mark.parametrize("name", TRUNKS)
def test_a_trunk_answers_as_jax_does(name, tmp_path):
    model, answer, _ = exported(tmp_path, bundles.small(name, **TRUNKS[name]))
    found = agree(model, answer, 1, 7, 64)
    assert set(found) == {"years_probabilities", "gender_probabilities", "age"}


def test_depthwise_convolutions_and_relu6_are_one_node_each(tmp_path):
    _, _, graph = exported(tmp_path, bundles.small("efficientnet_lite0", width=0.1, channels="rgb"))
    kinds = collections.Counter(node.op_type for node in graph.graph.node)
    assert (kinds["Conv"], kinds["Clip"]) == (1 + 15 + 16 + 16 + 1, 1 + 15 + 16 + 1)
    assert kinds["Add"] < 16  # shortcuts; norms are merged into convolutions
    groups = [
        attribute.i
        for node in graph.graph.node
        for attribute in node.attribute
        if attribute.name == "group"
    ]
    assert sum(n > 1 for n in groups) == 16


@pytest.mark.parametrize(
    ("loss", "crops"),
    [
        ("coral", "ten"),
        ("corn", "scales"),
        ("corn", "center"),
        ("label_distribution", "center"),
        ("l1", "ten"),
        ("huber", "center"),
        ("gaussian", "center"),
        ("gaussian", "mirror"),
    ],
)
def test_an_objective_answers_as_jax_does(loss, crops, tmp_path):
    grey = bundles.small("multitask_gray", channels="grey", width=0.1, loss={"years": loss})
    model, answer, _ = exported(tmp_path, grey, mean="pixel", crops=crops)
    found = agree(model, answer, 7, crops=crops)
    assert ("years_probabilities" in found) == (loss not in ("l1", "huber"))


def test_a_median_is_computed_in_the_file(tmp_path):
    values = bundles.small("multitask_gray", channels="grey", width=0.1) | {
        "eval": {"age": "median"}
    }
    model, answer, _ = exported(tmp_path, values)
    found = agree(model, answer, 7)
    means = found["years_probabilities"] @ np.arange(101)
    assert np.abs(found["age"].ravel() - means).max() > 0.1


def test_age_groups_give_years_too(tmp_path):
    joint = bundles.small("levi_hassner", task="joint", width=0.05, norm="none")
    model, answer, _ = exported(tmp_path, joint, crops="mirror")
    found = agree(model, answer, 7, crops="mirror")
    assert found["age_probabilities"].shape == (7, 8)
    assert found["age"].min() >= 1


def test_gender_alone_gives_no_years(tmp_path):
    gender = bundles.small("levi_hassner", task="gender", width=0.05, norm="none")
    model, answer, _ = exported(tmp_path, gender)
    assert set(agree(model, answer, 1)) == {"gender_probabilities"}


@pytest.mark.parametrize("activation", ["selu", "elu", "leaky", "prelu"])
def test_activations(activation, tmp_path):
    levi = bundles.small("levi_hassner", width=0.05, norm="batch", activation=activation)
    model, answer, _ = exported(tmp_path, levi)
    agree(model, answer, 7)


def test_bfloat16_is_computed_in_float32(tmp_path):
    levi = bundles.small("levi_hassner", width=0.05, norm="batch", dtype="bfloat16")
    model, answer, graph = exported(tmp_path, levi)
    kinds = {weight.data_type for weight in graph.graph.initializer}
    assert kinds <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    images = faces(model)
    expected = jax.jit(lambda images: model(images))(images)["gender"]
    close = np.abs(answer(images)["gender_probabilities"] - np.asarray(expected))
    assert 0 < close.max() < 0.1


def operators(graph):
    return collections.Counter(node.op_type for node in graph.graph.node)


def test_the_graph_is_as_one_would_draw_it(tmp_path):
    """Norms in the convolutions, no transpose but of the image, weights once and named as in the bundle."""
    model, _, graph = exported(tmp_path, bundles.small("resnet18", width=0.05, channels="rgb"))
    assert operators(graph) == {
        "Cast": 1, "Sub": 1, "Div": 1, "Slice": 1, "Transpose": 1, "Conv": 20, "Relu": 17,
        "MaxPool": 1, "Add": 8, "ReduceMean": 1, "Gemm": 2, "Softmax": 2, "Mul": 1, "ReduceSum": 1,
    }  # fmt: skip
    names = {weight.name for weight in graph.graph.initializer}
    assert "params/trunk/layer1_0/conv1/kernel/folded" in names
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model.variables.params))
    assert graph.ByteSize() < 4 * (parameters + model.variables.mean.size) + 20_000


def test_lrn_and_pools_are_one_node_each(tmp_path):
    _, _, graph = exported(tmp_path, bundles.small("levi_hassner", width=0.05))
    found = operators(graph)
    assert (found["LRN"], found["MaxPool"], found["Transpose"]) == (2, 3, 1)
    assert not {"Identity", "Shape", "Expand"} & found.keys()
    (one, _) = (node for node in graph.graph.node if node.op_type == "LRN")
    values = {a.name: onnx.helper.get_attribute_value(a) for a in one.attribute}
    assert values == pytest.approx({"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0})


@pytest.mark.parametrize("opset", [13, 18, 23])
def test_opsets(opset, tmp_path):
    vit = bundles.small("vit_b16", width=0.1, depth=1, channels="rgb")
    model, answer, graph = exported(tmp_path, vit, opset=opset)
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", opset)]
    agree(model, answer, 7)
