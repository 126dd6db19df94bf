"""Fixtures: a small model, drawn faces, a video, and the command."""

import json

import cv2
import numpy as np
import pytest

from ageflax.predict import __main__ as command
from tests.predict import drawn_models
from tfds_builders.synthetic_faces import drawing, population


@pytest.fixture(scope="session")
def fold(tmp_path_factory):
    """A fold with heads for age groups and gender and its own margin. Read only."""
    directory = tmp_path_factory.mktemp("predicting") / "run" / "fold_0"
    drawn_models.write(directory / "bundle", calibration={"age": 1.5, "gender": 0.8})
    return directory


@pytest.fixture(scope="session")
def portraits():
    """JPEG bytes of three drawn faces, 256 pixels a side; Haar finds one face in each."""
    people = {subject.number: subject for subject in population.populate(40, 0)}
    return [drawing.photograph(people[k], 0, size=256, seed=0) for k in (0, 2, 4)]


@pytest.fixture
def photo(portraits):
    """The first portrait, uint8[256, 256, 3], RGB."""
    return decoded(portraits[0])


def decoded(content):
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


@pytest.fixture
def predict(fold, capfd):
    """Runs the command; returns its exit code, the printed objects and the lines of standard error."""

    def ran(*words, model=fold, detector="haar"):
        capfd.readouterr()  # drops earlier output
        options = [f"--model={model}", f"--detector={detector}"]
        code = command.main([*options, *map(str, words)])
        out, err = capfd.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err.splitlines()

    return ran


@pytest.fixture(scope="session")
def clip(tmp_path_factory, portraits):
    """A video of 30 frames at 10 per second: one face moves to the right; from frame 20 it is another."""
    path = tmp_path_factory.mktemp("clip") / "two people.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (384, 256))
    assert writer.isOpened()
    for k in range(30):
        scene = np.full((256, 384, 3), 200 if k < 20 else 20, np.uint8)
        left = 2 * k if k < 20 else 100
        scene[:, left : left + 256] = decoded(portraits[0 if k < 20 else 1])
        writer.write(cv2.cvtColor(scene, cv2.COLOR_RGB2BGR))
    writer.release()
    return path
