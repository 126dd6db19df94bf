"""Selection of the faces that count, and their classes, for training and for evaluation."""

import dataclasses
from collections.abc import Collection, Iterable

import numpy as np

from ageflax import labels
from ageflax.data.dataset import Faces, Target
from ageflax.data.frontal import most_frontal


@dataclasses.dataclass(frozen=True)
class Selection:
    """Faces that count, and their labels.

    Attributes:
      targets: labels per task.
      usable: bool[n], faces that count.
      left_out: number of the other faces by reason.
    """

    targets: dict[str, Target]
    usable: np.ndarray
    left_out: dict[str, int]


def measurable(target: Target) -> np.ndarray:
    """Faces by which a head can be measured, bool[n].

    A head for years is measured by the faces of known age, as in training; without any, by age groups.
    """
    return target.known if target.known.any() else target.classes >= 0


def select(
    faces: Faces,
    tasks: Iterable[str],
    *,
    policy: str,
    intervals: labels.Intervals,
    reading: str = "mean",
    frontal: int = 0,
    unreadable: Collection[int] | None = None,
) -> Selection:
    """Selects the faces that have a label for any task.

    Args:
      faces: labels of the dataset, as in its source.
      tasks: tasks among "age", "years", "gender".
      policy: label policy; see labels.age_group.
      intervals: age groups.
      reading: point of a distribution over years that counts as the age.
      frontal: number of faces to keep, those with the highest face_score; 0 for all.
      unreadable: rows whose image does not decode; None if not known yet.
    """
    targets = {
        task: faces.target(task, policy=policy, intervals=intervals, reading=reading)
        for task in tasks
    }
    usable = np.any([measurable(target) for target in targets.values()], axis=0)
    left_out = {"without_label": int((~usable).sum())}
    if unreadable is not None:
        left_out["unreadable"] = len(unreadable)
        usable[list(unreadable)] = False
    if frontal:
        kept = most_frontal(faces.keys, np.where(usable, faces.scores, np.nan), frontal)
        left_out["not_frontal"] = int((usable & ~kept).sum())
        usable &= kept
    return Selection(targets, usable, left_out)
