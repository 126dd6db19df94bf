"""Figures of a classifier, their shares, and means over folds."""

from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np

from ageflax.errors import InputError
from ageflax.runtime.files import Json


def ratio(part: SupportsFloat, whole: SupportsFloat) -> float | None:
    """Share of `part` in `whole`; None if `whole` is zero."""
    return float(part) / float(whole) if float(whole) else None


def mean_and_std(values: Sequence[float | None]) -> Json:
    """Mean and sample standard deviation (n - 1) over folds; null if there are too few values."""
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "folds": list(values),
    }


def check_numbers(values: np.ndarray, what: str) -> None:
    """Raises InputError if a face's values are not finite: figures would be silently false."""
    bad = ~np.isfinite(values)
    if values.ndim > 1:
        bad = bad.any(-1)
    if bad.any():
        raise InputError(
            f"{what} of {int(bad.sum())} of {len(values)} faces are not finite; the first is face"
            f" {int(bad.argmax())}"
        )


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int[classes, classes], faces by true class (rows) and predicted class (columns)."""
    flat = np.bincount(true * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def constant_floor(matrix: np.ndarray, *, off_by: int = 0) -> float | None:
    """Share right, within `off_by` classes, of the best constant answer."""
    counts = matrix.sum(1)
    within = [counts[max(k - off_by, 0) : k + off_by + 1].sum() for k in range(len(counts))]
    return ratio(max(within), counts.sum())


def per_class(matrix: np.ndarray, names: Sequence[str]) -> dict[str, Json]:
    """Counts, recall and precision of each class, from a confusion matrix."""
    true, predicted, correct = matrix.sum(1), matrix.sum(0), np.diag(matrix)
    return {
        name: {
            "faces": int(true[k]),
            "predicted": int(predicted[k]),
            "correct": int(correct[k]),
            "recall": ratio(correct[k], true[k]),
            "precision": ratio(correct[k], predicted[k]),
        }
        for k, name in enumerate(names)
    }


def accuracies(
    true: np.ndarray, predicted: np.ndarray, names: Sequence[str], *, ordered: bool
) -> Json:
    """Figures of one task on labelled faces, from the predicted classes.

    Args:
      true: int[n], class per face, none negative.
      predicted: int[n], class.
      names: class names.
      ordered: True if a neighbouring class is nearly right; adds one-off accuracy and the mean
        distance in classes.

    Returns:
      JSON: `faces`, `exact` (share right), `majority_floor` (share right of the best constant
      answer on these faces), `per_class` (faces, predicted, correct, recall, precision), `confusion`
      (rows are true classes); if `ordered` also `one_off` (|predicted - true| <= 1, not "top two"),
      `one_off_floor` and `mae_classes`. Shares without faces are null.
    """
    matrix = confusion(true, predicted, len(names))
    faces = int(matrix.sum())
    figures: Json = {
        "faces": faces,
        "exact": ratio(np.trace(matrix), faces),
        "majority_floor": constant_floor(matrix),
    }
    if ordered:
        distance = np.abs(predicted - true)
        figures["one_off"] = ratio((distance <= 1).sum(), faces)
        figures["one_off_floor"] = constant_floor(matrix, off_by=1)
        figures["mae_classes"] = ratio(distance.sum(), faces)
    return figures | {"per_class": per_class(matrix, names), "confusion": matrix.tolist()}
