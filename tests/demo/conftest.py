"""A small model with Haar, drawn people, and a server of both."""

import threading

import pytest

from ageflax.predict import Predictor
from tests.demo.served import serve
from tests.predict import drawn_models
from tfds_builders.synthetic_faces import drawing, population


@pytest.fixture(scope="session")
def fold(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo") / "fold_0"
    drawn_models.write(directory / "bundle")
    return directory


@pytest.fixture(scope="session")
def predictor(fold):
    return Predictor(fold, detector="haar")


@pytest.fixture(scope="session")
def portrait():
    """JPEG bytes of a drawn person in whom Haar finds one face."""
    person = population.populate(40, 0)[0]
    return drawing.photograph(person, 0, size=256, seed=0)


@pytest.fixture(scope="session")
def served(predictor):
    """A server of usual limits."""
    with serve(predictor) as server:
        yield server


class Gate:
    """A detector that finds nobody, and that before waits for a gate to be opened."""

    name = "gate"

    def __init__(self):
        self.opened, self.begun = threading.Event(), threading.Semaphore(0)

    def __call__(self, image, *, fast=False, closely=True):
        self.begun.release()
        assert self.opened.wait(30)
        return []


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.opened.set()


@pytest.fixture
def gated(fold, gate):
    """A predictor that answers when the gate is opened."""
    return Predictor(fold, detector=gate)
