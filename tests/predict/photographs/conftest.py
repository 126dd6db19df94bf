"""Models, folders of drawn photographs, and a function that runs python -m ageflax.evaluate --photos."""

import csv
import io
import json

import cv2
import numpy as np
import pytest

from ageflax import evaluate as command
from tests.predict import drawn_models
from tests.predict.conftest import decoded


@pytest.fixture(scope="session")
def years(tmp_path_factory):
    """A bundle with heads for years and gender. Read only."""
    folder = tmp_path_factory.mktemp("models") / "years"
    return drawn_models.write(
        folder, "task=years+gender", "loss.years=label_distribution", "eval.crops=mirror"
    )


def png(pixels):
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


@pytest.fixture
def folder(tmp_path, portraits):
    """Three portraits, a wall without a face, a damaged photograph and one that no list names."""
    place = tmp_path / "photos"
    (place / "sub").mkdir(parents=True)
    for name, content in zip(("a.jpg", "sub/b.jpg", "c.JPG"), portraits, strict=True):
        (place / name).write_bytes(content)
    (place / "wall.png").write_bytes(png(np.full((96, 96, 3), 127, np.uint8)))
    (place / "cut.jpg").write_bytes(portraits[0][:400])
    (place / "other.jpg").write_bytes(portraits[0])
    return place


@pytest.fixture
def two(portraits):
    """PNG bytes, 768 pixels wide: a portrait in the middle, another at the left."""
    scene = np.full((256, 768, 3), 127, np.uint8)
    scene[:, :128] = decoded(portraits[1])[:, 64:192]
    scene[:, 256:512] = decoded(portraits[0])
    return png(scene)


@pytest.fixture
def listed(folder):
    """Function that writes labels.csv into the folder."""

    def write(*lines):
        (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    return write


@pytest.fixture
def run(folder, tmp_path, capsys):
    """Function that runs the command; returns exit code, result.json, rows of predictions.csv, output."""

    def ran(model, *words, detector="haar", output="out"):
        capsys.readouterr()
        options = [f"--model={model}", f"--photos={folder}", f"--detector={detector}"]
        code = command.main([*options, f"--output={tmp_path / output}", *map(str, words)])
        path = tmp_path / output / "result.json"
        result = json.loads(path.read_text()) if path.is_file() else None
        rows = []
        if (path.parent / "predictions.csv").is_file():
            # File names need not be UTF-8.
            content = (path.parent / "predictions.csv").read_text("utf-8", "surrogateescape")
            rows = list(csv.DictReader(io.StringIO(content, newline="")))
        return code, result, rows, capsys.readouterr()

    return ran
