"""report.html: what a run found, on one page that needs nothing else."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ageflax.report import breakdown as breakdown
from ageflax.report import curves as curves
from ageflax.report import figures as tables
from ageflax.report import mistakes as mistakes
from ageflax.report import provenance as provenance
from ageflax.report import published, run_folder
from ageflax.report import reliability as reliability
from ageflax.report import svg as svg
from ageflax.report import wording as wording
from ageflax.report.run_folder import Run
from ageflax.runtime import files

_WALL = 24  # faces shown per task

Thumbnails = Callable[[Sequence[str]], dict[str, bytes]]


def panel(drawing: svg.Drawing | None) -> dict[str, Any] | None:
    """A drawing for a template: drawn from numbers, so that it needs no escaping."""
    return drawing and {"title": drawing.title, "svg": Markup(drawing.svg)}  # noqa: S704


def mark(place: int, name: str) -> dict[str, Any]:
    """An entry of the legend."""
    return {"name": name, "sample": Markup(svg.sample(place))}  # noqa: S704 - as a panel


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


def _reliability(run: Run, task: str, figures: dict[str, Any]) -> dict[str, Any] | None:
    calibration = figures.get("calibration")
    if not calibration:
        return None
    folds = [result["tasks"].get(task, {}).get("calibration") or {} for result in run.results]
    title = f"Reliability of {task}: share of guesses that is right, by their probability"
    return {
        "diagram": panel(reliability.diagram(calibration, name=f"bins-{task}", title=title)),
        "words": reliability.words(calibration, folds),
        "rows": reliability.rows(calibration),
    }


def _task(run: Run, task: str, thumbnails: Thumbnails | None, *, comparable: bool) -> dict:
    """One task's sections."""
    figures = run.summary["tasks"][task]
    years, rows = figures.get("years") or {}, tables.headline(figures)
    groups = [
        breakdown.table("age group" if name == "age" else name, grouped)
        for name, grouped in (figures.get("groups") or {}).items()
    ]
    shown = [table for table in [*groups, breakdown.bands(years)] if table]
    published_rows = tables.published_rows(task) if comparable else []
    title = "Share of faces whose estimate is within so many years"
    predictions = any((run.workdir / f"fold_{k}" / "predictions.csv").is_file() for k in run.folds)
    return {
        "faces": figures["faces"],
        "rows": rows,
        "interval": tables.interval_note(figures),
        "own": [(row["mean"], row["deviation"]) for row in rows[: 1 if task == "gender" else 2]],
        "published": published_rows,
        "matrix": tables.matrix(figures),
        "reliability": _reliability(run, task, figures),
        "breakdowns": shown,
        "lives": breakdown.lives(years),
        "cumulative": panel(breakdown.cumulative(years, name=f"within-{task}", title=title)),
        "within": breakdown.within(years),
        "adulthood": breakdown.adulthood(years),
        "wall": _wall(run, task, thumbnails),
        "right": "every labelled test face was classified right"
        if predictions
        else "the run left no predictions.csv",
    }


def _page(run: Run, thumbnails: Thumbnails | None) -> dict[str, Any]:
    """What the template shows, all of it text or numbers but for what is drawn."""
    summary = run.summary
    logs = [
        curves.Log(fold, curves.read_log(run.workdir / f"fold_{fold}" / "metrics.jsonl"))
        for fold in run.folds
    ]
    floors = {task: f["majority_floor"]["mean"] for task, f in summary["tasks"].items()}
    data = summary["data"]
    name, policy = data["name"], summary["protocol"]["label_policy"]
    comparable = published.comparable(name, data["edition"], policy)
    tasks = {task: _task(run, task, thumbnails, comparable=comparable) for task in summary["tasks"]}
    return {
        "title": f"{wording.listed(summary['tasks']).capitalize()} on {name}",
        "folds": run.folds,
        "marks": [mark(fold, f"fold {fold}") for fold in run.folds],
        "protocol_name": provenance.protocol_name(run),
        "model": run.settings.get("model", {}).get("name", ""),
        "notices": provenance.notices(run),
        "comparable": comparable,
        # Of the same persons they are the same words.
        "interval_words": list(
            dict.fromkeys(part["interval"]["words"] for part in tasks.values() if part["interval"])
        ),
        "drawn_faces": name.split("/")[0] == "synthetic_faces",
        "tasks": tasks,
        "crops": {"ten": "over-sample", "mirror": "centre crop and mirror"}.get(
            summary["protocol"]["crops"], "centre crop"
        ),
        "pictures": any(face["picture"] for part in tasks.values() for face in part["wall"]),
        "curves": [panel(drawing) for drawing in curves.learning_curves(logs, floors)],
        "validated": any(result["faces"]["validation"] for result in run.results),
        "protocol": provenance.protocol(run),
        "fold_rows": provenance.fold_rows(run),
        "command": provenance.command(run),
        "config": provenance.settings(run.settings),
        "licence": summary["data"]["licence"],
        "version": run.config.get("versions", {}).get("ageflax", ""),
    }


def render(template: str, path: Path, values: dict[str, Any]) -> None:
    """Writes a page so that it is there whole or not at all."""
    environment = Environment(
        loader=PackageLoader("ageflax.report"), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template(template).render(values)
    with files.replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def write(workdir: Path, *, thumbnails: Thumbnails | None = None) -> None:
    """Writes report.html from what a run left.

    Sections whose figures summary.json lacks, being of an older version, are left out.

    Args:
      workdir: holds config.json, summary.json and the folders of the finished folds.
      thumbnails: maps keys of faces to their encoded images; without it, the faces most wrong are
        listed without pictures.

    Raises:
      InputError: no fold is finished, or the record is damaged.
    """
    with run_folder.believed(workdir):
        run = run_folder.read(workdir)
        render("report.html.jinja", workdir / "report.html", _page(run, thumbnails))
