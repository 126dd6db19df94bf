"""Tests any model on any dataset, and writes predictions and figures."""

import collections
import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ageflax.bundle import age_intervals
from ageflax.bundle.loading import open_model
from ageflax.data import images, reading, subjects
from ageflax.data.batches import Batch, Batches, HostBatches, StreamedBatches
from ageflax.data.building import source as source_files
from ageflax.errors import InputError, RunError, first_line
from ageflax.evaluation import output as output_folder
from ageflax.evaluation.figures import check_finite, measure, scores
from ageflax.evaluation.predictions import Predictions, predict
from ageflax.evaluation.predictions_csv import write_predictions
from ageflax.evaluation.protocol import Say, Trial, prepare, tell
from ageflax.evaluation.result import FaceCounts, FoldResult, Protocol, Summary
from ageflax.evaluation.settings import Settings
from ageflax.evaluation.summary import means_over_folds
from ageflax.metrics.conformal import Conformal
from ageflax.runtime import files
from ageflax.runtime.files import Json
from ageflax.runtime.mesh import make_mesh, rounded_up
from ageflax.runtime.progress import Progress


@dataclasses.dataclass(frozen=True)
class Tested:
    """Result of a test.

    Attributes:
      summary: figures in the form of summary.json, for report.table.
      directory: folder of predictions.csv and result.json.
    """

    summary: Json
    directory: Path


def _placed(
    trial: Trial, rows: np.ndarray, given: Settings, mesh: Mesh
) -> tuple[Batches, dict[int, str]]:
    """Source of the tested faces; and rows already known to be unreadable, with the reason."""
    if given.placement in ("auto", "stream"):
        pixels = reading.StoredPixels(trial.stored, trial.decoding)
        return StreamedBatches(pixels, {}, mesh, workers=0, eval_workers=given.workers), {}
    wanted = np.isin(np.arange(len(trial.faces)), rows)
    with Progress(len(trial.faces), unit="face", label=f"reading {trial.stored.name}") as progress:
        loaded = reading.load(trial.stored, trial.decoding, wanted=wanted, progress=progress.update)
    assert loaded.pixels is not None  # since a decoding was given
    return HostBatches(loaded.pixels, {}, mesh), loaded.unreadable


def _reasons(trial: Trial, rows: Iterable[int]) -> dict[int, str]:
    """Reasons why images do not decode, by decoding them again."""
    found = {}
    for row in rows:
        try:
            trial.decoding(trial.stored.examples([row])[0]["image"])
        except images.BadImageError as error:
            found[row] = error.reason
    return found


def _counted(
    batches: Iterable[Batch], progress: Progress, count: int, size: int
) -> Iterator[Batch]:
    """Yields the batches; updates the progress display after each."""
    for start, batch in zip(range(0, count, size), batches, strict=True):
        yield batch
        progress.update(min(size, count - start))


def _predict(trial: Trial, given: Settings, mesh: Mesh) -> tuple[list[Predictions], dict[int, str]]:
    """Predictions for each part of the plan; and rows whose image does not decode, with the reason."""
    size = rounded_up(given.batch_size, mesh)
    rows = trial.rows(trial.plan.folds)
    source, unreadable = _placed(trial, rows, given, mesh)
    found = []
    with Progress(len(rows), unit="face", label=f"testing on {trial.stored.name}") as progress:
        for part in trial.plan.parts:
            of_part = trial.rows(part.folds)
            of_part = of_part[~np.isin(of_part, list(unreadable))]
            if not len(of_part):
                continue
            answer = trial.model.answer(mesh, crops=trial.crops, members=part.members)
            batches = source.eval_batches(of_part, size)
            counted = _counted(batches, progress, len(of_part), size)
            found.append(predict(answer, counted, of_part))
    late = [row for predictions in found for row in predictions.unreadable.tolist()]
    unreadable |= _reasons(trial, late)
    if not any(len(predictions.rows) for predictions in found):
        raise InputError(f"none of the {len(rows)} images to test on can be read")
    return found, unreadable


def _joined(parts: Sequence[Predictions]) -> Predictions:
    """Joins the parts, in the dataset's order."""
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)
    return Predictions(
        rows[order],
        {
            task: np.concatenate([part.probabilities[task] for part in parts])[order]
            for task in parts[0].probabilities
        },
        np.sort(np.concatenate([part.unreadable for part in parts])),
    )


def _temperatures(trial: Trial) -> Mapping[str, float | None]:
    """Temperatures fitted on the model's own validation faces; empty for several models as one."""
    members = {member for part in trial.plan.parts for member in part.members}
    if len(members) > 1:
        return {}
    return trial.model.members[members.pop()].description.calibration


def _intervals(trial: Trial, say: Say) -> dict[str, Conformal]:
    """Intervals of ages by task; empty, and told, where the model has none for this test."""
    members = {member for part in trial.plan.parts for member in part.members}
    found, why = age_intervals.usable(trial.model, trial.crops, members)
    if why:
        say(why)
    return {found.task: found.conformal} if found else {}


