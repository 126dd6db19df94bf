"""Refusals and failures of python -m ageflax.evaluate."""

import errno
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ageflax import evaluate as command
from ageflax.evaluation import evaluate_model
from tests.conftest import SMALL_FACES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.data.crop=20"], "--config.data.crop: the model is tested as it was trained;"),
        (["--config.data.mean=none"], "--config.data.mean: the model is tested as it was trained"),
        (["--config.model.name=vgg16"], "--config.model.name: the model is tested as it was trained"),
        (["--config.data.intervals=((0, 9), (10, 100))"],
         "--config.data.intervals: the classes are the model's age groups; data.label_policy"),
        (["--config.task=gender"], "--config.task: the model's heads are tested"),
        (["--config.steps=9"], "--config.steps: only for training; accepted are data.name, data.dir,"),
        (["--config.optim.learning_rate=1"], "--config.optim.learning_rate: only for training"),
        (["--config.data.nam=x"], "--config.data.nam: unknown key; did you mean 'data.name'?"),
        (["--config.eval.crops=twelve"], "eval.crops = 'twelve': not a choice"),
        (["--config.eval.batch_size=0"], "eval.batch_size = 0: must be between 1 and"),
        (["--config.fold=5"], "fold = 5: must be between 0 and 4"),
        (["--config.fold=1", "--config.folds=(0,)"], "the command line: gives both folds and fold"),
        (["--model.x=1"], "'--model.x=1': unknown argument"),
        (["--config.data.name=adiense"], "data.name = 'adiense': no dataset 'adiense'; did you mean"),
        (["--config.data.name=labeled_faces/nope"], "dataset labeled_faces/nope is not built, and"),
        (["--config.fold=1"],
         f"the model was trained on {SMALL_FACES}/1.0.0 itself, fold 1 included: figures on faces"),
        (["--config.folds=(0, 3)"], "fold 3 included"),
        (["--config.data.most_frontal=9"], "the dataset has no face scores to go by"),
    ],
)  # fmt: skip
def test_what_it_cannot_be_told_is_one_line_and_exit_code_2(joint, run, words, message):
    code, result, predictions, printed = run(joint / "fold_0", *words)
    assert code == 2
    assert printed.err.startswith(f"ageflax.evaluate: {message}") or message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""
    assert result is None
    assert not predictions.exists()


def damage(folder, kind):
    """Makes a copy of a bundle unusable."""
    config, weights = folder / "config.json", folder / "model.safetensors"
    described = json.loads(config.read_text())
    if kind == "weights cut short":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif kind == "no weights":
        weights.unlink()
    elif kind == "a tensor absent":
        tensors = load_file(weights)
        del tensors["params/heads/gender/kernel"]
        save_file(tensors, weights)
    elif kind == "another architecture":
        described["architecture"]["width"] = 0.1
    elif kind == "an odd architecture":
        described["architecture"]["name"] = "nothing"
    elif kind == "genders in another order":
        described["heads"]["gender"] = ["male", "female"]
    elif kind == "no age groups":
        described["age_groups"] = []
    elif kind == "no input":
        del described["input"]
    elif kind == "a list":
        described = []
    elif kind == "no heads":
        del described["heads"]
    elif kind == "mean of another size":
        tensors = load_file(weights)
        save_file(tensors | {"mean": np.zeros((5, 5, 3), np.float32)}, weights)
    elif kind == "data of another type":
        described["data"] = "Adience"
    elif kind == "temperatures of another type":
        described["calibration"] = [1.0]
    elif kind == "a temperature of zero":
        described["calibration"] = {"age": 0.0}
    config.write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "weights cut short",
            "damaged, cut short or not safetensors: invalid header length",
        ),
        ("no weights", "neither a bundle (config.json, model.safetensors) nor a run"),
        ("a tensor absent", "1 differ, such as params/heads/gender/kernel: absent in"),
        ("another architecture", "weights do not fit the architecture"),
        ("an odd architecture", "model.name = 'nothing': not a choice"),
        ("genders in another order", "heads: gender: expected the 2 classes female, male"),
        ("no age groups", "age_groups: expected [low, high] pairs"),
        ("no input", "input: expected resize, crop, interpolation, channels"),
        ("a list", "config.json: not a JSON object"),
        ("no heads", "heads: expected the class names of each task"),
        ("mean of another size", "mean or deviation does not fit the input's size"),
        ("data of another type", "data: expected an object"),
        ("temperatures of another type", "calibration: expected an object"),
        ("a temperature of zero", "calibration: age: 0.0 is not a temperature"),
    ],
)
def test_a_damaged_bundle_is_one_line_and_exit_code_2(kind, message, joint, run, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(joint / "fold_0" / "bundle", folder)
    damage(folder, kind)
    code, _, _, printed = run(folder)
    assert code == 2
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1


def test_what_is_no_model_is_told_as_such(joint, run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun" / "fold_0" / "checkpoints").mkdir(parents=True)
    for model, message in (
        (tmp_path / "absent", "no such file or folder"),
        (
            tmp_path / "empty",
            "neither a bundle (config.json, model.safetensors) nor a run",
        ),
        (tmp_path / "begun", "a run without a finished fold: no fold_K/bundle"),
        (tmp_path / "begun" / "fold_0", "an unfinished fold"),
        (
            joint / "fold_0" / "bundle" / "model.safetensors",
            "not an .onnx file; for a bundle, name",
        ),
    ):
        code, _, _, printed = run(model)
        assert code == 2
        assert printed.err.startswith(f"ageflax.evaluate: --model={model}: {message}")


def test_a_run_whose_folds_differ_is_refused(joint, run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(joint, copy)
    path = copy / "fold_3" / "bundle" / "config.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps(described | {"input": described["input"] | {"crop": 25}}))
    code, _, _, printed = run(copy)
    assert code == 2
    assert "fold_3/bundle: its input differ from those of " in printed.err


def test_a_training_run_is_not_written_over(joint, run, data_dir, tmp_path, capsys):
    before = {path: path.read_bytes() for path in joint.rglob("*") if path.is_file()}
    for folder in (joint, joint / "fold_0", joint / "fold_0" / "bundle"):
        words = [f"--model={joint}/fold_0", f"--config.data.dir={data_dir}", f"--output={folder}"]
        assert command.main(words) == 2
        assert "holds a training run, which is not overwritten" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in joint.rglob("*") if path.is_file()}
    (tmp_path / "file").touch()
    code, _, _, printed = run(joint / "fold_0", output="file/x")
    assert code == 2
    assert "file/x: cannot be written: Not a directory" in printed.err


def test_a_disk_that_fills_up_leaves_no_result_beside_other_predictions(joint, run, monkeypatch):
    assert run(joint / "fold_0")[0] == 0

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(evaluate_model, "write_predictions", full)
        code, result, _, printed = run(joint / "fold_0")
    assert (code, result) == (1, None)
    assert "No space left on device" in printed.err
    assert run(joint / "fold_0")[1] is not None


def test_answers_that_are_not_finite_are_a_failed_run(joint, run, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(joint / "fold_0" / "bundle", folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["params/heads/gender/kernel"][:] = 3e38  # finite, but its products are not
    save_file(tensors, folder / "model.safetensors")
    code, result, _, printed = run(folder)
    assert (code, result) == (1, None)
    assert "task gender: probabilities of 32 of 32 faces are not finite; the first is person_" in (
        printed.err
    )
