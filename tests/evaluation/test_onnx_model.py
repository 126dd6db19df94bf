"""Evaluation of .onnx files, by a fake onnxruntime and by onnxruntime itself."""

import json
import sys
import types

import numpy as np
import onnx
import pytest

from ageflax.bundle import load
from ageflax.bundle.onnx import OnnxModel
from tests.evaluation.runs import same, table, trained


@pytest.fixture(scope="module")
def fold(tmp_path_factory, data_dir, small_faces):
    """A fold with heads for years, without a distribution, and gender."""
    workdir = tmp_path_factory.mktemp("runs") / "years"
    overrides = ["--config.task=years+gender", "--config.loss.years=l1", "--config.fold=2"]
    return trained(workdir, data_dir, *overrides) / "fold_2"


class FakeSession:
    """A session described by JSON in the .onnx file: inputs, outputs, metadata, and a bundle to run."""

    def __init__(self, content, options, providers, enable_fallback):
        self.described = json.loads(onnx.load_from_string(content).doc_string)
        self.model = load(self.described["bundle"])

    def _nodes(self, kind):
        return [types.SimpleNamespace(**node) for node in self.described[kind]]

    def get_inputs(self):
        return self._nodes("inputs")

    def get_outputs(self):
        return self._nodes("outputs")

    def get_modelmeta(self):
        return types.SimpleNamespace(custom_metadata_map=self.described["metadata"])

    def run(self, names, feed):
        if "failure" in self.described:
            raise RuntimeError(self.described["failure"])
        found = self.model(feed["images"])
        outputs = {f"{task}_probabilities": np.asarray(values) for task, values in found.items()}
        outputs["age"] = outputs["years_probabilities"][:, 0]
        outputs["gender_probabilities"] = outputs["gender_probabilities"][
            :, : self.described["columns"]
        ]
        return [outputs[name] for name in names]


@pytest.fixture
def exported(fold, tmp_path, monkeypatch):
    """Function that writes such a file with some changes; onnxruntime is replaced by the fake."""
    fake = types.SimpleNamespace(
        InferenceSession=FakeSession,
        SessionOptions=types.SimpleNamespace,
        get_available_providers=lambda: ["CPUExecutionProvider"],
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)

    def write(**changes):
        described = {
            "bundle": str(fold / "bundle"),
            "inputs": [{"name": "images", "type": "tensor(uint8)", "shape": ["batch", 32, 32, 3]}],
            "outputs": [{"name": name} for name in ("gender_probabilities", "age")],
            "metadata": {"ageflax.config": (fold / "bundle" / "config.json").read_text()},
            "columns": 2,
        }
        path = tmp_path / "model.onnx"
        model = onnx.ModelProto(doc_string=json.dumps(described | changes))
        path.write_bytes(model.SerializeToString())
        return path

    return write


def test_an_exported_model_gives_what_its_bundle_gives(fold, exported, run):
    code, result, predictions, _ = run(exported())
    assert code == 0
    same(predictions, fold / "predictions.csv", atol=1e-4)
    assert result["fold"] == 2
    assert result["model"]["kind"] == "onnx"
    assert len(result["model"]["sha256"]) == 64


def test_it_has_seen_what_its_bundle_has_seen(exported, run):
    code, _, _, printed = run(exported(), "--config.fold=1")
    assert code == 2
    assert "fold 1 included: figures on faces it has seen say nothing" in printed.err


