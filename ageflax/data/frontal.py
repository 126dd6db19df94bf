"""Selects mostly frontal faces, as the multi-task recipe on IMDB-WIKI does (30,000 of them)."""

import numpy as np

from ageflax.errors import InputError


def most_frontal(keys: np.ndarray, scores: np.ndarray, keep: int) -> np.ndarray:
    """Selects the faces with the highest detector scores, which are mostly frontal.

    Detectors answer most strongly to upright, frontal, sharp, uncovered faces like those that they were
    trained on. A high score is therefore evidence of a frontal view but no measure of its angle: a
    blurred or dark frontal face scores low, a crisp half profile can score high, and groups that the
    detector saw little of are picked less often. Landmarks would tell better.

    Args:
      keys: str[n], unique; they break ties, to make the choice deterministic.
      scores: float[n]; faces without a finite score are never picked.
      keep: largest number of faces to pick.

    Returns:
      bool[n], True for those kept.

    Raises:
      InputError: no face has a score.
    """
    scored = np.flatnonzero(np.isfinite(scores))
    if not len(scored):
        raise InputError("data.most_frontal: the dataset has no face scores to go by")
    order = np.lexsort((keys[scored].astype(str), -scores[scored]))
    kept = np.zeros(len(keys), bool)
    kept[scored[order[:keep]]] = True
    return kept