def _result(
    trial: Trial,
    predictions: Predictions,
    unreadable: Mapping[int, str],
    *,
    command: Sequence[str],
    **measured: Any,
) -> FoldResult:
    metadata, plan, described = trial.stored.metadata, trial.plan, trial.model.description
    own = described.protocol
    kept = (
        "validation",
        "validation_persons_in_training",
        "checkpoint",
        "train_share",
        "validation_fraction",
    )
    return FoldResult(
        fold=plan.folds[0] if len(plan.folds) == 1 else None,
        protocol=Protocol(
            # On its own data, a model is tested by the protocol of its training.
            name=own.get("name") if plan.own else "external",
            label_policy=trial.policy,
            most_frontal=trial.most_frontal,
            resize=described.input.resize,
            crop=described.input.crop,
            crops=trial.crops,
            age=trial.age_reading,
            **{key: own.get(key) for key in kept},
        ),
        data={
            "name": trial.stored.name,
            "faces": len(trial.faces),
            **trial.left_out,
            "unreadable": len(unreadable),
            "edition": metadata.get("edition"),
            **source_files.described(metadata),
            "licence": metadata.get("licence"),
            "fingerprint": trial.faces.fingerprint,
            "subjects": subjects.described(metadata, trial.faces),
        },
        weights=described.source.get("weights"),
        faces=FaceCounts(
            train=None,
            validation=None,
            test=len(predictions.rows) + len(unreadable),
            test_unreadable=len(unreadable),
        ),
        tested_step=described.source.get("step"),
        more={
            "model": trial.model.described(),
            "folds": list(plan.folds),
            "notices": list(plan.notices),
            "unreadable": dict(sorted(collections.Counter(unreadable.values()).items())),
            "command": list(command),
        },
        **measured,
    )


def _summary(
    result: FoldResult, folds: Sequence[int], per_part: Sequence[Mapping[str, Any]]
) -> Summary:
    """Figures over all faces, with mean and std over the parts of the plan."""
    tasks = {
        task: pooled | means_over_folds([figures[task] for figures in per_part])
        for task, pooled in result.tasks.items()
    }
    return Summary(
        folds=folds, protocol=result.protocol, data=result.data, seconds=result.seconds, tasks=tasks
    )


def run(
    source: Path | str,
    given: Settings,
    output: Path | None,
    *,
    say: Say,
    command: Sequence[str] = (),
) -> Tested:
    """Tests a model on the faces of a dataset that it was not trained on.

    Args:
      source: a bundle, a run's fold, a run, an .onnx file, or hf://owner/name[@revision].
      given: dataset and protocol.
      output: folder for predictions.csv and result.json; default runs/evaluate/MODEL_on_DATASET.
      say: function that prints a line.
      command: words of the command, for result.json.

    Raises:
      InputError: the model or the dataset cannot be read, the model has seen the faces, or no face has a
        label for any of its heads.
      RunError: probabilities are not finite, or the device fails.
    """
    started = time.monotonic()
    model = open_model(source)
    if output is not None:
        output_folder.claim(output)  # first, to fail before anything that takes long
    trial = prepare(model, given, say)
    directory = output or output_folder.default(model, trial.stored.name)
    output_folder.claim(directory)
    intervals = _intervals(trial, say)
    tell(trial, say)
    since = time.monotonic()
    try:
        parts, unreadable = _predict(trial, given, make_mesh())
    except jax.errors.JaxRuntimeError as error:
        first = first_line(error)
        raise RunError(
            f"the device failed: {first}; if memory ran out, lower eval.batch_size"
        ) from error
    seconds = time.monotonic() - since
    if unreadable:
        row, reason = next(iter(sorted(unreadable.items())))
        say(
            f"{len(unreadable)} images do not decode and are left out; the first:"
            f" {trial.faces.keys[row]} ({reason})"
        )
    predictions = _joined(parts)
    for task in predictions.probabilities:
        check_finite(predictions, trial.faces, task)
    per_part = [scores(part, trial.faces, trial.labelled) for part in parts]
    result = _result(
        trial,
        predictions,
        unreadable,
        command=command,
        tasks=measure(
            predictions,
            trial.faces,
            trial.labelled,
            temperatures=_temperatures(trial),
            intervals=intervals,
            age_groups=trial.age_groups,
        ),
        images_per_second=len(predictions.rows) / max(seconds, 1e-9),
        seconds=time.monotonic() - started,
    )
    # Removed first and written last: a result never lies beside other predictions.
    (directory / "result.json").unlink(missing_ok=True)
    write_predictions(
        directory / "predictions.csv", predictions, trial.faces, trial.targets, intervals
    )
    files.write_json(directory / "result.json", result.to_json())
    summary = _summary(result, trial.plan.folds, per_part)
    return Tested(summary.to_json(), directory)
