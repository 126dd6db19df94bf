"""Figures over finished folds: means over folds, and figures over all test faces at once."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ageflax import metrics
from ageflax.errors import RunError
from ageflax.evaluation.figures import INTERVALS_OF
from ageflax.evaluation.predictions_csv import REMEDY, read_predictions
from ageflax.evaluation.result import FoldResult, Summary
from ageflax.metrics import conformal
from ageflax.metrics.of_age import of_answers
from ageflax.runtime import files
from ageflax.runtime.files import Json


def means_over_folds(per_fold: Sequence[Json]) -> Json:
    """Mean and std over folds of every figure that all of them have."""
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


def _counts(per_fold: Sequence[Json]) -> Json:
    """Sum of the confusion matrices, and figures per class."""
    pooled = np.sum([figures["confusion"] for figures in per_fold], axis=0)
    return {
        "faces": int(pooled.sum()),
        "confusion": pooled.tolist(),
        "per_class": metrics.per_class(pooled, list(per_fold[0]["per_class"])),
    }


def _calibration(answers: Sequence[metrics.Answers], per_fold: Sequence[Json]) -> Json | None:
    """Calibration over all faces, each fold at its own temperature if every fold has one."""
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


def _pooled(answers: Sequence[metrics.Answers], per_fold: Sequence[Json]) -> Json:
    """Figures over the test faces of all folds at once; no subject is in two folds."""
    everyone = metrics.joined(answers)
    values = everyone.per_face()
    measured = {name: values[name] for name in INTERVALS_OF if name in values}
    found: Json = {
        "groups": metrics.pooled_groups([figures.get("groups", {}) for figures in per_fold]),
        "intervals": metrics.intervals(everyone.subjects, measured),
    }
    if (calibration := _calibration(answers, per_fold)) is not None:
        found["calibration"] = calibration
    if everyone.years_true is not None and everyone.years_predicted is not None:
        found["years"] = metrics.years(everyone.years_true, everyone.years_predicted)
    covered = conformal.of_answers(everyone, list(per_fold[0]["per_class"]))
    if covered is not None:
        found["age_interval"] = covered
    if (of_age := of_answers(everyone)) is not None:
        found["of_age"] = of_age
    return found


def _read(workdir: Path, result: FoldResult, task: str) -> metrics.Answers:
    """Answers of one fold.

    Raises:
      RunError: predictions.csv does not belong to the result.
    """
    path = workdir / f"fold_{result.fold}" / "predictions.csv"
    answers = read_predictions(path, task, names=list(result.tasks[task]["per_class"]))
    tested = result.faces.test - result.faces.test_unreadable
    if len(answers) != tested:
        raise RunError(f"{path}: {len(answers)} faces, but {tested} were tested; {REMEDY}")
    return answers


def summarise(results: Sequence[FoldResult], workdir: Path) -> Summary:
    """Computes the figures over finished folds.

    Per task, mean and sample standard deviation over folds; and over all their test faces at once
    `confusion`, `per_class`, `groups`, `intervals` by subject, `calibration`, `years`,
    `age_interval` and `of_age`.

    Args:
      results: results of the folds.
      workdir: folder of the run; predictions.csv of each fold is read.

    Raises:
      RunError: a predictions.csv is absent or damaged.
    """
    tasks: dict[str, Json] = {}
    for task in results[0].tasks:
        per_fold = [result.tasks[task] for result in results]
        answers = [_read(workdir, result, task) for result in results]
        tasks[task] = means_over_folds(per_fold) | _counts(per_fold) | _pooled(answers, per_fold)
    # A subject counts once for every fold in which it leaks.
    leaks = sum(result.protocol.validation_persons_in_training or 0 for result in results)
    return Summary(
        folds=[result.fold for result in results],
        protocol=dataclasses.replace(results[0].protocol, validation_persons_in_training=leaks),
        data=results[0].data,
        seconds=sum(result.seconds for result in results),
        tasks=tasks,
    )


def finished(workdir: Path) -> list[FoldResult]:
    """Reads the results of the finished folds, in order.

    Raises:
      InputError: a result.json is damaged.
    """
    paths = [workdir / f"fold_{k}" / "result.json" for k in range(5)]
    contents = [(files.read_json(path), path) for path in paths]
    return [
        FoldResult.from_json(content, path) for content, path in contents if content is not None
    ]


def fold_line(result: FoldResult, seconds: float) -> str:
    """A fold's figures as one line of text."""
    parts = [f"fold {result.fold}:"]
    for task, figures in result.tasks.items():
        parts.append(f"{task} {100 * (figures['exact'] or 0):.1f} % exact")
        if figures.get("one_off") is not None:
            parts.append(f"{100 * figures['one_off']:.1f} % one-off")
        if figures.get("years"):
            parts.append(f"{figures['years']['mae']:.2f} years off")
    return "  ".join([*parts, f"({result.faces.test} faces, {seconds:.0f} s)"])
