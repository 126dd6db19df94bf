"""Figures by group of faces: one gender, one age class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ageflax.metrics.classification import ratio
from ageflax.runtime.files import Json

_OF_CLASSES = ("exact", "one_off")
_OF_YEARS = ("mae", "cs5", "bias")


def groups(
    values: Mapping[str, np.ndarray], groupings: Mapping[str, tuple[np.ndarray, Sequence[str]]]
) -> dict[str, dict[str, Json]]:
    """Figures by group.

    Args:
      values: figure to float[n], each face's contribution, NaN where it does not count; see
        Answers.per_face.
      groupings: name of a grouping to int[n], the group of each face (negative if unknown), and the
        groups' names.

    Returns:
      JSON: grouping to group to `faces`, `exact` and, if in `values`, `one_off`; `aged` (faces of
      known age), `mae`, `cs5` and `bias`. A mean over no faces is null; a grouping without a known
      face is left out.
    """
    found = {}
    for grouping, (group, names) in groupings.items():
        if not (group >= 0).any():
            continue
        found[grouping] = {name: _figures(values, group == k) for k, name in enumerate(names)}
    return found


def _figures(values: Mapping[str, np.ndarray], mask: np.ndarray) -> Json:
    counted = {name: value[mask & ~np.isnan(value)] for name, value in values.items()}
    figures: Json = {"faces": len(counted["exact"])}
    for name in (*_OF_CLASSES, *_OF_YEARS):
        if name not in counted:
            continue
        if name in _OF_YEARS:
            figures["aged"] = len(counted[name])
        figures[name] = ratio(counted[name].sum(), len(counted[name]))
    return figures


def pooled_groups(parts: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Json]]:
    """Figures by group over all faces of several folds, from the figures of each fold.

    Args:
      parts: result of `groups` per fold; a grouping absent from a fold has no face there.
    """
    found: dict[str, dict[str, Json]] = {}
    for grouping in dict.fromkeys(name for part in parts for name in part):
        folds = [part[grouping] for part in parts if grouping in part]
        found[grouping] = {
            name: _pooled([fold[name] for fold in folds if name in fold])
            for name in dict.fromkeys(name for fold in folds for name in fold)
        }
    return found


def _pooled(folds: Sequence[Mapping[str, Any]]) -> Json:
    figures: Json = {}
    for name in dict.fromkeys(name for fold in folds for name in fold):
        weight = "aged" if name in _OF_YEARS else "faces"
        if name in ("aged", "faces"):
            figures[name] = sum(fold.get(name, 0) for fold in folds)
            continue
        counted = [(fold[weight], fold[name]) for fold in folds if fold.get(name) is not None]
        figures[name] = ratio(sum(n * mean for n, mean in counted), sum(n for n, _ in counted))
    return figures
