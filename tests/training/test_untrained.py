"""Runs of zero steps: a bundle tested and calibrated as it is."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ageflax import bundle, report
from ageflax import config as configuration
from ageflax.errors import InputError
from ageflax.training import cross_validation
from ageflax.weights.formats import safetensors
from tests.conftest import small_values

# Validation people enough to calibrate intervals, and classes that few training people fill.
MANY = ("--config.data.validation_fraction=0.7", "--config.data.label_policy=intervals",
        "--config.data.intervals=((0, 20), (21, 40), (41, 100))")  # fmt: skip
TOLD = "--config.transfer.reset=('heads/.*',)"


@pytest.fixture(scope="module")
def run(data_dir, small_faces, tmp_path_factory):
    """Function that runs fold 0 of the small config with further options and gives its folder."""
    folder = tmp_path_factory.mktemp("untrained")

    def start(name: str, *words: str) -> Path:
        config = configuration.resolve(
            small_values(data_dir), ["--config.fold=0", "--config.task=joint", *MANY, *words]
        )
        cross_validation.run(config, folder / name, say=lambda line: None)
        return folder / name / "fold_0"

    return start


@pytest.fixture(scope="module")
def trained(run):
    """Bundle of a short training, its weights in int8, with a source that only it can have."""
    fold = run("trained", "--config.steps=2", "--config.eval.checkpoint=last")
    model = bundle.load(fold / "bundle")
    description = dataclasses.replace(
        model.description,
        storage={"precision": "int8"},
        source=model.description.source
        | {"weights": {"source": "another network", "sha256": "0" * 64, "licence": None}},
    )
    member: Any = model.members[0]
    variables = {k: v for k, v in (("params", member.variables.params),
                                   ("batch_stats", member.variables.batch_stats)) if v}  # fmt: skip
    path = fold.parent / "int8"
    bundle.write(path, description, variables, mean=member.variables.mean + 1,
                 std=member.variables.std)  # fmt: skip
    return path


def test_weights_mean_and_provenance_stay_and_test_and_calibration_are_new(run, trained):
    fold = run("zero", f"--config.transfer.weights={trained}", "--config.steps=0", TOLD)
    before = safetensors.read(trained / "model.safetensors")
    after = safetensors.read(fold / "bundle" / "model.safetensors")
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values, err_msg=name)
    old, new = (json.loads((p / "config.json").read_text()) for p in (trained, fold / "bundle"))
    for key in ("source", "data", "heads", "architecture", "input"):
        assert new[key] == old[key], key
    assert "storage" not in new
    result = json.loads((fold / "result.json").read_text())
    assert result["steps"] == result["tested_step"] == 0
    assert new["figures"] == result["tasks"]
    assert new["calibration"]["gender"] > 0
    assert new["age_interval"]["people"] >= 40
    assert new["age_interval"]["levels"] == [0.8, 0.9, 0.95]
    covered = result["tasks"]["age"]["age_interval"]["0.8"]
    with (fold / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    held = [int(r["age_low_80"]) <= int(r["age_true"].split("-")[0]) <= int(r["age_high_80"])
            for r in rows if r["age_true"]]  # fmt: skip
    assert covered["coverage"] == pytest.approx(np.mean(held))
    summary = json.loads((fold.parent / "summary.json").read_text())
    assert summary["tasks"]["age"]["age_interval"] == result["tasks"]["age"]["age_interval"]
    report.write(fold.parent)
    same = run("again", f"--config.transfer.weights={fold}", "--config.epochs=0")
    assert (same / "predictions.csv").read_bytes() == (fold / "predictions.csv").read_bytes()


def test_on_other_data_the_bundle_is_the_initial_weights(run, trained, tmp_path):
    described = json.loads((trained / "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    described["data"]["fingerprint"] = "other data"
    (other / "config.json").write_text(json.dumps(described))
    (other / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    words = (f"--config.transfer.weights={other}", "--config.steps=0", "--config.seed=3")
    source = json.loads((run("other", *words) / "bundle" / "config.json").read_text())["source"]
    assert (source["step"], source["seed"]) == (0, 3)
    assert source["weights"]["trained_on"]["fingerprint"] == "other data"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=1"], "seed = 1: transfer.weights was trained on this dataset with 0, so"),
        (["data.validation_fraction=0.3"], r"data.validation_fraction = 0.3: .* with 0\.\d+, so"),
        (["data.crop=20"], "data.crop = 20: transfer.weights has 27, and zero steps change nothing"),
        (["task=gender"], r"task = 'gender': transfer.weights has 'age\+gender'"),
        (["loss.age=coral"], "loss.age = 'coral': transfer.weights has 'cross_entropy'"),
        (["model.width=0.1"], r"model.width = 0.1: transfer.weights has 0.\d+"),
    ],
)  # fmt: skip
def test_a_config_that_is_not_the_bundles_is_told(run, trained, words, message):
    given = [f"--config.{word}" for word in ("steps=0", f"transfer.weights={trained}", *words)]
    with pytest.raises(InputError, match=message):
        run("refused", *given)


def test_zero_steps_need_a_bundle(run, trained, tmp_path):
    with pytest.raises(InputError, match=r"^steps = 0: no weights to test; set transfer\.weights="):
        run("refused", "--config.steps=0")
    with pytest.raises(InputError, match=r"^epochs = 0: no weights to test"):
        run("refused", "--config.epochs=0")
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((trained / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"alone\.safetensors"):
        run("refused", "--config.steps=0", f"--config.transfer.weights={alone}")
