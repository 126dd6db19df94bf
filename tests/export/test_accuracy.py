"""Accuracy of what was exported, on faces not trained on: in the last line, the metadata and the card."""

import json
import shutil

import onnx
import pytest

from ageflax.bundle import card, load
from ageflax.data import reading
from ageflax.export import __main__ as command
from tests.conftest import SMALL_FACES


@pytest.fixture
def run(joint, data_dir, small_faces, tmp_path, capsys):
    """Runs the command on drawn faces; returns the exit code and the lines of standard error."""

    def ran(*words, output="model.onnx", fold=0):
        capsys.readouterr()
        dataset = [f"--config.data.name={SMALL_FACES}", f"--config.data.dir={data_dir}"]
        given = [*dataset, f"--config.fold={fold}"] if fold is not None else []
        code = command.main(
            [f"--model={joint}", f"--output={tmp_path / output}", *given, *words],
        )
        return code, capsys.readouterr().err.splitlines()

    return ran


def metadata(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def by_evaluate(model, data_dir, tmp_path):
    """Figures of `ageflax.evaluate` on the same faces."""
    from ageflax import evaluate

    words = [f"--model={model}", f"--output={tmp_path / 'tested'}", "--config.fold=0"]
    words += [f"--config.data.name={SMALL_FACES}", f"--config.data.dir={data_dir}"]
    assert evaluate.main(words) == 0
    return json.loads((tmp_path / "tested" / "result.json").read_text())["tasks"]


def test_the_last_line_and_the_metadata_have_evaluates_figures(run, joint, data_dir, tmp_path):
    path = tmp_path / "model.onnx"
    code, lines = run("--precision=int8")
    assert code == 0
    found = json.loads(metadata(path)["ageflax.accuracy"])
    assert (found["data"], found["folds"]) == (f"{SMALL_FACES}/1.0.0", [0])
    for model, key in ((path, "exported"), (joint, "given")):
        expected = by_evaluate(model, data_dir, tmp_path)
        for task, figures in found[key].items():
            assert figures["exact"] == pytest.approx(expected[task]["exact"])
            assert expected[task]["faces"] == found["faces"]
        assert found[key]["years"]["mae"] == pytest.approx(expected["years"]["years"]["mae"], 1e-5)
    assert lines[-1].startswith(f"written: {path}, ")
    assert lines[-1].endswith(f"; int8 on {card.accuracy(found)}")
    before, after = (found[key]["years"]["mae"] for key in ("given", "exported"))
    assert before != after
    assert f"mean absolute error {after:.2f} years (float32 {before:.2f} years)" in lines[-1]


def test_a_bundle_has_them_in_its_card_and_keeps_them(run, tmp_path):
    words = ("--precision=int8", "--format=bundle")
    code, lines = run(*words, output="out")
    assert code == 0
    _, said = lines[-1].split("; int8 on ")
    assert f" {said}." in (tmp_path / "out" / "README.md").read_text()
    stored = load(tmp_path / "out").description.storage
    # Written again without a test, the same weights keep their figures.
    assert run(*words, output="out", fold=None)[0] == 0
    assert load(tmp_path / "out").description.storage == stored


@pytest.mark.parametrize("output", ["model.stablehlo", "zoo.onnx"])
def test_other_files_are_tested_alike(output, run, tmp_path):
    words = ["--layout=nchw_bgr_float"] if output == "zoo.onnx" else []
    code, lines = run(*words, output=output)
    assert code == 0
    assert "; float32 on 32 faces of " in lines[-1]
    if not words:
        described = json.loads((tmp_path / "model.stablehlo.json").read_text())["metadata"]
        assert json.loads(described["ageflax.accuracy"])["faces"] == 32


def test_without_labelled_faces_the_last_line_says_what_was_compared(run):
    code, lines = run("--precision=int8", fold=None)
    assert code == 0
    assert lines[-1].endswith(
        "; the accuracy of int8 was not measured, only its differences on 7 random images:"
        " --config.data.manual_dir=FOLDER names labelled faces"
    )
    assert run(fold=None)[1][-1].endswith(" MB")  # float32 is verified to be the same


def test_faces_that_were_trained_on_and_other_views_are_refused(run, joint, tmp_path, small_faces):
    trained = shutil.copytree(joint, tmp_path / "trained")
    config = json.loads((trained / "config.json").read_text())
    config["data"]["fingerprint"] = reading.load(small_faces, None).faces.fingerprint
    (trained / "config.json").write_text(json.dumps(config))
    code, lines = run(f"--model={trained}", fold=1)
    assert code == 2
    assert "figures on faces it has seen say nothing about others; held-out folds: 0" in lines[-1]
    code, lines = run("--config.eval.crops=ten")
    assert code == 2
    assert "--config.eval.crops=ten: the exported views are center; leave it out" in lines[-1]
    assert not (tmp_path / "model.onnx").exists()


def test_a_model_of_fewer_bits_is_not_called_float32(run, tmp_path):
    assert run("--precision=int8", "--format=bundle", output="small", fold=None)[0] == 0
    code, lines = run("--precision=float16", f"--model={tmp_path / 'small'}")
    assert code == 0
    assert "; float16 on 32 faces of " in lines[-1]
    assert " (the model itself, in int8: " in lines[-1]
    assert "float32" not in lines[-1]


@pytest.mark.parametrize("damaged", [None, {}, [], {"data": "x", "folds": 1}, {"exported": 3}])
def test_a_card_leaves_out_figures_of_another_form(damaged):
    assert card.accuracy(damaged) == ""
