"""report.html: what a run found, on one page that needs nothing else."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ageflax import curves, files, mistakes, published
from ageflax.errors import InputError

_WALL = 24  # faces shown per task

# key in summary.json, its name, scale, decimals and unit, the key of its floor
_FIGURES = (
    ("exact", "Exact accuracy", 100, 1, "%", "majority_floor"),
    ("one_off", "One-off accuracy", 100, 1, "%", "one_off_floor"),
    ("mae", "Mean absolute error", 1, 2, "years", None),
    ("cs5", "CS@5, within five years", 100, 1, "%", None),
    ("mae_classes", "Mean distance", 1, 2, "groups", None),
)

_POLICIES = {
    "strict": "strict: the eight labels as they stand, every other one dropped",
    "mivolo": "mivolo: stray labels mapped to groups as MiVOLO's public code does",
    "nearest": "nearest: every age to the group whose range lies nearest",
}
_PROTOCOLS = {
    "cross_validation": "five-fold cross-validation: four folds train, the fifth is tested",
    "hold_out": "hold-out: folds 0 to 2 train, 3 validates, 4 is tested",
}
_VALIDATION = {
    "subject": "whole persons held out of the training folds",
    "image_leaky": "single images held out of the training folds, persons on both sides",
    "none": "none",
}
_CROPS = {
    "center": "the centre crop",
    "ten": "ten crops (corners, centre, their mirrors), probabilities averaged",
}

Thumbnails = Callable[[Sequence[str]], dict[str, bytes]]


@dataclasses.dataclass(frozen=True)
class _Run:
    """What lies in a workdir; `results` are in the order of summary["folds"]."""

    workdir: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    results: list[dict[str, Any]]

    @property
    def folds(self) -> list[int]:
        return self.summary["folds"]

    @property
    def settings(self) -> dict[str, Any]:
        return self.config.get("config", {})

    @property
    def hold_out(self) -> bool:
        return self.summary["protocol"]["name"] == "hold_out"


def _number(value: float | None, scale: float = 1, decimals: int = 0) -> str:
    return "–" if value is None else f"{scale * value:,.{decimals}f}"


def _probability(value: float) -> str:
    """In percent, with a digit that tells even where it is tiny."""
    if value < 0.0001:
        return "< 0.01 %"
    return f"{100 * value:.{0 if value >= 0.1 else 1 if value >= 0.01 else 2}f} %"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _listed(items: Iterable[Any]) -> str:
    """A, B and C."""
    *first, last = [str(item) for item in items]
    return f"{', '.join(first)} and {last}" if first else last


def _without_folders(text: str) -> str:
    """Absolute paths cut to their last component: a page gets shared, home folders should not."""
    key, sign, value = text.partition("=") if text.startswith("-") else ("", "", text)
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(value)
        if path.is_absolute() or value.startswith("~"):
            return key + sign + path.name
    return re.sub(r"(?<![\w.:/~-])~?[\w.-]*(?:/[^/\s'\"(),\]]+)*/([^/\s'\"(),\]]+)",
                  _last_if_absolute, text)  # fmt: skip


def _last_if_absolute(match: re.Match[str]) -> str:
    return match[1] if match[0][0] in "/~" else match[0]


def _headline(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a task's table: mean, deviation, floor, and each fold."""
    rows = []
    for key, name, scale, decimals, unit, floor in _FIGURES:
        if key not in figures:
            continue
        figure = figures[key]
        mean_floor = figures.get(floor, {}).get("mean") if floor else None
        deviation = figure["std"]
        rows.append(
            {
                "name": name,
                "unit": unit,
                "mean": _number(figure["mean"], scale, decimals),
                "deviation": "" if deviation is None else _number(deviation, scale, decimals),
                "floor": _number(mean_floor, scale, decimals),
                "folds": [_number(value, scale, decimals) for value in figure["folds"]],
            }
        )
    return rows


def _published_rows(run: _Run, task: str) -> list[dict[str, str]]:
    def text(share: published.Share | None) -> str:
        if share is None:
            return "–"
        return f"{share.mean:.1f}" + (f" ± {share.deviation:.1f}" if share.deviation else "")

    return [
        {
            "method": entry.method,
            "exact": text(entry.exact),
            "one_off": text(entry.one_off),
            "source": entry.source,
        }
        for entry in published.for_dataset(run.summary["data"]["name"], task)
    ]


