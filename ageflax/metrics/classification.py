"""Figures of a classifier, from every face's probabilities: sums and counts, nothing averaged early."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ageflax.errors import InputError
from ageflax.metrics.folds import ratio


def check_numbers(values: np.ndarray, what: str) -> None:
    """Raises InputError where a face's values are not finite: figures would be silently false."""
    bad = ~np.isfinite(values)
    if values.ndim > 1:
        bad = bad.any(-1)
    if bad.any():
        raise InputError(
            f"{what} of {int(bad.sum())} of {len(values)} faces are not finite; the first is face"
            f" {int(bad.argmax())}"
        )


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int[classes, classes], faces of class row predicted as class column."""
    flat = np.bincount(true * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def constant_floor(matrix: np.ndarray, *, off_by: int = 0) -> float | None:
    """Share right (within `off_by` classes) of the best answer that never looks at the face."""
    counts = matrix.sum(1)
    within = [counts[max(k - off_by, 0) : k + off_by + 1].sum() for k in range(len(counts))]
    return ratio(max(within), counts.sum())


def classification(
    true: np.ndarray, probabilities: np.ndarray, names: Sequence[str], *, ordered: bool
) -> dict[str, Any]:
    """Figures of one task on labelled faces; see accuracies.

    Args:
      true: int[n], class per face, none negative.
      probabilities: float[n, classes]; the most probable class is the answer.
      names: of the classes.
      ordered: whether a neighbouring class is nearly right.

    Raises:
      InputError: a probability is not finite.
    """
    check_numbers(probabilities, "probabilities")
    return accuracies(true, probabilities.argmax(-1), names, ordered=ordered)


def accuracies(
    true: np.ndarray, predicted: np.ndarray, names: Sequence[str], *, ordered: bool
) -> dict[str, Any]:
    """Figures of one task on labelled faces, from the answered classes.

    Args:
      true: int[n], class per face, none negative.
      predicted: int[n], class.
      names: of the classes.
      ordered: whether a neighbouring class is nearly right; adds one-off accuracy and the mean
        distance in classes.

    Returns:
      JSON: `faces`, `exact` (share right), `majority_floor` (share right of the best constant
      answer on these very faces), `per_class` (faces, predicted, correct, recall, precision),
      `confusion` (rows are true classes); with `ordered` also `one_off` (|predicted - true| <= 1,
      not "top two"), `one_off_floor` and `mae_classes`. A share of nothing is null.
    """
    matrix = confusion(true, predicted, len(names))
    correct, faces = np.diag(matrix), int(matrix.sum())
    figures: dict[str, Any] = {
        "faces": faces,
        "exact": ratio(correct.sum(), faces),
        "majority_floor": constant_floor(matrix),
    }
    if ordered:
        distance = np.abs(predicted - true)
        figures["one_off"] = ratio((distance <= 1).sum(), faces)
        figures["one_off_floor"] = constant_floor(matrix, off_by=1)
        figures["mae_classes"] = ratio(distance.sum(), faces)
    figures["per_class"] = {
        name: {
            "faces": int(matrix[k].sum()),
            "predicted": int(matrix[:, k].sum()),
            "correct": int(correct[k]),
            "recall": ratio(correct[k], matrix[k].sum()),
            "precision": ratio(correct[k], matrix[:, k].sum()),
        }
        for k, name in enumerate(names)
    }
    figures["confusion"] = matrix.tolist()
    return figures
