"""Run folders as ageflax.main leaves them, with random labels and answers: no training, no images."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ageflax import labels, metrics

SHARES = ("exact", "one_off", "cs5")
FIGURES = ("exact", "majority_floor", "one_off", "one_off_floor", "mae_classes")


def answers(*, seed: int, skill: float, faces: int = 240) -> dict[str, np.ndarray]:
    """Random faces and a random model's answers; the faces are the same for every seed and skill.

    `skill` divides the errors in years; above 1 is better.
    """
    world, model = np.random.default_rng(7), np.random.default_rng(seed)
    persons = np.sort(world.integers(0, faces // 2, faces))
    years = np.floor(world.gamma(2.4, 13, faces).clip(0, 95))
    gender = world.integers(0, 2, persons.max() + 1)[persons]
    estimate = (years + model.normal(0, (2 + years / 9) / skill)).clip(0, 100)
    female = 1 / (1 + np.exp(-(1.5 * skill) * (1 - 2 * gender) - model.normal(0, 1.2, faces)))
    return {"persons": persons, "years": years, "gender": gender, "estimate": estimate,
            "female": female, "fold": persons % 5}  # fmt: skip


def group(years: np.ndarray) -> np.ndarray:
    """Age class of each face, by the nearest policy."""
    nearest = np.array(labels.groups_of_years())
    return nearest[np.clip(years, 0, 100).astype(int)]


def probabilities(drawn: Mapping[str, np.ndarray], task: str) -> tuple[np.ndarray, np.ndarray]:
    """True classes, and one probability per class."""
    if task == "gender":
        return drawn["gender"], np.stack([drawn["female"], 1 - drawn["female"]], 1)
    centres = np.array(labels.centres())
    scores = np.exp(-np.abs(drawn["estimate"][:, None] - centres) / 4)
    scores[np.arange(len(scores)), group(drawn["estimate"])] += 1
    return group(drawn["years"]), scores / scores.sum(1, keepdims=True)


def calibration(true: np.ndarray, scores: np.ndarray, **more: Any) -> dict[str, Any]:
    """Calibration with fifteen bins and all keys of the schema."""
    confidence, right = scores.max(1), scores.argmax(1) == true
    place = np.minimum((confidence * 15).astype(int), 14)
    bins = []
    for k in range(15):
        held = place == k
        bins.append(
            {
                "low": k / 15, "high": (k + 1) / 15, "faces": int(held.sum()),
                "confidence": float(confidence[held].mean()) if held.any() else None,
                "accuracy": float(right[held].mean()) if held.any() else None,
            }
        )  # fmt: skip
    ece = sum(b["faces"] * abs(b["confidence"] - b["accuracy"]) for b in bins if b["faces"])
    nll = -np.log(scores[np.arange(len(true)), true]).mean()
    return {"ece": ece / len(true), "nll": float(nll), "bins": bins, **more}


def years_figures(true: np.ndarray, estimate: np.ndarray) -> dict[str, Any]:
    """Errors in years with all keys of the schema."""
    off, minor = np.abs(estimate - true), true < 18
    return metrics.years(true, estimate) | {
        "cs": {str(k): float((off <= k).mean()) for k in range(11)},
        "adulthood": {
            "age": 18, "minors": int(minor.sum()), "adults": int((~minor).sum()),
            "false_adult": float((estimate[minor] >= 18).mean()) if minor.any() else None,
            "false_minor": float((estimate[~minor] < 18).mean()) if (~minor).any() else None,
        },
    }  # fmt: skip


def _of_some(task: str, held: np.ndarray, drawn: Mapping[str, np.ndarray]) -> dict[str, Any]:
    true, scores = probabilities(drawn, task)
    off = np.abs(scores.argmax(1) - true)[held]
    figures: dict[str, Any] = {
        "faces": int(held.sum()),
        "exact": metrics.ratio((off == 0).sum(), held.sum()),
    }
    if task == "gender":
        return figures
    errors = (drawn["estimate"] - drawn["years"])[held]
    return figures | {
        "one_off": metrics.ratio((off <= 1).sum(), held.sum()),
        "mae": metrics.ratio(np.abs(errors).sum(), held.sum()),
        "cs5": metrics.ratio((np.abs(errors) <= 5).sum(), held.sum()),
        "bias": metrics.ratio(errors.sum(), held.sum()),
    }


def figures(task: str, drawn: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """result.json's figures of a task, with all keys of the schema."""
    true, scores = probabilities(drawn, task)
    names = labels.class_names("gender" if task == "gender" else "age")
    found = metrics.accuracies(true, scores.argmax(-1), names, ordered=task != "gender")
    sides = {name: drawn["gender"] == k for k, name in enumerate(labels.GENDERS)}
    if task == "gender":
        classes = group(drawn["years"])
        sides = {name: classes == k for k, name in enumerate(labels.AGE_GROUPS)}
    found["groups"] = {
        "age" if task == "gender" else "gender": {
            name: _of_some(task, held, drawn) for name, held in sides.items()
        }
    }
    found["calibration"] = calibration(true, scores)
    if task != "gender":
        found["years"] = years_figures(drawn["years"], drawn["estimate"])
    return found


