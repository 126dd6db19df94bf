"""Figures over the folds that are done: means over folds, and what all their test faces say at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ageflax import metrics
from ageflax.errors import RunError
from ageflax.evaluation.figures import INTERVALS_OF
from ageflax.evaluation.predictions_csv import read_predictions
from ageflax.runtime import files


def means_over_folds(per_fold: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over folds of every figure that each of them has."""
    shares = ("exact", "majority_floor", "one_off", "one_off_floor", "mae_classes")
    found = {
        name: metrics.mean_and_std([figures[name] for figures in per_fold])
        for name in shares
        if name in per_fold[0]
    }
    if all("years" in figures for figures in per_fold):
        for name in ("mae", "mae_floor", "cs5", "cs5_floor"):
            found[name] = metrics.mean_and_std([figures["years"][name] for figures in per_fold])
    return found


def _counts(per_fold: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The confusion matrices added up, and what they say of each class."""
    pooled = np.sum([figures["confusion"] for figures in per_fold], axis=0)
    return {
        "faces": int(pooled.sum()),
        "confusion": pooled.tolist(),
        "per_class": metrics.per_class(pooled, list(per_fold[0]["per_class"])),
    }


def _calibration(
    answers: Sequence[metrics.Answers], per_fold: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """Of all faces; each fold's probabilities at its own temperature, where every fold has one."""
    if any(part.probabilities is None for part in answers):
        return None
    temperatures = [f.get("calibration", {}).get("temperature") for f in per_fold]
    true = [part.true[part.known] for part in answers]
    shares = [part.probabilities[part.known] for part in answers if part.probabilities is not None]
    scaled = [
        metrics.tempered(p, t) for p, t in zip(shares, temperatures, strict=True) if t is not None
    ]
    return metrics.calibration(
        np.concatenate(true),
        np.concatenate(shares),
        np.concatenate(scaled) if len(scaled) == len(shares) else None,
    )


def _pooled(
    answers: Sequence[metrics.Answers], per_fold: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Figures over the test faces of all folds at once; no person is in two folds."""
    everyone = metrics.joined(answers)
    values = everyone.per_face()
    measured = {name: values[name] for name in INTERVALS_OF if name in values}
    found: dict[str, Any] = {
        "groups": metrics.pooled_groups([figures.get("groups", {}) for figures in per_fold]),
        "intervals": metrics.intervals(everyone.subjects, measured),
    }
    if (calibration := _calibration(answers, per_fold)) is not None:
        found["calibration"] = calibration
    if everyone.years_true is not None and everyone.years_predicted is not None:
        found["years"] = metrics.years(everyone.years_true, everyone.years_predicted)
    return found


def _read(workdir: Path, result: dict[str, Any], task: str) -> metrics.Answers:
    """One fold's answers.

    Raises:
      RunError: predictions.csv is not the one that the result was made with.
    """
    path = workdir / f"fold_{result['fold']}" / "predictions.csv"
    answers = read_predictions(path, task, names=list(result["tasks"][task]["per_class"]))
    tested = result["faces"]["test"] - result["faces"]["test_unreadable"]
    if len(answers) != tested:
        raise RunError(
            f"{path}: {len(answers)} faces, but {tested} were tested. Remove the result.json beside it"
            " and start the run again: the fold is then tested anew"
        )
    return answers


def summarise(results: list[dict[str, Any]], workdir: Path) -> dict[str, Any]:
    """summary.json: figures over the folds that are done.

    Per task, mean and sample deviation over folds; and over all their test faces at once `confusion`,
    `per_class`, `groups`, `intervals` by person, `calibration` and `years`.

    Args:
      results: of the folds, as in result.json.
      workdir: the run's; predictions.csv of each is read.

    Raises:
      RunError: a predictions.csv is absent or damaged.
    """
    tasks: dict[str, Any] = {}
    for task in results[0]["tasks"]:
        per_fold = [result["tasks"][task] for result in results]
        answers = [_read(workdir, result, task) for result in results]
        tasks[task] = means_over_folds(per_fold) | _counts(per_fold) | _pooled(answers, per_fold)
    leaks = [result["protocol"]["validation_persons_in_training"] for result in results]
    return {
        "folds": [result["fold"] for result in results],
        # Of each fold's validation faces; a person counts in every fold that they leak in.
        "protocol": results[0]["protocol"] | {"validation_persons_in_training": sum(leaks)},
        "data": results[0]["data"],
        "seconds": sum(result["seconds"] for result in results),
        "tasks": tasks,
    }


def finished(workdir: Path) -> list[dict[str, Any]]:
    """Results of the folds that are done, in order."""
    results = [files.read_json(workdir / f"fold_{k}" / "result.json") for k in range(5)]
    return [result for result in results if result is not None]


def fold_line(result: dict[str, Any], seconds: float) -> str:
    """One fold's figures for the user."""
    parts = [f"fold {result['fold']}:"]
    for task, figures in result["tasks"].items():
        parts.append(f"{task} {100 * (figures['exact'] or 0):.1f} % exact")
        if figures.get("one_off") is not None:
            parts.append(f"{100 * figures['one_off']:.1f} % one-off")
        if figures.get("years"):
            parts.append(f"{figures['years']['mae']:.2f} years off")
    return "  ".join([*parts, f"({result['faces']['test']} faces, {seconds:.0f} s)"])
