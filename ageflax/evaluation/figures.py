"""Figures over the predictions of a split, per task."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ageflax import labels, metrics
from ageflax.data.dataset import Faces, Target
from ageflax.errors import RunError
from ageflax.evaluation.predictions import Predictions
from ageflax.metrics import conformal
from ageflax.metrics.conformal import Conformal
from ageflax.metrics.of_age import of_answers
from ageflax.runtime.files import Json

# Figures that get a confidence interval.
INTERVALS_OF = ("exact", "one_off", "mae_classes", "mae", "cs5")


def check_finite(predictions: Predictions, faces: Faces, task: str) -> None:
    """Raises RunError if probabilities of a task are not finite; names the first such face."""
    rows = predictions.rows
    bad = ~np.isfinite(predictions.probabilities[task]).all(-1)
    if bad.any():
        raise RunError(
            f"task {task}: probabilities of {int(bad.sum())} of {len(rows)} faces are not finite; the"
            f" first is {faces.keys[rows[bad.argmax()]]}; the model's weights are damaged"
        )


def answers_of(
    predictions: Predictions,
    faces: Faces,
    task: str,
    target: Target,
    interval: Conformal | None = None,
) -> metrics.Answers:
    """One task's answers for every evaluated face, labelled or not.

    The classes of "years" are the age groups that its years add up to.

    Args:
      predictions: predictions of the evaluated faces.
      faces: labels of the dataset.
      task: task of the answers.
      target: classes of the task.
      interval: calibration of its intervals, if they are wanted.

    Raises:
      RunError: a probability is not finite; names the first such face.
    """
    check_finite(predictions, faces, task)
    rows, scores = predictions.rows, predictions.probabilities[task]
    given: dict[str, Any] = {
        "keys": faces.keys[rows],
        "subjects": faces.subjects[rows],
        "true": target.classes[rows],
        "ordered": bool(target.centres),
        "genders": faces.genders[rows],
    }
    if not target.centres:
        return metrics.Answers(predicted=scores.argmax(-1), probabilities=scores, **given)
    aged = metrics.ages(scores, target)
    if not np.isnan(faces.ages[rows]).all():
        given |= {"years_true": faces.ages[rows], "years_predicted": aged.years}
    if target.year_groups and aged.std is not None:
        given["minor"] = metrics.under(scores, metrics.ADULT)
    if interval is not None:
        given |= {
            "intervals": interval.intervals(scores, aged.years, target),
            "levels": interval.levels,
            "label_years": conformal.label_years(target, given["true"], faces.ages[rows]),
        }
    return metrics.Answers(
        predicted=aged.groups.argmax(-1),
        probabilities=None if aged.std is None else aged.groups,
        **given,
    )


def _of_answers(given: metrics.Answers, target: Target) -> Json:
    known = given.known
    found = metrics.accuracies(
        given.true[known], given.predicted[known], target.names, ordered=given.ordered
    )
    if given.years_true is not None and given.years_predicted is not None:
        found["years"] = metrics.years(given.years_true, given.years_predicted)
    return found


def scores(
    predictions: Predictions, faces: Faces, targets: Mapping[str, Target]
) -> dict[str, Json]:
    """Accuracies and errors per task, as used by validation during training.

    Faces without a label for a task are left out. If ages in years are known, "age" and "years" also
    have `years`, the errors of the expected age. Accuracies of "years" are those of the age groups that
    its years add up to. See metrics.accuracies and metrics.years.

    Args:
      predictions: predictions of the evaluated faces.
      faces: labels of the dataset.
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
    """Fits each task's temperature, under which the faces' labels are most likely; see metrics.

    Args:
      predictions: predictions of validation faces, with the tested weights and crops.
      faces: labels of the dataset.
      targets: classes per task.

    Returns:
      Temperature per task; None if it cannot be fitted, or if the head gives an age and no distribution.

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


def fit_intervals(
    predictions: Predictions, faces: Faces, targets: Mapping[str, Target]
) -> dict[str, Conformal]:
    """Calibrates intervals for the head that gives the age, of years or else of age groups.

    Args:
      predictions: predictions of validation faces, with the tested weights and crops.
      faces: labels of the dataset.
      targets: classes per task.

    Returns:
      Calibration by task; empty without such a head or with too few people.
    """
    task = next((task for task in ("years", "age") if task in targets), None)
    if task is None:
        return {}
    rows, target = predictions.rows, targets[task]
    true = conformal.true_candidates(target, target.classes[rows], faces.ages[rows])
    found = conformal.fit(predictions.probabilities[task], true, faces.subjects[rows], target)
    return {task: found} if found else {}


def _groupings(
    task: str, faces: Faces, rows: np.ndarray, age_groups: Target | None
) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    """Groups of faces that a task's figures are also given for, besides its own classes."""
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
    intervals: Mapping[str, Conformal] | None = None,
    age_groups: Target | None = None,
) -> dict[str, Json]:
    """All figures of a test per task.

    Those of `scores`, and:

    * `groups`: the same for the faces of one gender or one age group; see metrics.groups.
    * `calibration` of heads with a distribution, with its `temperature`; see metrics.calibration.
    * `intervals`: confidence intervals by subject; see metrics.intervals.
    * `age_interval` of a head with calibrated intervals, by level; see metrics.conformal.coverage.
    * `of_age` of heads for ages, if ages in years are known; see metrics.of_age.

    Args:
      predictions: predictions of the evaluated faces.
      faces: labels of the dataset.
      targets: classes per task.
      temperatures: temperature per task, from validation faces; without one, scaled figures are null.
      intervals: calibration of intervals by task.
      age_groups: age groups for the figures of gender; default those of a task for ages.

    Raises:
      RunError: a probability is not finite.
    """
    if age_groups is None:
        age_groups = targets.get("age") or targets.get("years")
    result = {}
    for task, target in targets.items():
        given = answers_of(predictions, faces, task, target, (intervals or {}).get(task))
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
        if (covered := conformal.of_answers(given, target.names)) is not None:
            found["age_interval"] = covered
        if (of_age := of_answers(given)) is not None:
            found["of_age"] = of_age
        result[task] = found
    return result
