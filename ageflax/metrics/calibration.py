"""Calibration: whether a model is right as often as its probabilities claim.

References: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
"""

from typing import Any

import numpy as np

from ageflax.metrics.classification import check_numbers, ratio
from ageflax.runtime.files import Json

BINS = 15
# Lower bound of probabilities: a true class taken for impossible costs 28 nats, not infinity.
_SMALLEST = 1e-12
# Bounds of the temperature; validation faces without a mistake would fit zero.
_COLDEST, _HOTTEST = 0.05, 20.0


def _log_scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """float64[n, classes], log softmax(log p / temperature)."""
    scores = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST)) / temperature
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """float64[n, classes], softmax(log p / temperature): above 1 less confident, below 1 more.

    The most probable class stays the same. The one column of a head without a distribution, an age,
    is returned as it is.
    """
    if probabilities.shape[1] == 1:
        return probabilities
    return np.exp(_log_scaled(probabilities, temperature))


def _likelihood(true: np.ndarray, logarithms: np.ndarray) -> float | None:
    """Mean negative log-likelihood of the true classes, nats; None without faces."""
    picked = np.take_along_axis(logarithms, true[:, None], axis=-1)
    return ratio(-picked.sum(), len(true))


def fit_temperature(true: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Temperature at which these faces' labels are most likely, from 0.05 to 20.

    Args:
      true: int[n], class per face, none negative; faces used neither for training nor for the test.
      probabilities: float[n, classes].

    Returns:
      The temperature; None with fewer than two faces or a single class.

    Raises:
      InputError: a probability is not finite.
    """
    from scipy import optimize  # late: half a second of every command's start

    check_numbers(probabilities, "probabilities")
    if len(np.unique(true)) < 2:
        return None

    def loss(log_temperature: float) -> float:
        likelihood = _likelihood(true, _log_scaled(probabilities, float(np.exp(log_temperature))))
        assert likelihood is not None  # there are faces
        return likelihood

    bounds = (float(np.log(_COLDEST)), float(np.log(_HOTTEST)))
    found: Any = optimize.minimize_scalar(
        loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def _reliability(true: np.ndarray, probabilities: np.ndarray) -> list[Json]:
    """Accuracy of the most probable class, binned by its probability."""
    confidence = probabilities.max(-1).astype(np.float64)
    correct = probabilities.argmax(-1) == true
    edges = np.arange(BINS + 1) / BINS
    place = np.searchsorted(edges[1:-1], confidence)  # a bin holds its upper edge, as in the paper
    faces = np.bincount(place, minlength=BINS)
    confidences = np.bincount(place, weights=confidence, minlength=BINS)
    hits = np.bincount(place, weights=correct, minlength=BINS)
    return [
        {
            "low": float(edges[k]),
            "high": float(edges[k + 1]),
            "faces": int(faces[k]),
            "confidence": ratio(confidences[k], faces[k]),
            "accuracy": ratio(hits[k], faces[k]),
        }
        for k in range(BINS)
    ]


def _error(bins: list[Json]) -> float | None:
    """Expected calibration error: mean distance over faces between accuracy and confidence."""
    gaps = [b["faces"] * abs(b["accuracy"] - b["confidence"]) for b in bins if b["faces"]]
    return ratio(sum(gaps), sum(b["faces"] for b in bins))


def calibration(
    true: np.ndarray, probabilities: np.ndarray, scaled: np.ndarray | None = None
) -> Json:
    """Calibration of the most probable class.

    Args:
      true: int[n], class per face, none negative.
      probabilities: float[n, classes].
      scaled: float[n, classes], the same at a temperature; see `tempered`.

    Returns:
      JSON: `ece`, the expected calibration error over 15 equal bins of the top probability; `nll`,
      mean negative log-likelihood of the true class, nats; `bins`, each `low` (exclusive), `high`,
      `faces`, mean `confidence` and `accuracy`; `ece_scaled` and `nll_scaled` for `scaled`. Values
      are null without faces or without `scaled`.

    Raises:
      InputError: a probability is not finite.
    """
    check_numbers(probabilities, "probabilities")
    bins = _reliability(true, probabilities)
    figures = {
        "ece": _error(bins),
        "nll": _likelihood(true, _log_scaled(probabilities, 1.0)),
        "bins": bins,
        "ece_scaled": None,
        "nll_scaled": None,
    }
    if scaled is not None:
        figures["ece_scaled"] = _error(_reliability(true, scaled))
        figures["nll_scaled"] = _likelihood(true, _log_scaled(scaled, 1.0))
    return figures
