"""Fixtures: a small model with Haar, a drawn face, and a server."""

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
    """JPEG bytes of a drawn face that Haar finds."""
    person = population.populate(40, 0)[0]
    return drawing.photograph(person, 0, size=256, seed=0)


@pytest.fixture(scope="session")
def served(predictor):
    """A server with default limits."""
    with serve(predictor) as server:
        yield server


class Gate:
    """A detector that waits for a gate to open, then finds nobody."""

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
    """A predictor that answers once the gate is open."""
    return Predictor(fold, detector=gate)