def _matrix(figures: dict[str, Any]) -> dict[str, Any]:
    """The pooled confusion matrix, and recall and precision per class."""
    counts, names = figures["confusion"], list(figures["per_class"])
    classes = []
    for k, name in enumerate(names):
        faces, predicted = sum(counts[k]), sum(row[k] for row in counts)
        classes.append(
            {
                "name": name,
                "faces": faces,
                "predicted": predicted,
                "recall": counts[k][k] / faces if faces else None,
                "precision": counts[k][k] / predicted if predicted else None,
                "cells": [
                    {"count": count, "share": count / faces if faces else 0.0}
                    for count in counts[k]
                ],
            }
        )
    return {"names": names, "classes": classes}


def _wall(run: _Run, task: str, thumbnails: Thumbnails | None) -> list[dict[str, Any]]:
    found = mistakes.worst(run.workdir, run.folds, task, count=_WALL)
    contents = thumbnails([mistake.key for mistake in found]) if thumbnails and found else {}
    wall = []
    for mistake in found:
        content = contents.get(mistake.key)
        wall.append(
            {
                **dataclasses.asdict(mistake),
                "probability": _probability(mistake.probability),
                "confidence": _probability(mistake.confidence),
                "picture": mistakes.picture(content) if content else None,
            }
        )
    return wall


def _notices(run: _Run) -> list[str]:
    """What a reader must know before the figures."""
    notices = []
    absent = [k for k in range(5) if k not in run.folds]
    if absent and not run.hold_out:
        done = _listed(run.folds)
        notices.append(
            f"Fold{'s' * (len(run.folds) > 1)} {done} of 5 {'are' if len(run.folds) > 1 else 'is'}"
            f" done, {_listed(absent)} {'are' if len(absent) > 1 else 'is'} not: these figures are"
            " not those of a five-fold cross-validation yet."
        )
    leaks = {r["fold"]: r["protocol"]["validation_persons_in_training"] for r in run.results}
    leaks = {fold: persons for fold, persons in leaks.items() if persons}
    if leaks:
        chosen = run.summary["protocol"]["checkpoint"] == "best"
        counts = _listed(f"{persons} in fold {fold}" for fold, persons in leaks.items())
        notices.append(
            "Validation leaks: persons it holds are in the training set too"
            f" ({counts}). Its figures are too high and say nothing about new people"
            + ("; they also chose the checkpoint that was tested." if chosen else ".")
            + " The test folds share no person with training."
        )
    unreadable = sum(result["faces"]["test_unreadable"] for result in run.results)
    if unreadable:
        notices.append(f"Test images that could not be read and are not counted: {unreadable:,}.")
    for task, figures in run.summary["tasks"].items():
        exact, floor = figures["exact"]["mean"], figures["majority_floor"]["mean"]
        if exact is not None and floor is not None and exact <= floor:
            notices.append(
                f"{task.capitalize()}: {100 * exact:.1f} % exact is no better than the best constant"
                f" answer, {100 * floor:.1f} %. This model has not learned the task."
            )
    return notices


def _validation(run: _Run) -> str:
    if run.hold_out:
        return "fold 3"
    mode = run.summary["protocol"]["validation"]
    words = _VALIDATION.get(mode, mode)
    fraction = run.settings.get("data", {}).get("validation_fraction")
    if mode == "none" or fraction is None:
        return words
    return f"{words} ({100 * fraction:g} % of the faces)"


def _checkpoint(run: _Run) -> str:
    word = run.summary["protocol"]["checkpoint"]
    words = {"last": "the last one", "best": "the best on the validation faces"}.get(word, word)
    steps = sorted({result["tested_step"] for result in run.results})
    return f"{words}; step {_listed(f'{step:,}' for step in steps)}" if steps else words


