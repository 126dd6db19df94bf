"""Imported Caffe files answer as with OpenCV's reader."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from ageflax import bundle
from ageflax.bundle import loading
from tests.import_weights.conftest import AGES
from tests.weights.formats import caffe_nets


def faces(side, count=2, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def by_opencv(tmp_path, layers, content, images, **deploy):
    """Probabilities for float[b, h, w, 3], BGR, minus the mean, in the file's order."""
    (tmp_path / "deploy.prototxt").write_text(caffe_nets.deploy(layers, **deploy))
    (tmp_path / "net.caffemodel").write_bytes(content)
    net = cv2.dnn.readNetFromCaffe(
        str(tmp_path / "deploy.prototxt"), str(tmp_path / "net.caffemodel")
    )
    net.setInput(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32))
    return net.forward()


def centre(images, crop):
    first = (images.shape[1] - crop) // 2
    return images[:, first : first + crop, first : first + crop]


@pytest.mark.parametrize(
    ("version", "double", "width"),
    [(1, False, 1 / 16), (2, False, 1 / 16), (2, True, 1 / 16), (1, False, 1.0)],
    ids=["V1", "V2", "V2 in doubles", "V1 of the real size"],
)
def test_the_network_of_levi_and_hassner_with_its_mean_image(run, tmp_path, version, double, width):
    layers = caffe_nets.levi(width)
    weights = caffe_nets.drawn(layers, seed=version)
    content = caffe_nets.caffemodel(layers, weights, version=version, double=double)
    if width == 1.0:
        assert sum(v.size for pair in weights.values() for v in pair) == 11_415_048
    mean = np.random.default_rng(2).uniform(60, 140, (256, 256, 3)).astype(np.float32)
    (tmp_path / "mean.binaryproto").write_bytes(caffe_nets.mean_file(mean))
    code, output, said = run(content, "--known=levi_age", f"--mean={tmp_path / 'mean.binaryproto'}")
    assert code == 0, said
    images = faces(256)
    seen = centre(images[..., ::-1].astype(np.float32) - mean, 227)
    if double:  # OpenCV does not read doubles
        content = caffe_nets.caffemodel(layers, weights, version=version)
    expected = by_opencv(tmp_path, layers, content, seen)
    assert expected.max() < 0.9  # not saturated: a difference would show
    np.testing.assert_allclose(bundle.load(output)(images)["age"], expected, atol=1e-5)


# Version, and how the deploy file says what comes in; the Input layer is of version 2 alone.
DEPLOYS = [(1, "input_dim"), (1, "input_shape"), (2, "input_dim"), (2, "input_shape"), (2, "Input")]


@pytest.mark.parametrize(("version", "source"), [(1, "Data"), (2, "Data"), *DEPLOYS])
def test_every_form_of_the_authors_deploy_file_gives_the_imported_answers(
    run, tmp_path, version, source
):
    """Weights as after training, and as saved from each form; read by OpenCV with each form of text."""
    layers = caffe_nets.levi(1 / 32)
    weights = caffe_nets.drawn(layers)
    content = caffe_nets.caffemodel(layers, weights, version=version, source=source)
    code, output, said = run(content, "--known=levi_age", "--mean=none")
    assert code == 0, said
    model = bundle.load(output)
    images = faces(256, 10)
    answers = {count: np.asarray(model(images[:count])["age"]) for count in (1, 10)}
    assert np.ptp(answers[10], 0).max() > 1e-3  # faces are told apart
    seen = centre(images[..., ::-1].astype(np.float32), 227)
    for text, declared in DEPLOYS:
        for batch in (1, 10):
            given = {"version": text, "source": declared, "batch": batch}
            expected = by_opencv(tmp_path, layers, content, seen[:batch], **given)
            np.testing.assert_allclose(answers[batch], expected, atol=1e-5, err_msg=str(given))


def test_a_deploy_file_in_place_of_the_weights_is_told_as_such(refused):
    for version, source in DEPLOYS:
        text = caffe_nets.deploy(caffe_nets.levi(), version=version, source=source)
        line = refused(text.encode(), "--known=levi_age", "--mean=none")
        assert "a network definition of Caffe without weights; name its .caffemodel" in line


@pytest.mark.parametrize("version", [1, 2])
def test_vgg16_as_dex_has_it(run, tmp_path, version):
    layers = caffe_nets.vgg16(1 / 32)
    content = caffe_nets.caffemodel(layers, caffe_nets.drawn(layers), version=version)
    code, output, said = run(content, "--known=dex_age", arch="vgg16")
    assert code == 0, said
    images = faces(224, 1)
    expected = by_opencv(tmp_path, layers, content, images[..., ::-1].astype(np.float32))
    found = bundle.load(output)
    np.testing.assert_allclose(found(images)["years"], expected, atol=1e-5)
    years = np.asarray(found.ages(found(images)).years)
    np.testing.assert_allclose(years, expected @ np.arange(101), atol=1e-3)
    assert found.config["crop_margin"] == 0.4


