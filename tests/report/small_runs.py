"""Runs of a handful of faces with given answers."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ageflax import labels, metrics, report
from tests.support.finished_runs import summarised
from tests.support.html_page import Page


def write_fold(
    workdir: Path,
    fold: int,
    truth: Mapping[str, Sequence[int | None]],
    probabilities: dict[str, np.ndarray],
    *,
    keys: list[str] | None = None,
    validation: int = 5,
    leaks: int = 0,
    log: str | None = None,
    **protocol: Any,
) -> None:
    """Writes a finished fold from the faces' classes (None: no label) and probabilities per task."""
    directory = workdir / f"fold_{fold}"
    directory.mkdir(parents=True)
    count = len(next(iter(truth.values())))
    keys = keys or [f"{fold}_{k}" for k in range(count)]
    tasks = {}
    for task, classes in truth.items():
        known = np.array([c is not None for c in classes])
        tasks[task] = metrics.accuracies(
            np.array([c for c in classes if c is not None], int),
            probabilities[task][known].argmax(-1),
            labels.class_names(task),
            ordered=task == "age",
        )
    rules = {
        "name": "cross_validation", "label_policy": "strict", "validation": "subject",
        "validation_persons_in_training": leaks, "resize": 32, "crop": 27, "crops": "ten",
        "checkpoint": "last",
    }  # fmt: skip
    result = {
        "fold": fold,
        "protocol": rules | protocol,
        "data": {
            "name": "synthetic_faces/default/1.0.0", "faces": 40, "without_label": 3,
            "unreadable": 1, "edition": None, "licence": "Apache-2.0 (drawn)",
            "fingerprint": "0123456789abcdef",
        },
        "faces": {"train": 1234, "validation": validation, "test": count, "test_unreadable": 0},
        "tasks": tasks,
        "tested_step": 8, "steps": 8, "images_per_second": None, "seconds": 3725.0,
    }  # fmt: skip
    (directory / "result.json").write_text(json.dumps(result))
    if log is None:
        log = json.dumps({"step": 4, "loss": 2.0, "validation_age_exact": 0.5}) + "\n"
    (directory / "metrics.jsonl").write_text(log)
    with (directory / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        header = ["key", "subject"]
        for task in truth:
            header += [f"{task}_true", f"{task}_predicted"]
            header += [f"{task}_probability_{name}" for name in labels.class_names(task)]
        writer.writerow(header)
        for k in range(count):
            row = [keys[k], f"person_{k}"]
            for task, classes in truth.items():
                names, scores, true = labels.class_names(task), probabilities[task][k], classes[k]
                row += ["" if true is None else names[true], names[scores.argmax()]]
                row += [f"{score:.9g}" for score in scores]
            writer.writerow(row)


def finish(
    workdir: Path,
    *,
    data: str | None = None,
    edition: str = "server",
    config: dict[str, Any] | None = None,
) -> None:
    """Writes summary.json of the folds, as an older version did, and config.json if given."""
    paths = sorted(workdir.glob("fold_*/result.json"))
    results = [json.loads(path.read_text()) for path in paths]
    figures = {
        "folds": [result["fold"] for result in results],
        "protocol": results[0]["protocol"],
        "data": results[0]["data"] | ({"name": data, "edition": edition} if data else {}),
        "seconds": sum(result["seconds"] for result in results),
        "tasks": {
            task: summarised([result["tasks"][task] for result in results], {})
            for task in results[0]["tasks"]
        },
    }
    (workdir / "summary.json").write_text(json.dumps(figures))
    if config is not None:
        (workdir / "config.json").write_text(json.dumps(config))


def page(workdir: Path, **arguments: Any) -> Page:
    report.write(workdir, **arguments)
    return Page(workdir / "report.html")


def gender(*female: float) -> dict[str, np.ndarray]:
    return {"gender": np.array([[p, 1 - p] for p in female])}


def age(*predicted: int, confidence: float = 0.65) -> dict[str, np.ndarray]:
    scores = np.full((len(predicted), 8), (1 - confidence) / 7)
    scores[np.arange(len(predicted)), predicted] = confidence
    return {"age": scores}


def jpeg(colour: tuple[int, int, int], size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()
