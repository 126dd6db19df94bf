"""Every face of a split through the network once, and what comes of it."""

from ageflax.evaluate._ages import Ages, ages, expected
from ageflax.evaluate._figures import INTERVALS_OF, answers, figures, scores, temperatures
from ageflax.evaluate._predict import Predictions, predict
from ageflax.evaluate._read import read_predictions
from ageflax.evaluate._write import write_predictions

__all__ = [
    "INTERVALS_OF",
    "Ages",
    "Predictions",
    "ages",
    "answers",
    "expected",
    "figures",
    "predict",
    "read_predictions",
    "scores",
    "temperatures",
    "write_predictions",
]
