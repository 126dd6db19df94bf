"""A bundle and its export compared, and malicious .onnx files."""

import json

import numpy as np
import onnx
import pytest

from ageflax.bundle import load
from ageflax.bundle.onnx import OnnxModel
from ageflax.errors import InputError
from ageflax.export.write import export
from tests.evaluation.runs import rounded, same


@pytest.fixture(scope="module")
def exported(joint, tmp_path_factory):
    """Fold 3 of the small run as an .onnx file."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    return export(load(joint / "fold_3" / "bundle"), path).path


def test_evaluated_alike(exported, joint, run):
    """Figures agree to six digits, each face's probabilities to 1e-5."""
    words = "--config.data.label_policy=nearest"
    code, of_bundle, expected, _ = run(joint / "fold_3", words, output="bundle")
    assert code == 0
    code, of_onnx, predictions, _ = run(exported, words, output="onnx")
    assert code == 0
    same(predictions, expected, atol=1e-5)
    assert of_onnx["model"]["kind"] == "onnx"
    for task, figures in of_bundle["tasks"].items():
        for key in ("confusion", "exact"):
            assert rounded(of_onnx["tasks"][task][key]) == rounded(figures[key])


def test_crops_that_are_inside_are_used_and_others_refused(joint, run, tmp_path):
    model = load(joint / "fold_3" / "bundle")
    path = export(model, tmp_path / "ten.onnx", crops="ten").path
    code, result, predictions, _ = run(path, output="onnx")
    assert code == 0
    assert result["protocol"]["crops"] == "ten"
    code, _, expected, _ = run(joint / "fold_3", "--config.eval.crops=ten", output="bundle")
    same(predictions, expected, atol=1e-5)
    code, _, _, printed = run(path, "--config.eval.crops=mirror")
    assert code == 2
    assert "the .onnx file has its crops=ten built in; test the bundle, or export it" in printed.err


def test_the_zoos_layout_is_refused(joint, run, tmp_path):
    model = load(joint / "fold_3" / "bundle")
    path = export(model, tmp_path / "zoo.onnx", layout="nchw_bgr_float").path
    code, _, _, printed = run(path)
    assert code == 2
    assert "exported with --layout=nchw_bgr_float, for programs that crop faces" in printed.err
    assert len(printed.err.splitlines()) == 1


def place_outside(tensor, location):
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret.bin", "link.bin", "beside.bin", ""])
@pytest.mark.parametrize("where", ["initializer", "attribute", "subgraph", "function"])
def test_weights_in_other_files_are_refused(where, location, exported, tmp_path):
    model = onnx.load(exported)
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.bin").write_bytes(b"s" * 4096)
    (tmp_path / "inner" / "link.bin").symlink_to(tmp_path / "secret.bin")
    (tmp_path / "inner" / "beside.bin").write_bytes(b"s" * 4096)
    if where == "initializer":
        place_outside(model.graph.initializer[0], location)
    else:
        outside = onnx.TensorProto(data_type=1, dims=[8])
        place_outside(outside, location)
        node = onnx.helper.make_node("Constant", [], ["x"], value=outside)
        if where == "attribute":
            model.graph.node.append(node)
        elif where == "subgraph":
            inner = onnx.GraphProto(name="inner", node=[node])
            model.graph.node.append(onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner))
        else:
            model.functions.append(onnx.FunctionProto(name="f", domain="d", node=[node]))
    path = tmp_path / "inner" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"weights in another file, .*are not read") as refusal:
        OnnxModel(path)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_cut_off_anywhere_is_refused(exported, tmp_path):
    content, path = exported.read_bytes(), tmp_path / "cut.onnx"
    places = {*range(0, 300, 7), *np.linspace(300, len(content) - 1, 60).astype(int).tolist()}
    for place in sorted(places):
        path.write_bytes(content[:place])
        with pytest.raises(
            InputError, match=r"cut.onnx: (not a readable ONNX|its metadata has no)"
        ):
            OnnxModel(path)


def test_flipped_bytes_are_refused_or_read(exported, tmp_path):
    """Each either loads or raises InputError; none ends the process."""
    content, path = exported.read_bytes(), tmp_path / "flipped.onnx"
    rng, refused = np.random.default_rng(0), 0
    for _ in range(60):
        spoilt = bytearray(content)
        for place in rng.integers(0, len(content), 5):
            spoilt[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoilt)
        try:
            OnnxModel(path)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused < 60  # most bytes are weights


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 1000, b"<html>", b"PK\x03\x04" + b"\0" * 100, b"\x80\x04cos\nsystem\n"]
)
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other.onnx: not a readable ONNX file: "):
        OnnxModel(path)


def test_a_file_of_more_than_2_gb_is_not_read(tmp_path):
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 33)  # sparse: takes no disk space
    with pytest.raises(InputError, match="8589934592 bytes exceed 2 GiB"):
        OnnxModel(path)


def test_metadata_may_lie(exported, run, tmp_path):
    """Classes, sizes and crops that do not fit the graph."""
    model = onnx.load(exported)
    config = json.loads({p.key: p.value for p in model.metadata_props}["ageflax.config"])
    lies = (
        ({"input": {**config["input"], "resize": 64, "crop": 64}}, "expected [batch, 64, 64, 3]"),
        ({"input": {**config["input"], "resize": 10**9, "crop": 1}}, "model.onnx: "),
        ({"heads": {"gender": ["male", "female"]}}, "expected the 2 classes female, male"),
    )
    path = tmp_path / "model.onnx"
    for changes, message in lies:
        onnx.helper.set_model_props(model, {"ageflax.config": json.dumps(config | changes)})
        path.write_bytes(model.SerializeToString())
        code, _, _, printed = run(path)
        assert code == 2
        assert message in printed.err
        assert len(printed.err.splitlines()) == 1
