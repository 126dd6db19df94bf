"""A small run, datasets to test it on, and a function that runs the command."""

import json

import pytest

from ageflax import evaluate as command
from tests.evaluation.runs import trained
from tfds_builders.labeled_faces.dummy_build import build, lay_out


@pytest.fixture(scope="session")
def joint(tmp_path_factory, data_dir, small_faces):
    """Folds 0 and 3 of a run with heads for age groups and gender; read-only."""
    workdir = tmp_path_factory.mktemp("runs") / "joint"
    return trained(workdir, data_dir, "--config.task=joint", "--config.folds=(0, 3)")


@pytest.fixture(scope="session")
def labeled(tmp_path_factory):
    """Function that builds a dataset of five people from rows of labels.csv; returns its options."""

    def built(*rows):
        folder = lay_out(tmp_path_factory.mktemp("labeled") / "manual", rows)
        build(folder)
        return ["--config.data.name=labeled_faces", f"--config.data.dir={folder.parent / 'built'}"]

    return built


@pytest.fixture
def run(data_dir, tmp_path, capsys):
    """Function that runs the command; returns exit code, result.json, predictions.csv and output."""

    def ran(model, *words, output="out"):
        capsys.readouterr()  # drops earlier output
        words = [f"--model={model}", f"--config.data.dir={data_dir}", *words]
        code = command.main([*words, f"--output={tmp_path / output}"])
        path = tmp_path / output / "result.json"
        result = json.loads(path.read_text()) if path.is_file() else None
        return code, result, tmp_path / output / "predictions.csv", capsys.readouterr()

    return ran
