"""What the predictions of a split are worth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ageflax import labels, metrics
from ageflax.data.dataset import Faces, Target
from ageflax.errors import RunError
from ageflax.evaluation.predictions import Predictions

# Figures of every result that get an interval, where the task has them.
INTERVALS_OF = ("exact", "one_off", "mae_classes", "mae", "cs5")

_Tasks = dict[str, dict[str, Any]]


def answers_of(
    predictions: Predictions, faces: Faces, task: str, target: Target
) -> metrics.Answers:
    """One task's answers, of every evaluated face, labelled or not.

    Of "years" the classes are age groups, to which its years add up.

    Args:
      predictions: of the evaluated faces.
      faces: the dataset's labels.
      task: whose head is asked.
      target: its classes.

    Raises:
      RunError: a probability is not finite; names the first such face.
    """
    rows, scores = predictions.rows, predictions.probabilities[task]
    bad = ~np.isfinite(scores).all(-1)
    if bad.any():
        raise RunError(
            f"task {task}: what the model says of {int(bad.sum())} of {len(rows)} faces is not a"
            f" number; the first is {faces.keys[rows[bad.argmax()]]}. Its weights cannot be used"
        )
    given: dict[str, Any] = {
        "keys": faces.keys[rows],
        "subjects": faces.subjects[rows],
        "true": target.classes[rows],
        "ordered": bool(target.centres),
    }
    if not target.centres:
        return metrics.Answers(predicted=scores.argmax(-1), probabilities=scores, **given)
    aged = metrics.ages(scores, target)
    if not np.isnan(faces.ages[rows]).all():
        given |= {"years_true": faces.ages[rows], "years_predicted": aged.years}
    return metrics.Answers(
        predicted=aged.groups.argmax(-1),
        probabilities=None if aged.std is None else aged.groups,
        **given,
    )


def _of_answers(given: metrics.Answers, target: Target) -> dict[str, Any]:
    known = given.known
    found = metrics.accuracies(
        given.true[known], given.predicted[known], target.names, ordered=given.ordered
    )
    if given.years_true is not None and given.years_predicted is not None:
        found["years"] = metrics.years(given.years_true, given.years_predicted)
    return found


def scores(predictions: Predictions, faces: Faces, targets: Mapping[str, Target]) -> _Tasks:
    """Accuracies and errors per task: what validation during training looks at.

    Faces without a label for a task are left out. Where years of age are known, "age" and "years" also
    have `years`: errors of the expected age. Accuracies of "years" are those of the age groups that its
    years add up to. See metrics.accuracies and metrics.years.

    Args:
      predictions: of the evaluated faces.
      faces: the dataset's labels.
      targets: classes per task.

    Raises:
      RunError: a probability is not finite.
    """
    return {
        task: _of_answers(answers_of(predictions, faces, task, target), target)
        for task, target in targets.items()
    }


def fit_temperatures(
    predictions: Predictions, faces: Faces, targets: Mapping[str, Target]
) -> dict[str, float | None]:
    """Per task the temperature that makes these faces' labels most likely; see metrics.

    Args:
      predictions: of validation faces, by the weights and crops that are tested.
      faces: the dataset's labels.
      targets: classes per task.

    Returns:
      None where it cannot be told, or the head gives an age and no distribution.

    Raises:
      RunError: a probability is not finite.
    """
    found = {}
    for task, target in targets.items():
        given = answers_of(predictions, faces, task, target)
        found[task] = None
        if given.probabilities is not None:
            found[task] = metrics.fit_temperature(
                given.true[given.known], given.probabilities[given.known]
            )
    return found


def _groupings(
    task: str, faces: Faces, rows: np.ndarray, age_groups: Target | None
) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    """Whom a task's figures are also given of; its own classes are in `per_class` already."""
    if task != "gender":
        return {"gender": (faces.genders[rows], labels.GENDERS)}
    if age_groups is None:
        return {}
    return {"age": (age_groups.classes[rows], age_groups.names)}


def measure(
    predictions: Predictions,
    faces: Faces,
    targets: Mapping[str, Target],
    *,
    temperatures: Mapping[str, float | None] | None = None,
    age_groups: Target | None = None,
) -> _Tasks:
    """Everything a test says: per task what `scores` gives, and more.

    * `groups`: the same for the faces of one gender, of one age class; see metrics.groups.
    * `calibration`, of heads with a distribution; see metrics.calibration. With `temperature`.
    * `intervals`, by subject; see metrics.intervals.

    Args:
      predictions: of the evaluated faces.
      faces: the dataset's labels.
      targets: classes per task.
      temperatures: per task, from validation faces; without one, figures at a temperature are null.
      age_groups: the classes by which figures of gender are grouped; else those of a task for ages.

    Raises:
      RunError: a probability is not finite.
    """
    if age_groups is None:
        age_groups = targets.get("age") or targets.get("years")
    result = {}
    for task, target in targets.items():
        given = answers_of(predictions, faces, task, target)
        values = given.per_face()
        found = _of_answers(given, target)
        groupings = _groupings(task, faces, predictions.rows, age_groups)
        found["groups"] = metrics.groups(values, groupings)
        if given.probabilities is not None:
            temperature = (temperatures or {}).get(task)
            true, shares = given.true[given.known], given.probabilities[given.known]
            scaled = None if temperature is None else metrics.tempered(shares, temperature)
            found["calibration"] = {
                "temperature": temperature,
                **metrics.calibration(true, shares, scaled),
            }
        measured = {name: values[name] for name in INTERVALS_OF if name in values}
        found["intervals"] = metrics.intervals(given.subjects, measured)
        result[task] = found
    return result
