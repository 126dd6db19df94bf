"""ONNX files are matched by their graph, whatever their names and order."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnx.external_data_helper import convert_model_to_external_data

from ageflax.bundle import load
from tests.import_weights.conftest import AGES
from tests.weights.formats import onnx_nets

WORDS = ("--channels=rgb", "--mean=none", f"--classes={AGES}")


def faces(side, count=2):
    return np.random.default_rng(3).integers(0, 256, (count, side, side, 3), np.uint8)


def by_opencv(model, images):
    """Softmax of a model, by OpenCV's reader."""
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    scores = []
    for image in images:
        net.setInput(np.ascontiguousarray(image[None].transpose(0, 3, 1, 2), np.float32))
        scores.append(net.forward()[0])
    scores = np.array(scores)
    if (scores >= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-4):
        return scores
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"pooling": "end pads"},
        {"how": "MatMul", "flatten": "Reshape"},
        {"constants": "node"},
        {"softmax": False},
        {"old": True},
    ],
    ids=str,
)
def test_the_network_of_levi_and_hassner(run, given):
    old = given.pop("old", False) if given else False
    model = onnx_nets.levi(**given).model(227, old=old)
    code, output, said = run(model.SerializeToString(), *WORDS, "--resize=227", framework="onnx")
    assert code == 0, said
    images = faces(227)
    expected = by_opencv(model, images)
    assert expected.max() < 0.9
    np.testing.assert_allclose(load(output)(images)["age"], expected, atol=1e-5)


def test_channels_last_as_tf2onnx_writes_networks_of_keras(run):
    model = onnx_nets.levi(flatten="tf2onnx").model(227)
    content = model.SerializeToString()
    code, output, said = run(content, *WORDS, "--resize=227", framework="onnx")
    assert code == 0, said
    images = faces(227)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    expected: Any = [
        session.run(None, {"image": image[None].astype(np.float32)}) for image in images
    ]
    expected = np.ravel(expected).reshape(2, 8)
    np.testing.assert_allclose(load(output)(images)["age"], expected, atol=1e-5)


def test_vgg16(run):
    model = onnx_nets.vgg16().model(32)
    words = ("--channels=bgr", "--mean=none", "--classes=years", "--crop=32")
    code, output, said = run(model.SerializeToString(), *words, framework="onnx", arch="vgg16")
    assert code == 0, said
    assert load(output).config["input"]["resize"] == 224
    code, output, said = run(
        model.SerializeToString(), *words, "--resize=32", framework="onnx", arch="vgg16"
    )
    images = faces(32)
    found = load(output)(images)["years"]
    np.testing.assert_allclose(found, by_opencv(model, images[..., ::-1]), atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "given"),
    [
        ("resnet18", {}),
        ("resnet18", {"norm": False}),
        ("resnet18", {"swapped": True}),
        ("resnet50", {"bottleneck": True, "blocks": (3, 4, 6, 3), "norm": False, "swapped": True}),
    ],
    ids=str,
)
def test_resnets_with_norms_and_with_norms_folded_away(run, arch, given):
    model = onnx_nets.resnet(**given).model(64)
    code, output, said = run(
        model.SerializeToString(), *WORDS, "--crop=64", "--resize=64", framework="onnx", arch=arch
    )
    assert code == 0, said
    images = faces(64)
    expected = by_opencv(model, images)
    assert expected.max() < 0.95
    np.testing.assert_allclose(load(output)(images)["age"], expected, atol=1e-5)


def refit(change, writer=None):
    """File of Levi's network with a changed graph."""
    model = (writer or onnx_nets.levi()).model(227)
    change(model.graph)
    return model.SerializeToString()


def attribute(operator, **values):
    """Sets attributes of the first node of a kind."""

    def change(graph):
        node = next(node for node in graph.node if node.op_type == operator)
        kept = [a for a in node.attribute if a.name not in values]
        del node.attribute[:]
        node.attribute.extend(kept + [helper.make_attribute(n, v) for n, v in values.items()])

    return change


def replaced(operator, by):
    def change(graph):
        next(node for node in graph.node if node.op_type == operator).op_type = by

    return change


def preprocessed(graph):
    name = "offset"
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), name))
    graph.node.insert(0, helper.make_node("Sub", ["image", name], ["centred"], name="minus"))
    graph.node[1].input[0] = "centred"


def no_inputs(graph):
    del graph.node[0].input[1:]


