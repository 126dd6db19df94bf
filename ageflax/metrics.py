"""Figures of a classifier, from every face's probabilities: sums and counts, nothing averaged early."""

from collections.abc import Sequence
from typing import Any, SupportsFloat

import numpy as np


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int[classes, classes], faces of class row predicted as class column."""
    flat = np.bincount(true * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def _ratio(part: SupportsFloat, whole: SupportsFloat) -> float | None:
    return float(part) / float(whole) if float(whole) else None


def constant_floor(matrix: np.ndarray, *, off_by: int = 0) -> float | None:
    """Share right (within `off_by` classes) of the best answer that never looks at the face."""
    counts = matrix.sum(1)
    within = [counts[max(k - off_by, 0) : k + off_by + 1].sum() for k in range(len(counts))]
    return _ratio(max(within), counts.sum())


def classification(
    true: np.ndarray, probabilities: np.ndarray, names: Sequence[str], *, ordered: bool
) -> dict[str, Any]:
    """Figures of one task on labelled faces.

    Args:
      true: int[n], class per face, none negative.
      probabilities: float[n, classes].
      names: of the classes.
      ordered: whether a neighbouring class is nearly right; adds one-off accuracy and the mean
        distance in classes.

    Returns:
      JSON: `faces`, `exact` (share right), `majority_floor` (share right of the best constant
      answer on these very faces), `per_class` (faces, predicted, correct, recall, precision),
      `confusion` (rows are true classes); with `ordered` also `one_off` (|predicted - true| <= 1,
      not "top two"), `one_off_floor` and `mae_classes`. A share of nothing is null.
    """
    predicted = probabilities.argmax(-1)
    matrix = confusion(true, predicted, len(names))
    correct, faces = np.diag(matrix), int(matrix.sum())
    figures: dict[str, Any] = {
        "faces": faces,
        "exact": _ratio(correct.sum(), faces),
        "majority_floor": constant_floor(matrix),
    }
    if ordered:
        distance = np.abs(predicted - true)
        figures["one_off"] = _ratio((distance <= 1).sum(), faces)
        figures["one_off_floor"] = constant_floor(matrix, off_by=1)
        figures["mae_classes"] = _ratio(distance.sum(), faces)
    figures["per_class"] = {
        name: {
            "faces": int(matrix[k].sum()),
            "predicted": int(matrix[:, k].sum()),
            "correct": int(correct[k]),
            "recall": _ratio(correct[k], matrix[k].sum()),
            "precision": _ratio(correct[k], matrix[:, k].sum()),
        }
        for k, name in enumerate(names)
    }
    figures["confusion"] = matrix.tolist()
    return figures


def years(ages: np.ndarray, estimated: np.ndarray) -> dict[str, Any]:
    """Errors in years: mean absolute error, and CS@5, the share within five years.

    Args:
      ages: float[n], years; faces of NaN are left out.
      estimated: float[n], years.
    """
    known = ~np.isnan(ages)
    errors = np.abs(estimated[known] - ages[known].astype(np.float64))
    return {
        "faces": int(known.sum()),
        "mae": _ratio(errors.sum(), len(errors)),
        "cs5": _ratio((errors <= 5.0).sum(), len(errors)),
    }


def mean_and_deviation(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and sample standard deviation (n - 1) over folds; null where there are too few."""
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "folds": list(values),
    }
