"""Whether a model is right as often as it says it is.

References: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
"""

from typing import Any

import numpy as np

from ageflax.metrics.classification import check_numbers
from ageflax.metrics.folds import ratio

BINS = 15
# Below it a probability counts as this: a class taken for impossible costs 28 nats, not infinitely many.
_SMALLEST = 1e-12
# Validation faces told without a mistake would want a temperature of zero.
_COLDEST, _HOTTEST = 0.05, 20.0


def _log_scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """float64[n, classes], log softmax(log p / temperature)."""
    scores = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST)) / temperature
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """float64[n, classes], softmax(log p / temperature): above 1 less sure, below 1 surer.

    Which class is the most probable does not change.
    """
    return np.exp(_log_scaled(probabilities, temperature))


def _likelihood(true: np.ndarray, logarithms: np.ndarray) -> float | None:
    """Mean negative log likelihood of the true classes, nats; None of nothing."""
    picked = np.take_along_axis(logarithms, true[:, None], axis=-1)
    return ratio(-picked.sum(), len(true))


def fit_temperature(true: np.ndarray, probabilities: np.ndarray) -> float | None:
    """The temperature at which these faces' labels are most likely, from 0.05 to 20.

    Args:
      true: int[n], class per face, none negative: of faces neither trained on nor tested.
      probabilities: float[n, classes].

    Returns:
      None where it cannot be told: fewer than two faces, or all of one class.

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


def _reliability(true: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """How often the most probable class is right, by its probability."""
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


def _error(bins: list[dict[str, Any]]) -> float | None:
    """Expected calibration error: how far accuracy is from confidence, over faces."""
    gaps = [b["faces"] * abs(b["accuracy"] - b["confidence"]) for b in bins if b["faces"]]
    return ratio(sum(gaps), sum(b["faces"] for b in bins))


def calibration(
    true: np.ndarray, probabilities: np.ndarray, scaled: np.ndarray | None = None
) -> dict[str, Any]:
    """Calibration of the most probable class.

    Args:
      true: int[n], class per face, none negative.
      probabilities: float[n, classes].
      scaled: float[n, classes], the same at a temperature; see `tempered`.

    Returns:
      JSON: `ece`, the expected calibration error over 15 equal bins of the top probability; `nll`,
      mean negative log likelihood of the true class, nats; `bins`, each `low` (exclusive), `high`,
      `faces`, mean `confidence` and `accuracy`; `ece_scaled` and `nll_scaled` of `scaled`. Of no
      face, or without `scaled`, null.

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