def images(shape, name="images", kind="tensor(uint8)"):
    return [{"name": name, "type": kind, "shape": shape}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": {}}, "its metadata has no ageflax.config, which names classes and input"),
        ({"metadata": {"ageflax.config": "{"}}, "ageflax.config in its metadata is not JSON"),
        ({"metadata": {"ageflax.config": "[]"}}, "ageflax.config in its metadata is not a JSON object"),
        ({"metadata": {"ageflax.config": "{}"}}, "its config is damaged: heads: expected the class names"),
        ({"inputs": images(["b", 64, 64, 3])}, "expected [batch, 32, 32, 3] with a dynamic batch"),
        ({"inputs": images(["b", 3, 32, 32])}, "expected [batch, 32, 32, 3] with a dynamic batch"),
        ({"inputs": images([1, 32, 32, 3])}, "images has shape [1, 32, 32, 3], expected"),
        ({"inputs": images(["b", 3072])}, "images has shape ['b', 3072], expected"),
        ({"inputs": images(["b", 32, 32, 3], name="x")}, "expected one input, images tensor(uint8);"),
        ({"inputs": images(["b", 32, 32, 3], kind="tensor(float)")}, "has images tensor(float)"),
        ({"outputs": [{"name": "age"}]}, "no output gender_probabilities for its head gender"),
        ({"outputs": [{"name": "gender_probabilities"}]}, "no output age for its head years"),
    ],
)  # fmt: skip
def test_files_of_another_contract_are_one_line_and_exit_code_2(changes, message, exported, run):
    code, result, _, printed = run(exported(**changes))
    assert code == 2
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert result is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"failure": "no memory\nfor that"}, "onnxruntime failed: no memory\n"),
        (
            {"columns": 1},
            "output gender_probabilities has shape (100, 1) for 100 faces, expected 2 columns",
        ),
    ],
)
def test_what_fails_while_it_runs_is_exit_code_1(changes, message, exported, run):
    code, result, _, printed = run(exported(**changes))
    assert code == 1
    assert message in printed.err
    assert result is None


def test_its_crop_is_inside_so_others_are_refused(exported, run):
    code, _, _, printed = run(exported(), "--config.eval.crops=ten")
    assert code == 2
    assert (
        "eval.crops = 'ten': the .onnx file has its centre crop built in; test the bundle, or"
        in printed.err
    )


def test_dynamic_sizes_and_a_years_distribution_are_taken_as_they_come(exported):
    path = exported(inputs=images([None, "height", "width", 3]))
    model = OnnxModel(path)
    found = model(np.zeros((3, 32, 32, 3), np.uint8))
    assert {task: values.shape for task, values in found.items()} == {
        "gender": (3, 2),
        "years": (3, 1),
    }


def test_a_file_that_is_no_onnx_is_told_as_such(exported, run, tmp_path):
    exported()
    path = tmp_path / "damaged.onnx"
    path.write_bytes(b"\x08\x07garbage")
    code, _, _, printed = run(path)
    assert code == 2
    assert "damaged.onnx: not a readable ONNX file: " in printed.err


def test_without_onnxruntime_it_says_how_to_get_it(exported, run, monkeypatch):
    path = exported()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # importing it fails
    code, _, _, printed = run(path)
    assert code == 2
    assert "uv run --extra onnx python -m" in printed.err
    assert len(printed.err.splitlines()) == 1


def test_onnxruntime_itself(fold, run, small_faces, tmp_path):
    """A network of one layer, gender by mean colour, compared with numpy."""
    helper, kinds = onnx.helper, onnx.TensorProto
    weights = np.array([[0.02, -0.01], [0.01, 0.03], [-0.03, 0.0]], np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=kinds.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["gender_probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "colour",
        [helper.make_tensor_value_info("images", kinds.UINT8, ["batch", 32, 32, 3])],
        [helper.make_tensor_value_info("gender_probabilities", kinds.FLOAT, ["batch", 2])],
        [
            onnx.numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            onnx.numpy_helper.from_array(weights, "weights"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    described = json.loads((fold / "bundle" / "config.json").read_text())
    described["heads"] = {"gender": ["female", "male"]}
    helper.set_model_props(made, {"ageflax.config": json.dumps(described)})
    path = tmp_path / "colour.onnx"
    onnx.save(made, path)
    code, _, predictions, _ = run(path)
    assert code == 0
    model = load(fold / "bundle")
    rows = table(predictions)
    by_key = {e["key"].decode(): e for e in small_faces.examples(range(len(small_faces)))}
    faces = np.stack([model.prepare(by_key[row["key"]]["image"]) for row in rows])
    scores = np.exp(faces.mean((1, 2), dtype=np.float64) @ weights)
    expected = scores / scores.sum(-1, keepdims=True)
    written = [[float(row[f"gender_probability_{g}"]) for g in ("female", "male")] for row in rows]
    np.testing.assert_allclose(written, expected, atol=1e-5)
