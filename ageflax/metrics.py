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


# First and last whole year of the bands in which errors of age are also given: children and the old
# are who such models get wrong.
AGE_BANDS = ((0, 5), (6, 12), (13, 17), (18, 29), (30, 44), (45, 59), (60, 74), (75, 130))


def years(ages: np.ndarray, estimated: np.ndarray) -> dict[str, Any]:
    """Errors in years: mean absolute error, and CS@5, the share within five years.

    Args:
      ages: float[n], years; faces of NaN are left out.
      estimated: float[n], years.

    Returns:
      JSON: `faces`, `mae`, `cs5`; `mae_floor` and `cs5_floor`, what the best constant answer scores on
      these very faces; `bias`, the mean of estimated - true; and `bands`, per age band `faces`, `mae`,
      `cs5` and `bias`. A mean of nothing is null.
    """
    known = ~np.isnan(ages)
    true = ages[known].astype(np.float64)
    errors = estimated[known] - true
    figures = _errors(errors)
    figures["mae_floor"] = (
        _ratio(np.abs(true - np.median(true)).sum(), len(true)) if len(true) else None
    )
    figures["cs5_floor"] = _best_constant(true, 5.0)
    figures["bands"] = {
        f"{low}-{high}": _errors(errors[(np.floor(true) >= low) & (np.floor(true) <= high)])
        for low, high in AGE_BANDS
    }
    return figures


def _errors(errors: np.ndarray) -> dict[str, Any]:
    return {
        "faces": len(errors),
        "mae": _ratio(np.abs(errors).sum(), len(errors)),
        "cs5": _ratio((np.abs(errors) <= 5.0).sum(), len(errors)),
        "bias": _ratio(errors.sum(), len(errors)),
    }


def _best_constant(true: np.ndarray, within: float) -> float | None:
    """Largest share of values within so much of one and the same answer."""
    ordered = np.sort(true)
    ends = np.searchsorted(ordered, ordered + 2 * within, side="right")
    return _ratio((ends - np.arange(len(ordered))).max(initial=0), len(ordered))


def mean_and_deviation(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and sample standard deviation (n - 1) over folds; null where there are too few."""
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "folds": list(values),
    }