def circle(graph):
    graph.node[0].input[0] = graph.node[3].output[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (attribute("LRN", alpha=5e-4), "lrn with alpha"),
        (attribute("LRN", size=11), "lrn with size 11"),
        (attribute("MaxPool", ceil_mode=0), "max_pool from"),
        (attribute("MaxPool", strides=[3, 3]), "max_pool with stride"),
        (attribute("Conv", group=3), "conv with group 3"),
        (attribute("Conv", pads=[3, 3, 3, 3]), "conv with pads"),
        (attribute("Conv", dilations=[2, 2]), "conv with dilation"),
        (attribute("Conv", auto_pad="SAME_UPPER"), "found Conv, expected conv"),
        (attribute("Gemm", alpha=0.5), "found Gemm, expected dense"),
        (replaced("Relu", "Sigmoid"), "found Sigmoid"),
        (replaced("MaxPool", "AveragePool"), "found AveragePool"),
        (replaced("LRN", "Concat"), "found Concat"),
        (preprocessed, "found Sub between the image and the first layer"),
        (circle, "a circle"),
        (attribute("LRN", beta=[1, 2]), "damaged: .* is not a valid LRN"),
        (attribute("MaxPool", kernel_shape=3), "damaged: .* is not a valid MaxPool"),
        (attribute("MaxPool", pads=1.5), "damaged: .* is not a valid MaxPool"),
        (no_inputs, "damaged: 'n1' is not a valid Conv"),
        (lambda graph: graph.initializer.pop(), r"nowhere|computed in the graph"),
        (lambda graph: graph.output.append(graph.output[0]), "one output"),
        (lambda graph: graph.ClearField("node"), "it has no nodes"),
    ],
)
def test_another_networks_graph_is_refused_by_what_differs(refused, change, said):
    import re

    line = refused(refit(change), *WORDS, framework="onnx")
    assert re.search(said, line), line


def test_a_googlenet_is_refused_with_what_can_be_imported(refused):
    writer = onnx_nets.Writer()
    writer.conv(8, 3, 7, 2, 3)
    start = writer.node("Relu")
    writer.conv(4, 8, 1, 1, 0)
    first, writer.value = writer.value, start
    writer.conv(4, 8, 3, 1, 1)
    writer.node("Concat", inputs=[first, writer.value], axis=1)
    writer.node("GlobalAveragePool")
    writer.node("Flatten")
    writer.dense(2, 8)
    content = writer.model(224).SerializeToString()
    for arch in ("levi_hassner", "vgg16", "resnet18"):
        line = refused(
            content,
            "--channels=bgr",
            "--mean=none",
            "--classes=Male,Female",
            framework="onnx",
            arch=arch,
        )
        assert (
            "Networks that can be imported from onnx: levi_hassner, vgg16, resnet18, resnet34, resnet50"
            in line
        )


def external(folder, location="weights.bin"):
    """Levi's network with its weights in a second file; returns the message and path."""
    model = onnx_nets.levi().model(227)
    convert_model_to_external_data(model, location=location, size_threshold=0)
    path = folder / "model.onnx"
    onnx.save_model(model, path)
    return onnx.load(path, load_external_data=False), path


def test_weights_in_a_file_beside_the_model(run, tmp_path):
    _, path = external(tmp_path)
    assert (tmp_path / "weights.bin").stat().st_size > 100_000
    code, output, said = run(path, *WORDS, "--resize=227", framework="onnx")
    assert code == 0, said
    images = faces(227)
    expected = by_opencv(onnx_nets.levi().model(227), images)
    np.testing.assert_allclose(load(output)(images)["age"], expected, atol=1e-5)


def set_entries(model, **values):
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = values.get(entry.key, entry.value)


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret.bin", "inside/../../secret.bin", "link.bin", "folder_link/secret.bin",
     "C:\\secret.bin", "..\\secret.bin", "\\\\host\\share", "a\0b", "", "."],
)  # fmt: skip
def test_external_data_outside_the_models_folder_are_refused(refused, tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    model, path = external(folder)
    (folder / "weights.bin").rename(tmp_path / "secret.bin")
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "folder_link").symlink_to(tmp_path)
    set_entries(model, location=location)
    path.write_bytes(model.SerializeToString())
    line = refused(path, *WORDS, framework="onnx")
    assert "outside the model's folder" in line or "is not beside the model" in line


@pytest.mark.parametrize(
    "values",
    [
        {"offset": "-8"},
        {"offset": str(2**62)},
        {"length": str(2**62)},
        {"length": "0"},
        {"offset": "x"},
    ],
)
def test_external_data_outside_their_file_are_refused(refused, tmp_path, values):
    model, path = external(tmp_path)
    for entry in list(model.graph.initializer[0].external_data):
        if entry.key in values:
            model.graph.initializer[0].external_data.remove(entry)
    for key, value in values.items():
        model.graph.initializer[0].external_data.add(key=key, value=value)
    set_entries(model, **values)
    path.write_bytes(model.SerializeToString())
    assert "external data" in refused(path, *WORDS, framework="onnx")


def test_external_data_that_are_a_pipe_or_absent_are_refused(refused, tmp_path):
    _, path = external(tmp_path)
    (tmp_path / "weights.bin").unlink()
    assert "is not beside the model" in refused(path, *WORDS, framework="onnx")
    os.mkfifo(tmp_path / "weights.bin")
    assert "is not beside the model" in refused(path, *WORDS, framework="onnx")


def test_a_tensor_that_claims_more_than_the_file_has_is_refused(refused):
    def huge(graph):
        del graph.initializer[0].dims[:]
        graph.initializer[0].dims.extend([2**31, 2**31])

    assert "damaged" in refused(refit(huge), *WORDS, framework="onnx")


def test_input_that_is_no_file(refused, tmp_path):
    assert "no such file" in refused(Path("absent.onnx"), *WORDS, framework="onnx")
    assert "a folder" in refused(tmp_path, *WORDS, framework="onnx")