def summarised(per_fold: Sequence[Mapping[str, Any]], pooled: Mapping[str, Any]) -> dict[str, Any]:
    """A task's part of summary.json."""
    summary: dict[str, Any] = {
        name: metrics.mean_and_std([fold[name] for fold in per_fold])
        for name in FIGURES
        if name in per_fold[0]
    }
    if all("years" in fold for fold in per_fold):
        for name in ("mae", "mae_floor", "cs5", "cs5_floor"):
            summary[name] = metrics.mean_and_std([fold["years"][name] for fold in per_fold])
    matrix = np.sum([fold["confusion"] for fold in per_fold], axis=0)
    names = list(per_fold[0]["per_class"])
    return summary | {
        "faces": int(matrix.sum()),
        "confusion": matrix.tolist(),
        "per_class": {
            name: {
                "faces": int(matrix[k].sum()),
                "correct": int(matrix[k, k]),
                "recall": metrics.ratio(matrix[k, k], matrix[k].sum()),
            }
            for k, name in enumerate(names)
        },
        **pooled,
    }


def _intervals(found: Mapping[str, Any], persons: int) -> dict[str, Any]:
    """Intervals without a bootstrap: each figure plus and minus 3 %."""
    values = {k: found[k] for k in ("exact", "one_off", "mae_classes") if k in found}
    values |= {k: found["years"][k] for k in ("mae", "cs5") if "years" in found}
    ends = {
        k: [0.97 * value, min(1.03 * value, 1.0) if k in SHARES else 1.03 * value]
        for k, value in values.items()
    }
    return {"level": 0.95, "persons": persons, "resamples": 2000, "seed": 0, **ends}


def _predictions(path: Path, tasks: Sequence[str], drawn: Mapping[str, np.ndarray]) -> None:
    header, columns = ["key", "subject"], []
    header_of = {task: labels.class_names(task) for task in tasks}
    for task in tasks:
        header += [f"{task}_true", f"{task}_predicted"]
        if task == "years":
            header += ["years_group_true", "years_group_predicted"]
            columns.append((drawn["years"], drawn["estimate"], None))
            continue
        true, scores = probabilities(drawn, task)
        columns.append((true, scores.argmax(1), scores))
        if task == "age":
            header += ["age_years_true", "age_years_predicted"]
        header += [f"{task}_probability_{name}" for name in header_of[task]]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for k, person in enumerate(drawn["persons"]):
            row = [f"face_{int(drawn['row'][k]):04d}", f"person_{person}"]
            for task, (true, guess, scores) in zip(tasks, columns, strict=True):
                if scores is None:
                    groups = labels.AGE_GROUPS
                    row += [f"{true[k]:.9g}", f"{guess[k]:.9g}", groups[group(true)[k]]]
                    row.append(groups[group(guess)[k]])
                    continue
                row += [header_of[task][true[k]], header_of[task][guess[k]]]
                if task == "age":
                    row += [f"{drawn['years'][k]:.9g}", f"{drawn['estimate'][k]:.9g}"]
                row += [f"{score:.9g}" for score in scores[k]]
            writer.writerow(row)


