"""report.html: what a run found, on one page that needs nothing else."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ageflax import published
from ageflax.report import _curves as curves
from ageflax.report import _mistakes as mistakes
from ageflax.report import _provenance as provenance
from ageflax.report import _record as record
from ageflax.report import _wording as wording
from ageflax.report._record import Run

_WALL = 24  # faces shown per task

# key in summary.json, its name, scale, decimals and unit, the key of its floor
_FIGURES = (
    ("exact", "Exact accuracy", 100, 1, "%", "majority_floor"),
    ("one_off", "One-off accuracy", 100, 1, "%", "one_off_floor"),
    ("mae", "Mean absolute error", 1, 2, "years", "mae_floor"),
    ("cs5", "CS@5, within five years", 100, 1, "%", "cs5_floor"),
    ("mae_classes", "Mean distance", 1, 2, "groups", None),
)

Thumbnails = Callable[[Sequence[str]], dict[str, bytes]]


def _headline(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of a task's table: mean, deviation, floor, and each fold."""
    rows = []
    for key, name, scale, decimals, unit, floor in _FIGURES:
        if key not in figures:
            continue
        figure = figures[key]
        mean_floor = figures.get(floor, {}).get("mean") if floor else None
        deviation = "" if figure["std"] is None else wording.number(figure["std"], scale, decimals)
        rows.append(
            {
                "name": name,
                "short": key.replace("_", "-"),
                "unit": unit,
                "mean": wording.number(figure["mean"], scale, decimals),
                "deviation": deviation,
                "floor": wording.number(mean_floor, scale, decimals),
                "folds": [wording.number(value, scale, decimals) for value in figure["folds"]],
            }
        )
    return rows


def _published_rows(run: Run, task: str) -> list[dict[str, Any]]:
    """Other people's figures for the same data, each a (mean, deviation) pair of texts."""

    def pair(share: published.Share | None) -> tuple[str, str]:
        if share is None:
            return wording.number(None), ""
        deviation = "" if share.deviation is None else f"{share.deviation:.1f}"
        return f"{share.mean:.1f}", deviation

    return [
        {
            "method": entry.method,
            "shares": [pair(entry.exact), *([pair(entry.one_off)] if task != "gender" else [])],
            "source": entry.source,
        }
        for entry in published.of_task(task)
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


def _wall(run: Run, task: str, thumbnails: Thumbnails | None) -> list[dict[str, Any]]:
    found = mistakes.worst(run.workdir, run.folds, task, count=_WALL)
    contents = thumbnails([mistake.key for mistake in found]) if thumbnails and found else {}
    wall = []
    for mistake in found:
        content = contents.get(mistake.key)
        wall.append(
            {
                **dataclasses.asdict(mistake),
                "picture": mistakes.picture(content) if content else None,
            }
        )
    return wall


def _page(run: Run, thumbnails: Thumbnails | None) -> dict[str, Any]:
    """What the template shows, all of it text or numbers but for the drawn curves."""
    logs = {
        fold: curves.read_log(run.workdir / f"fold_{fold}" / "metrics.jsonl") for fold in run.folds
    }
    summary = run.summary
    floors = {task: f["majority_floor"]["mean"] for task, f in summary["tasks"].items()}
    data = summary["data"]
    name, policy = data["name"], summary["protocol"]["label_policy"]
    comparable = published.comparable(name, data["edition"], policy)
    tasks = {
        task: {
            "faces": figures["faces"],
            "rows": _headline(figures),
            "published": _published_rows(run, task) if comparable else [],
            "matrix": _matrix(figures),
            "wall": _wall(run, task, thumbnails),
        }
        for task, figures in summary["tasks"].items()
    }
    return {
        "title": f"{wording.listed(summary['tasks']).capitalize()} on {name}",
        "folds": run.folds,
        "colours": {k: curves.FOLD_COLOURS[k % len(curves.FOLD_COLOURS)] for k in run.folds},
        "protocol_name": provenance.protocol_name(run),
        "model": run.settings.get("model", {}).get("name", ""),
        "notices": provenance.notices(run),
        "comparable": comparable,
        "drawn_faces": name.split("/")[0] == "synthetic_faces",
        "tasks": tasks,
        "crops": {"ten": "over-sample", "mirror": "centre crop and mirror"}.get(
            summary["protocol"]["crops"], "centre crop"
        ),
        "pictures": any(face["picture"] for part in tasks.values() for face in part["wall"]),
        "curves": [
            {"title": curve.title, "svg": Markup(curve.svg)}  # drawn from numbers
            for curve in curves.learning_curves(logs, floors)
        ],
        "validated": any(result["faces"]["validation"] for result in run.results),
        "protocol": provenance.protocol(run),
        "fold_rows": provenance.fold_rows(run),
        "command": provenance.command(run),
        "config": provenance.settings(run.settings),
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
    run = record.read(workdir)
    environment = Environment(
        loader=PackageLoader("ageflax"), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("report.html.jinja").render(_page(run, thumbnails))
    temporary = workdir / f"report.html.{os.getpid()}.partial"  # folds may end at once
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(workdir / "report.html")
