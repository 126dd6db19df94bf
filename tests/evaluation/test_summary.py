import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from ageflax import config as configuration
from ageflax.errors import RunError
from ageflax.training import cross_validation
from tests.conftest import small_values


def run(values: ConfigDict, workdir: Path) -> None:
    """Runs folds 0 and 3, age and gender."""
    resolved = configuration.resolve(values, ["--config.folds=(0, 3)", "--config.task=joint"])
    cross_validation.run(resolved, workdir, say=lambda line: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir, small_faces):
    """A finished run, read-only, and its config."""
    workdir = tmp_path_factory.mktemp("finished")
    values = small_values(data_dir)
    run(values, workdir)
    return workdir, values


def test_summary_is_mean_and_sample_deviation_of_the_folds(finished):
    workdir, _ = finished
    exact = [
        json.loads((workdir / f"fold_{k}" / "result.json").read_text())["tasks"]["age"]["exact"]
        for k in (0, 3)
    ]
    figure = json.loads((workdir / "summary.json").read_text())["tasks"]["age"]["exact"]
    assert figure["mean"] == pytest.approx(np.mean(exact))
    assert figure["std"] == pytest.approx(abs(exact[0] - exact[1]) / 2**0.5)
    assert figure["folds"] == exact


def test_a_fold_states_its_protocol_and_how_sure_its_figures_are(finished):
    workdir, _ = finished
    result = json.loads((workdir / "fold_3" / "result.json").read_text())
    assert {
        "name", "label_policy", "validation", "validation_persons_in_training", "resize", "crop",
        "crops", "checkpoint",
    } <= result["protocol"].keys()  # fmt: skip
    assert {"name", "edition", "fingerprint"} <= result["data"].keys()
    for task, grouping in (("age", "gender"), ("gender", "age")):
        figures = result["tasks"][task]
        assert set(figures["groups"]) == {grouping}
        assert sum(g["faces"] for g in figures["groups"][grouping].values()) == figures["faces"]
        assert figures["calibration"]["temperature"] > 0
        assert figures["calibration"]["ece_scaled"] is not None
        low, high = figures["intervals"]["exact"]
        assert low <= figures["exact"] <= high
    described = json.loads((workdir / "fold_3" / "bundle" / "config.json").read_text())
    assert described["calibration"] == {
        task: figures["calibration"]["temperature"] for task, figures in result["tasks"].items()
    }


def test_the_summary_pools_all_test_faces(finished):
    workdir, _ = finished
    summary = json.loads((workdir / "summary.json").read_text())
    results = [
        json.loads((workdir / f"fold_{k}" / "result.json").read_text())["tasks"] for k in (0, 3)
    ]
    for task, figures in summary["tasks"].items():
        pooled = sum(r[task]["exact"] * r[task]["faces"] for r in results) / figures["faces"]
        assert figures["intervals"]["exact"][0] <= pooled <= figures["intervals"]["exact"][1]
        assert figures["intervals"]["persons"] == sum(
            r[task]["intervals"]["persons"] for r in results
        )
        bins = figures["calibration"]["bins"]
        assert sum(b["faces"] for b in bins) == figures["faces"]
        assert sum(b["accuracy"] * b["faces"] for b in bins if b["faces"]) == pytest.approx(
            pooled * figures["faces"]
        )
        assert figures["calibration"]["ece_scaled"] is not None
        assert "temperature" not in figures["calibration"]
    years = summary["tasks"]["age"]["years"]
    mae = [r["age"]["years"]["mae"] * r["age"]["years"]["faces"] for r in results]
    assert years["mae"] == pytest.approx(sum(mae) / years["faces"])


@pytest.mark.parametrize("damage", ["absent", "cut", "short"])
def test_a_finished_fold_whose_predictions_are_damaged_is_named(finished, damage, tmp_path):
    workdir, values = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    path = copy / "fold_3" / "predictions.csv"
    text = path.read_text()
    path.unlink()
    if damage == "cut":
        path.write_text(text[:-30])
    if damage == "short":
        path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(RunError) as error:
        run(values, copy)
    assert str(error.value).startswith(f"{path}: ")
    assert "; remove the result.json beside it and start the run again" in str(error.value)
    if damage == "short":
        # The advice helps.
        (copy / "fold_3" / "result.json").unlink()
        run(values, copy)
        assert path.read_text() == text