def _log(path: Path, task: str, seed: int, skill: float) -> None:
    rng = np.random.default_rng(seed)
    with path.open("w") as file:
        for step in range(20, 1001, 20):
            line = {"step": step, "loss": 3 * np.exp(-skill * step / 500) + rng.normal(0.3, 0.06),
                    "images_per_second": 480.0}  # fmt: skip
            if step % 100 == 0:
                line[f"validation_{task}_exact"] = (
                    0.3 + 0.3 * skill * step / 1000 + rng.normal(0, 0.02)
                )
                line["validation_gender_exact"] = (
                    0.6 + 0.3 * skill * step / 1000 + rng.normal(0, 0.02)
                )
                line["validation_years_mae"] = 12 - 6 * skill * step / 1000 + rng.normal(0, 0.3)
            file.write(json.dumps(line) + "\n")


def _some(drawn: Mapping[str, np.ndarray], held: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[held] for name, values in drawn.items()}


def write_run(
    workdir: Path,
    *,
    tasks: Sequence[str] = ("years", "gender"),
    folds: Sequence[int] = (0, 1, 2, 3, 4),
    seed: int = 0,
    skill: float = 1.0,
    faces: int = 240,
    name: str = "labeled_faces/faces/1.0.0",
    edition: str | None = None,
    policy: str = "nearest",
    config: Mapping[str, Any] | None = None,
) -> None:
    """Writes a run of five folds with `folds` finished, and every key of summary.json."""
    drawn = answers(seed=seed, skill=skill, faces=faces)
    drawn["row"] = np.arange(len(drawn["years"]))
    protocol = {
        "name": "cross_validation", "label_policy": policy, "most_frontal": 0,
        "validation": "subject", "validation_persons_in_training": 0, "resize": 80, "crop": 71,
        "crops": "center", "checkpoint": "last", "train_share": 1.0,
    }  # fmt: skip
    data = {
        "name": name, "faces": faces, "without_label": 3, "unreadable": 1, "edition": edition,
        "licence": "CC0-1.0", "fingerprint": "0123456789abcdef",
    }  # fmt: skip
    results = []
    for fold in folds:
        directory = workdir / f"fold_{fold}"
        (directory / "bundle").mkdir(parents=True)
        held = _some(drawn, drawn["fold"] == fold)
        found = {task: figures(task, held) for task in tasks}
        for task in found.values():
            task["calibration"] |= {
                "temperature": 1.1 + fold / 20,
                "ece_scaled": 0.02,
                "nll_scaled": 0.9,
            }
        result = {
            "fold": fold, "protocol": protocol, "data": data, "weights": None,
            "faces": {"train": 4 * faces // 5, "validation": faces // 10, "test": len(held["row"]),
                      "test_unreadable": 0},
            "tasks": found, "tested_step": 1000, "steps": 1000, "images_per_second": 480.0,
            "seconds": 180.0 + fold,
        }  # fmt: skip
        results.append(result)
        _predictions(directory / "predictions.csv", tasks, held)
        _log(directory / "metrics.jsonl", tasks[0], 10 * seed + fold, skill)
        tensors = {"params/trunk/kernel": np.zeros((3, 4), np.float32),
                   "batch_stats/trunk/mean": np.zeros(4, np.float32)}  # fmt: skip
        save_file(tensors, directory / "bundle" / "model.safetensors")
        (directory / "result.json").write_text(json.dumps(result))
    tested = _some(drawn, np.isin(drawn["fold"], folds))
    persons = len(np.unique(tested["persons"]))
    summary: dict[str, Any] = {}
    for task in tasks:
        whole = figures(task, tested)
        pooled = {key: whole[key] for key in ("groups", "calibration", "years") if key in whole}
        pooled["intervals"] = _intervals(whole, persons)
        summary[task] = summarised([result["tasks"][task] for result in results], pooled)
    written = {
        "folds": list(folds), "protocol": protocol, "data": data, "tasks": summary,
        "seconds": sum(result["seconds"] for result in results),
    }  # fmt: skip
    (workdir / "summary.json").write_text(json.dumps(written))
    record = {
        "config": {"task": "+".join(tasks), "folds": [0, 1, 2, 3, 4], "seed": seed,
                   "data": {"name": name, "label_policy": policy, "dir": ""},
                   "model": {"name": "resnet18"}} | dict(config or {}),
        "versions": {"ageflax": "0.1.0", "python": "3.11.7", "jax": "0.10.2"},
        "devices": {"cpu": 1},
        "command": ["python", "-m", "ageflax.main", "--config=configs/faces_age.py",
                    f"--workdir=/home/jane/{workdir.name}"],
    }  # fmt: skip
    (workdir / "config.json").write_text(json.dumps(record))
