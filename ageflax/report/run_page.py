"""report.html: one run's figures on one self-contained page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ageflax.metrics import conformal
from ageflax.report import (
    breakdown,
    curves,
    mistakes,
    of_age,
    provenance,
    published,
    reliability,
    run_folder,
    wording,
)
from ageflax.report import figures as tables
from ageflax.report.rendering import render
from ageflax.report.run_folder import Run

_WALL = 24  # faces shown per task

Thumbnails = Callable[[Sequence[str]], dict[str, bytes]]


def _reliability(run: Run, task: str, calibration: dict[str, Any] | None) -> dict[str, Any] | None:
    if not calibration:
        return None
    folds = [result["tasks"].get(task, {}).get("calibration") or {} for result in run.results]
    title = f"Reliability of {task}: share of right predictions by probability"
    return {
        "diagram": reliability.diagram(calibration, name=f"bins-{task}", title=title),
        "words": reliability.words(calibration, folds),
        "bins": [held for held in calibration["bins"] if held["faces"]],
    }


def _task(
    run: Run, task: str, thumbnails: Thumbnails | None, *, comparable: bool
) -> dict[str, Any]:
    """Contents of one task's sections."""
    figures = run.summary["tasks"][task]
    years = figures.get("years") or {}
    wall = mistakes.worst(run.workdir, run.folds, task, count=_WALL)
    contents = thumbnails([face.key for face in wall]) if thumbnails and wall else {}
    return {
        "figures": figures,
        "columns": tables.known(figures),
        "intervals": figures.get("intervals") or {},
        "published": published.of_task(task) if comparable else (),
        "matrix": tables.matrix(figures),
        "reliability": _reliability(run, task, figures.get("calibration")),
        "breakdowns": breakdown.tables(figures),
        "lives": breakdown.lives(years),
        "cumulative": breakdown.cumulative(years, name=f"within-{task}"),
        "within": breakdown.within(years),
        "adulthood": breakdown.adulthood(years),
        "age_interval": conformal.table(spans) if (spans := figures.get("age_interval")) else [],
        "of_age": of_age.section(figures, name=f"of-age-{task}"),
        "wall": [(face, mistakes.picture(contents.get(face.key))) for face in wall],
    }


def _page(run: Run, thumbnails: Thumbnails | None) -> dict[str, Any]:
    """Values of the template."""
    data, rules = run.summary["data"], run.summary["protocol"]
    folders = [run.workdir / f"fold_{fold}" for fold in run.folds]
    logs = [
        curves.Log(fold, curves.read_log(folder / "metrics.jsonl"))
        for fold, folder in zip(run.folds, folders, strict=True)
    ]
    floors = {task: f["majority_floor"]["mean"] for task, f in run.summary["tasks"].items()}
    comparable = published.comparable(data["name"], data["edition"], rules["label_policy"])
    tasks = {
        task: _task(run, task, thumbnails, comparable=comparable) for task in run.summary["tasks"]
    }
    return {
        "title": f"{wording.listed(tasks).capitalize()} on {data['name']}",
        "folds": run.folds,
        "marks": [(fold, f"fold {fold}") for fold in run.folds],
        "results": run.results,
        "protocol_name": provenance.protocol_name(run),
        "model": run.settings.get("model", {}).get("name", ""),
        "notices": provenance.notices(run),
        "comparable": comparable,
        # The same for tasks with the same subjects.
        "interval_words": dict.fromkeys(
            tables.interval_words(part["intervals"], data)
            for part in tasks.values()
            if part["intervals"]
        ),
        "drawn_faces": data["name"].split("/")[0] == "synthetic_faces",
        "tasks": tasks,
        "crops": {
            "ten": "over-sample",
            "mirror": "centre crop and mirror",
            "scales": "three scales and mirrors",
        }.get(rules["crops"], "centre crop"),
        "predictions": any((folder / "predictions.csv").is_file() for folder in folders),
        "pictures": any(picture for part in tasks.values() for _, picture in part["wall"]),
        "curves": curves.learning_curves(logs, floors),
        "validated": any(result["faces"]["validation"] for result in run.results),
        "protocol": provenance.protocol(run),
        "command": provenance.command(run),
        "config": run_folder.flat(run.settings),
        "drawn_by": wording.drawn_by(data),
        "licence": data["licence"],
        "version": run.config.get("versions", {}).get("ageflax", ""),
    }


def write(workdir: Path, *, thumbnails: Thumbnails | None = None) -> None:
    """Writes report.html into a run's workdir.

    Sections without figures, as in a summary.json from an older version, are left out.

    Args:
      workdir: folder with config.json, summary.json and the folders of the finished folds.
      thumbnails: maps keys of faces to their encoded images; None lists the worst mistakes without
        pictures.

    Raises:
      InputError: no fold is finished, or a file of the run is damaged.
    """
    with run_folder.damage_reported(workdir):
        run = run_folder.read(workdir)
        render("report.html.jinja", workdir / "report.html", _page(run, thumbnails))
