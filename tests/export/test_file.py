"""Metadata and precision of exported files, and that nothing is left of a wrong one."""

import dataclasses
import json
from typing import Any

import cv2
import jax
import numpy as np
import onnx
import onnxruntime
import pytest

from ageflax.bundle import Model, load
from ageflax.bundle.onnx import OnnxModel
from ageflax.errors import InputError, RunError
from ageflax.export import verification
from ageflax.export.onnx import lower
from ageflax.export.write import export
from tests.export import bundles


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_the_metadata_describe_the_model(model, tmp_path):
    path = export(model, tmp_path / "model.onnx", crops="mirror").path
    found = metadata(path)
    assert json.loads(found["ageflax.config"]) == json.loads(json.dumps(model.config))
    assert found["ageflax.classes.gender"] == "female, male"
    assert found["ageflax.licence"] == "Apache-2.0"
    assert found["ageflax.crop_margin"] == f"{model.config['crop_margin']:g}"
    assert found["ageflax.crops"] == "mirror"
    assert found["ageflax.opset"] == "17"
    assert (
        "uint8 N, H, W, C, RGB. Inside: mean, std, mirror crop of 32"
        in (found["ageflax.preprocessing"])
    )
    difference = json.loads(found["ageflax.difference"])
    assert difference["images"] == "7 random images"
    assert 0 <= difference["largest"]["gender_probabilities"] < 1e-4


def test_terms_that_bind_are_in_the_metadata(model, tmp_path):
    (member,), data = model.members, {"name": "faces", "licence": "non-commercial research only"}
    description = dataclasses.replace(member.description, data=data)
    bound = Model([dataclasses.replace(member, description=description)], model.name)
    path = export(bound, tmp_path / "model.onnx").path
    assert "non-commercial research only" in metadata(path)["ageflax.terms"]


@pytest.mark.parametrize("suffix", [".onnx", ".stablehlo"])
def test_fewer_bits_make_a_smaller_file_and_their_loss_is_reported(suffix, model, tmp_path):
    whole, half, quarter = (
        export(model, tmp_path / f"{precision}{suffix}", precision=precision)
        for precision in ("float32", "float16", "int8")
    )
    kernels = sum(
        x.size for x in jax.tree.leaves(model.variables.params) if x.ndim > 1 and x.size >= 256
    )
    assert whole.size - half.size == pytest.approx(2 * kernels, abs=4000)
    assert whole.size - quarter.size == pytest.approx(3 * kernels, abs=4000)
    lost = [each.differences.overall["years_probabilities"] for each in (whole, half, quarter)]
    assert lost[0] < 1e-5 < lost[1] < lost[2] < 0.1


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_fewer_bits_cost_no_time_once_the_file_is_loaded(precision, model, tmp_path):
    """onnxruntime's graph after loading has the nodes of float32: weights are whole there."""
    counts = []
    for stored in ("float32", precision):
        path = export(model, tmp_path / f"{stored}.onnx", precision=stored).path
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
        options.log_severity_level = 4  # it warns that such a file is for this machine alone
        level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.graph_optimization_level = level
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
        counts.append(sorted(node.op_type for node in nodes))
    assert counts[0] == counts[1]


def test_a_file_of_fewer_bits_is_used_like_any(model, tmp_path):
    written = export(model, tmp_path / "model.onnx", precision="int8")
    opened = OnnxModel(written.path)
    found = opened(np.zeros((3, 36, 36, 3), np.uint8))
    expected = np.asarray(model(np.zeros((3, 36, 36, 3), np.uint8))["gender"])
    np.testing.assert_allclose(found["gender"], expected, atol=0.05)