def _protocol(run: _Run) -> list[tuple[str, str]]:
    """Rows of the protocol box that hold for the whole run."""
    summary, protocol, data = run.summary, run.summary["protocol"], run.summary["data"]
    policy, crops = protocol["label_policy"], protocol["crops"]
    devices = [f"{count} × {kind}" for kind, count in run.config.get("devices", {}).items()]
    versions = [f"{name} {version}" for name, version in run.config.get("versions", {}).items()]
    return [
        ("Dataset", f"{data['name']}, {data['faces']:,} faces"),
        ("Edition", data["edition"] or "not recorded"),
        ("Fingerprint of the labels", data["fingerprint"]),
        ("Label policy", _POLICIES.get(policy, policy)),
        ("Faces left out", f"{data['without_label']:,} without a usable label, "
                           f"{data['unreadable']:,} unreadable"),
        ("Protocol", _PROTOCOLS.get(protocol["name"], protocol["name"])),
        ("Validation", _validation(run)),
        ("Input", f"stretched to {protocol['resize']} × {protocol['resize']} pixels,"
                  f" cropped to {protocol['crop']} × {protocol['crop']}"),
        ("Crops tested", _CROPS.get(crops, crops)),
        ("Checkpoint tested", _checkpoint(run)),
        ("Wall time", f"{_duration(summary['seconds'])} for {len(run.folds)} fold"
                      f"{'s' * (len(run.folds) > 1)}"),
        ("Devices", _listed(devices) if devices else "not recorded"),
        ("Versions", ", ".join(versions) or "not recorded"),
    ]  # fmt: skip


def _fold_rows(run: _Run) -> list[dict[str, str]]:
    return [
        {
            "fold": str(result["fold"]),
            "train": f"{result['faces']['train']:,}",
            "validation": f"{result['faces']['validation']:,}",
            "test": f"{result['faces']['test']:,}",
            "steps": f"{result['steps']:,}",
            "rate": _number(result["images_per_second"]),
            "time": _duration(result["seconds"]),
        }
        for result in run.results
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every key of the config as it is set on the command line, and its value."""
    rows = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((prefix + key, _without_folders(str(value))))
    return rows


def _page(run: _Run, thumbnails: Thumbnails | None) -> dict[str, Any]:
    """What the template shows, all of it text or numbers but for the drawn curves."""
    logs = {
        fold: curves.read_log(run.workdir / f"fold_{fold}" / "metrics.jsonl") for fold in run.folds
    }
    summary = run.summary
    floors = {task: f["majority_floor"]["mean"] for task, f in summary["tasks"].items()}
    name = summary["data"]["name"]
    return {
        "title": f"{_listed(summary['tasks']).capitalize()} on {name}",
        "folds": run.folds,
        "colours": {k: curves.FOLD_COLOURS[k % len(curves.FOLD_COLOURS)] for k in run.folds},
        "protocol_name": _PROTOCOLS.get(summary["protocol"]["name"], summary["protocol"]["name"]),
        "model": run.settings.get("model", {}).get("name", ""),
        "notices": _notices(run),
        "adience": name.split("/")[0] == "adience",
        "drawn_faces": name.split("/")[0] == "synthetic_faces",
        "tasks": {
            task: {
                "faces": figures["faces"],
                "rows": _headline(figures),
                "published": _published_rows(run, task),
                "matrix": _matrix(figures),
                "wall": _wall(run, task, thumbnails),
            }
            for task, figures in summary["tasks"].items()
        },
        "curves": [
            {"title": curve.title, "svg": Markup(curve.svg)}  # drawn from numbers
            for curve in curves.learning_curves(logs, floors)
        ],
        "validated": any(result["faces"]["validation"] for result in run.results),
        "protocol": _protocol(run),
        "fold_rows": _fold_rows(run),
        "command": " ".join(_without_folders(word) for word in run.config.get("command", [])),
        "config": _flat(run.settings),
        "licence": summary["data"]["licence"],
        "version": run.config.get("versions", {}).get("ageflax", ""),
    }


def write(workdir: Path, *, thumbnails: Thumbnails | None = None) -> None:
    """Writes report.html from what a run left.

    Args:
      workdir: holds config.json, summary.json and the folders of the finished folds.
      thumbnails: maps keys of faces to their encoded images; without it, the faces most wrong are
        listed without pictures.

    Raises:
      InputError: no fold is finished.
    """
    summary = files.read_json(workdir / "summary.json")
    if summary is None or not summary["folds"]:
        raise InputError(f"{workdir}: no finished fold to report")
    read = [files.read_json(workdir / f"fold_{k}" / "result.json") for k in summary["folds"]]
    run = _Run(
        workdir=workdir,
        config=files.read_json(workdir / "config.json") or {},
        summary=summary,
        results=[result for result in read if result is not None],
    )
    environment = Environment(
        loader=PackageLoader("ageflax"), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("report.html.jinja").render(_page(run, thumbnails))
    temporary = workdir / "report.html.partial"
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(workdir / "report.html")
