"""Keeping mostly frontal faces, as the multi-task recipe on IMDB-WIKI does (30,000 of them)."""

import numpy as np

from ageflax.errors import InputError


def most_frontal(keys: np.ndarray, scores: np.ndarray, keep: int) -> np.ndarray:
    """Which faces are the most frontal, as far as a detector's score tells.

    The detectors behind such scores answer most strongly to upright, frontal, sharp, uncovered faces
    like those that they were made with. So a high score is evidence of a frontal view, and no measure
    of its angle: a blurred or dark frontal face scores low, a crisp half profile can score high, and
    people of whom the detector saw few are picked less often. Landmarks would tell better.

    Args:
      keys: str[n], unique; ties are broken by them, so the choice depends on nothing else.
      scores: float[n]; faces whose score is not finite are never picked.
      keep: how many at most.

    Returns:
      bool[n], True for those kept.

    Raises:
      InputError: no face has a score.
    """
    scored = np.flatnonzero(np.isfinite(scores))
    if not len(scored):
        raise InputError("frontal selection: the dataset has no face scores to go by")
    order = np.lexsort((keys[scored].astype(str), -scores[scored]))
    kept = np.zeros(len(keys), bool)
    kept[scored[order[:keep]]] = True
    return kept