def test_stablehlo_is_whole_and_described_beside(model, tmp_path):
    path = export(model, tmp_path / "model.stablehlo", crops="ten").path
    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    faces = np.random.default_rng(0).integers(0, 256, (5, 36, 36, 3), dtype=np.uint8)
    called: Any = exported.call(faces)
    found: Any = called["gender_probabilities"]
    expected: Any = model(faces, crops="ten")["gender"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    described = json.loads((tmp_path / "model.stablehlo.json").read_text())
    assert described["input"] == {"images": ["uint8", ["batch", 36, 36, 3]]}
    assert described["outputs"]["years_probabilities"] == ["float32", ["batch", 101]]
    assert described["metadata"]["ageflax.classes.gender"] == "female, male"


@pytest.mark.parametrize(
    ("channels", "mean"), [("bgr", "image"), ("rgb", "pixel"), ("grey", "image")]
)
def test_the_zoos_layout_takes_the_crop_as_bgr_floats(channels, mean, tmp_path):
    name = "multitask_gray" if channels == "grey" else "levi_hassner"
    values = bundles.small(name, channels=channels, width=0.1)
    model = load(bundles.write(tmp_path / "bundle", values, mean=mean))
    path = export(model, tmp_path / "zoo.onnx", layout="nchw_bgr_float").path
    layers = [node.op_type for node in onnx.load(path).graph.node]
    # OpenCV's DNN gets lost in axes that come and go.
    assert not {"Squeeze", "Unsqueeze"} & set(layers[: layers.index("Conv")])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.type, given.shape) == ("tensor(float)", ["batch", 3, 32, 32])
    faces = np.random.default_rng(0).integers(0, 256, (2, 36, 36, 3), dtype=np.uint8)
    # As OpenCV gives it: the middle, BGR, channels first, of one face.
    blob = faces[:1, 2:34, 2:34, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    found: Any = session.run(["gender_probabilities"], {given.name: blob})[0]
    np.testing.assert_allclose(found, model(faces)["gender"][:1], atol=1e-5)
    network, names = cv2.dnn.readNetFromONNX(str(path)), ["gender_probabilities", "age"]
    network.setInput(blob)
    expected: Any = session.run(names, {given.name: blob})
    for one, other in zip(network.forward(names), expected, strict=True):
        np.testing.assert_allclose(np.ravel(one), np.ravel(other), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"--layout=nchw_bgr_float, for programs that crop faces"):
        OnnxModel(path)


def test_verified_on_photographs(model, joint, tmp_path):
    import cv2

    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (50, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{k}.png"), pixels)
    (tmp_path / "notes.txt").write_text("no face")
    written = export(model, tmp_path / "model.onnx", faces=tmp_path)
    assert written.differences.faces == f"3 images of {tmp_path.name}"
    assert list(written.differences.largest["age"]) == [1, 7, 64]
    one = export(model, tmp_path / "model.onnx", faces=tmp_path / "0.png")
    assert one.differences.faces == "1 image of 0.png"


@pytest.mark.parametrize("suffix", [".onnx", ".stablehlo"])
def test_a_wrong_answer_is_not_written(suffix, model, tmp_path, monkeypatch):
    """The bundle gets other faces than the file, and so gives other answers."""
    references = verification.references
    monkeypatch.setattr(
        verification, "references", lambda serving, faces: references(serving, faces[::-1])
    )
    path = tmp_path / f"model{suffix}"
    path.write_text("an earlier one")
    with pytest.raises(RunError, match=r"not written: answers differ from JAX's by more than"):
        export(model, path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "an earlier one"


def changed(model, change):
    """A bundle with every weight changed."""
    (member,), params = model.members, jax.tree.map(change, model.variables.params)
    variables = dataclasses.replace(model.variables, params=params)
    return Model([dataclasses.replace(member, variables=variables)], model.name)


def test_weights_that_are_no_numbers_are_refused(model, tmp_path):
    spoilt = changed(model, lambda x: np.full_like(x, np.nan))
    with pytest.raises(InputError, match="weights that are not finite"):
        export(spoilt, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_answers_that_are_no_numbers_are_not_written(model, tmp_path):
    """Weights that are too large for the half precision they are asked for."""
    large = changed(model, lambda x: x * 1e6 if x.ndim > 1 else x)
    with pytest.raises(RunError, match="is not finite; nothing was written"):
        export(large, tmp_path / "model.onnx", precision="float16")
    assert not list(tmp_path.iterdir())


def test_an_operation_that_is_not_known_is_named(model, tmp_path, monkeypatch):
    monkeypatch.delitem(lower._RULES, "reduce_window_max")
    with pytest.raises(RunError, match="an operation that is not exported: reduce_window_max"):
        export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(model, tmp_path, monkeypatch):
    from pathlib import Path

    def full(self, content):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