@pytest.mark.parametrize("order", ["Male,Female", "Female,Male"])
def test_genders_come_out_in_one_order_whatever_the_files(run, tmp_path, order):
    layers = caffe_nets.levi(outputs=2)
    content = caffe_nets.caffemodel(layers, caffe_nets.drawn(layers), version=1)
    code, output, said = run(content, f"--classes={order}", "--mean=none")
    assert code == 0, said
    assert (", reordered" in said) == (order == "Male,Female")
    images = faces(256)
    expected = by_opencv(tmp_path, layers, content, centre(images[..., ::-1], 227))
    if order == "Male,Female":
        expected = expected[:, ::-1]
    found = bundle.load(output)
    assert found.heads == {"gender": ("female", "male")}
    np.testing.assert_allclose(found(images)["gender"], expected, atol=1e-5)


def test_age_groups_come_out_from_young_to_old(run, tmp_path):
    layers = caffe_nets.levi(outputs=3)
    content = caffe_nets.caffemodel(layers, caffe_nets.drawn(layers), version=1)
    code, output, _ = run(content, "--classes=40-100,0-17,18-39", "--mean=104,117,123")
    assert code == 0
    images = faces(256)
    seen = centre(images[..., ::-1].astype(np.float32) - np.array([104, 117, 123], np.float32), 227)
    expected = by_opencv(tmp_path, layers, content, seen)[:, [1, 2, 0]]
    found = bundle.load(output)
    assert found.heads == {"age": ("0-17", "18-39", "40-100")}
    assert found.config["age_groups"] == [[0, 17], [18, 39], [40, 100]]
    np.testing.assert_allclose(found(images)["age"], expected, atol=1e-5)


def test_outputs_of_two_tasks_and_of_none_are_told_apart(run, tmp_path):
    layers = caffe_nets.levi(outputs=6)
    content = caffe_nets.caffemodel(layers, caffe_nets.drawn(layers), version=2)
    code, output, said = run(content, "--classes=-,Male,Female,0-17,18-39,40-100", "--mean=none")
    assert code == 0, said
    assert "not used: 1 outputs" in said
    images = faces(256)
    scores = by_opencv(tmp_path, layers[:-1], content, centre(images[..., ::-1], 227))
    softmax = lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)  # noqa: E731
    found = bundle.load(output)(images)
    np.testing.assert_allclose(found["gender"], softmax(scores[:, [2, 1]]), atol=1e-5)
    np.testing.assert_allclose(found["age"], softmax(scores[:, 3:]), atol=1e-5)


def test_the_bundle_holds_its_source_and_terms(run, small_levi):
    code, output, said = run(small_levi, "--known=levi_age", "--mean=none")
    assert code == 0, said
    described = json.loads((output / "config.json").read_text())
    origin = described["source"]["imported_from"]
    assert (origin["format"], origin["file"], len(origin["sha256"])) == (
        "caffe",
        "weights.file",
        64,
    )
    assert described["figures"] == {} and described["protocol"] == {}
    assert described["data"]["name"] == "adience"
    assert "no claim for commercial use" in (output / "README.md").read_text()
    assert loading.open_model(output).config["heads"]["age"] == AGES.split(",")


def test_a_trunk_alone_starts_a_training_and_answers_nothing(run, tmp_path, capsys):
    from ageflax.errors import InputError
    from ageflax.weights import transfer

    layers = caffe_nets.vgg16(1 / 32, outputs=2622)
    content = caffe_nets.caffemodel(layers, caffe_nets.drawn(layers), version=1)
    code, output, said = run(content, "--known=vgg_face", "--mean=93,104,129", arch="vgg16")
    assert code == 0, said
    assert "no heads" in said
    loaded = transfer.load(str(output), model_name="vgg16", channels="bgr")
    assert "params/trunk/fc7/kernel" in loaded.tensors
    assert not any("heads" in path for path in loaded.tensors)
    with pytest.raises(InputError, match="a trunk without heads"):
        loading.open_model(output)


@pytest.mark.skipif("AGEFLAX_REAL_DATA" not in os.environ, reason="no real data")
def test_the_authors_mean_image(run, small_levi):
    path = Path(os.environ["AGEFLAX_REAL_DATA"]) / "levi_hassner" / "mean.binaryproto"
    code, output, _ = run(small_levi, "--known=levi_age", f"--mean={path}")
    assert code == 0
    mean = bundle.load(output).variables.mean
    assert mean.shape == (256, 256, 3)
    np.testing.assert_allclose(mean.mean((0, 1))[::-1], [78.426, 87.769, 114.896], atol=1e-3)
