"""A comparison's page: several runs over the same faces, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ageflax.report import curves as curves
from ageflax.report import figures as tables
from ageflax.report import provenance as provenance
from ageflax.report import run_page as pages
from ageflax.report import wording as wording
from ageflax.report.comparison import side_by_side as side_by_side

# Headings of columns, by key in summary.json.
_SHORT = {"exact": "exact %", "one_off": "one-off %", "mae": "MAE, years", "cs5": "CS@5 %",
          "mae_classes": "distance, groups"}  # fmt: skip

Comparison = Mapping[str, Any]


def _figure(run: Mapping[str, Any], task: str, key: str, scale: int, decimals: int) -> dict:
    """One cell: mean, deviation and interval as text."""
    figures = run["tasks"].get(task, {})
    figure = figures.get(key, {})
    intervals = figures.get("intervals") or {}
    return {
        "mean": wording.number(figure.get("mean"), scale, decimals),
        "deviation": wording.number(figure.get("std"), scale, decimals),
        "interval": wording.interval(intervals.get(key), scale, decimals),
    }


def _columns(runs: Sequence[Mapping[str, Any]], tasks: Mapping[str, str]) -> list[tuple]:
    """Of tables.FIGURES, those that a run has."""
    return [
        column
        for column in tables.FIGURES
        if any(column[0] in run["tasks"].get(tasks.get(run["name"], ""), {}) for run in runs)
    ]


def _rows(runs: Sequence[Mapping[str, Any]], tasks: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row a run; one without the task has dashes."""
    columns = _columns(runs, tasks)
    rows = []
    for run in runs:
        task = tasks.get(run["name"], "")
        faces = run["tasks"].get(task, {}).get("faces")
        rows.append(
            {
                "name": run["name"],
                "task": task,
                "faces": wording.number(faces),
                "folds": str(len(run["folds"])) if task else "–",
                "cells": [_figure(run, task, c[0], c[2], c[3]) for c in columns],
            }
        )
    return rows


def _difference(entry: Mapping[str, Any] | None, scale: int, decimals: int) -> dict[str, str]:
    """One pair's difference in one figure as text."""
    if entry is None or entry["difference"] is None:
        return {"difference": "–", "interval": "–", "p": "–", "holm": "–"}
    value = round(scale * entry["difference"], decimals) + 0.0
    return {
        "difference": f"{value:+.{decimals}f}",
        "interval": wording.interval(entry["interval"], scale, decimals),
        "p": _p(entry.get("mcnemar_p")),
        "holm": _p(entry.get("holm_p")),
    }


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _forest(pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, str] | None]:
    """Each pair's interval in exact accuracy as places on an axis that they share, in percent."""
    found = [pair.get("exact") for pair in pairs]
    ends = [
        abs(end)
        for entry in found
        if entry and entry["interval"][0] is not None
        for end in (*entry["interval"], entry["difference"])
    ]
    reach = max(ends, default=0.0) or 1.0

    def place(value: float) -> float:
        return 50 + 48 * value / reach

    drawn: list[dict[str, str] | None] = []
    for entry in found:
        if entry is None or entry["interval"][0] is None:
            drawn.append(None)
            continue
        low, high = entry["interval"]
        drawn.append(
            {
                "left": f"{place(low):.1f}",
                "width": f"{place(high) - place(low):.1f}",
                "point": f"{place(entry['difference']):.1f}",
            }
        )
    return drawn


def _pairs(question: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for pair, drawn in zip(question["pairs"], _forest(question["pairs"]), strict=True):
        exact = pair.get("exact", {})
        rows.append(
            {
                "first": pair["first"],
                "second": pair["second"],
                "faces": wording.number(pair["faces"]),
                "exact": _difference(pair.get("exact"), 100, 1),
                "one_off": _difference(pair.get("one_off"), 100, 1),
                "mae": _difference(pair.get("mae"), 1, 2),
                "only_first": wording.number(exact.get("only_first")),
                "only_second": wording.number(exact.get("only_second")),
                "forest": drawn,
            }
        )
    return rows


def _left_out(question: Mapping[str, Any]) -> list[str]:
    """Of a comparison over common faces, what each pair leaves out."""
    said = []
    for pair in question["pairs"]:
        counts = pair.get("left_out")
        if counts and any(counts.values()):
            said.append(
                f"{pair['first']} and {pair['second']}: left out are"
                f" {wording.counted(counts['only_in_first'], 'face')} that only the first has,"
                f" {counts['only_in_second']:,} that only the second has, and"
                f" {counts['labelled_differently']:,} labelled differently."
            )
    return said


def _logs(
    runs: Sequence[Mapping[str, Any]], workdirs: Sequence[Path], tasks: Mapping[str, str], name: str
) -> list[curves.Log]:
    """All folds' logs, a task that answers under another name renamed to the question."""
    logs = []
    for place, (run, workdir) in enumerate(zip(runs, workdirs, strict=True)):
        task = tasks.get(run["name"])
        if task is None:
            continue
        for fold in run["folds"]:
            records = curves.read_log(workdir / f"fold_{fold}" / "metrics.jsonl")
            renamed = [
                {k.replace(f"validation_{task}_", f"validation_{name}_"): v for k, v in r.items()}
                for r in records
            ]
            logs.append(curves.Log(place, renamed))
    return logs


def _curves(comparison: Comparison, workdirs: Sequence[Path]) -> list[Any]:
    """Validation figures of every question, then the training loss where all learn by one."""
    runs = comparison["runs"]
    found = []
    for question in comparison["questions"]:
        name, tasks = question["name"], question["tasks"]
        floors = [
            run["tasks"][tasks[run["name"]]]["majority_floor"]["mean"]
            for run in runs
            if run["name"] in tasks
        ]
        logs = _logs(runs, workdirs, tasks, name)
        found += curves.learning_curves(logs, {name: floors[0]}, loss=False)
    same_loss = not any(
        key == "task" or key.startswith("loss.") for key in comparison["differences"]
    )
    if same_loss:
        everything = _logs(runs, workdirs, {run["name"]: "" for run in runs}, "")
        found += curves.learning_curves(everything, {}, loss=True)
    return [pages.panel(drawing) for drawing in found]


def _question(comparison: Comparison, question: Mapping[str, Any]) -> dict[str, Any]:
    runs, name, tasks = comparison["runs"], question["name"], question["tasks"]
    columns = _columns(runs, tasks)
    rows = _rows(runs, tasks)
    shares = [k for k, column in enumerate(columns) if column[0] in ("exact", "one_off")]
    own = [
        {
            "method": f"{row['name']}, {wording.counted(int(row['folds']), 'fold')}",
            "shares": [
                (row["cells"][k]["mean"], row["cells"][k]["deviation"].replace("–", ""))
                for k in shares
            ],
        }
        for row in rows
        if row["task"]
    ]
    return {
        "title": {"age": "Age groups", "years": "Age in years", "gender": "Gender"}[name],
        "mixed": len(set(tasks.values())) > 1,
        "columns": [_SHORT[c[0]] for c in columns],
        "rows": rows,
        "published": tables.published_rows(name) if question["published"] else [],
        "own": own,
        "share_names": [columns[k][0].replace("_", "-") for k in shares],
        "pairs": _pairs(question),
        "has": {
            key: any(pair.get(key, {}).get("difference") is not None for pair in question["pairs"])
            for key in ("exact", "one_off", "mae")
        },
        # One-off stands in the table: two sentences a pair are enough.
        "statements": [
            said
            for pair in question["pairs"]
            for said in pair["statements"]
            if said["figure"] != "one_off"
        ],
        "left_out": _left_out(question),
        "groups": side_by_side.tables(runs, tasks),
    }


def _notices(comparison: Comparison) -> list[str]:
    """What a reader must know before the figures: missing folds and why, leaks, other crops."""
    said = []
    for run in comparison["runs"]:
        reasons: dict[str, list[str]] = {}
        for fold, why in run["missing"].items():
            reasons.setdefault(why, []).append(fold)
        for why, folds in reasons.items():
            said.append(
                f"{run['name']}: {'fold' if len(folds) == 1 else 'folds'} {wording.listed(folds)}"
                f" missing: {wording.without_folders(why)}"
            )
        if run.get("leaks"):
            chosen = run["protocol"]["checkpoint"] == "best"
            said.append(
                f"{run['name']}: validation leaks, its faces show persons of the training set"
                f"{', and it chose the checkpoint that was tested' if chosen else ''}."
            )
    crops = {run["name"]: run["protocol"]["crops"] for run in comparison["runs"] if run["folds"]}
    if len(set(crops.values())) > 1:
        each = wording.listed(f"{name} {word}" for name, word in crops.items())
        said.append(f"The runs average over other test crops: {each}.")
    return said


def _run_rows(comparison: Comparison) -> list[dict[str, str]]:
    rows = []
    for run in comparison["runs"]:
        devices = [f"{count} × {kind}" for kind, count in run["devices"].items()]
        count = run["parameters"]
        rows.append(
            {
                "name": run["name"],
                "model": run["model"] or "–",
                "parameters": "–" if count is None else _millions(count),
                "weights": wording.without_folders(run["weights"] or "drawn at random")
                if run["model"]
                else "–",
                "folds": f"{len(run['folds'])} of {len(run['folds']) + len(run['missing'])}",
                "steps": wording.listed(f"{n:,}" for n in run["steps"]) if run["folds"] else "–",
                "rate": wording.number(run.get("images_per_second")),
                "time": wording.duration(run.get("seconds")),
                "devices": wording.listed(devices) if devices else "–",
            }
        )
    return rows


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 100_000 else f"{count:,}"


def _setting(value: Any) -> str:
    return "–" if value is None else wording.without_folders(str(value)) or '""'


def write(comparison: Comparison, workdirs: Sequence[Path], path: Path) -> None:
    """Writes a comparison as one self-contained page.

    Args:
      comparison: what ageflax.report.comparison.compare gives.
      workdirs: of its runs, in the same order; their logs are drawn.
      path: of the page.
    """
    names = [run["name"] for run in comparison["runs"]]
    finished = [run for run in comparison["runs"] if run["folds"]]
    pairs = max((len(question["pairs"]) for question in comparison["questions"]), default=0)
    values = {
        "title": f"{wording.listed(names)} on {comparison['dataset']['name']}",
        "names": names,
        "protocol": provenance.policy_name(comparison["label_policy"]),
        "notices": _notices(comparison),
        "runs": _run_rows(comparison),
        "questions": [_question(comparison, question) for question in comparison["questions"]],
        "comparable": comparison["comparable"],
        "common": comparison["common"],
        "several": pairs > 1,
        "marks": [
            pages.mark(place, run["name"])
            for place, run in enumerate(comparison["runs"])
            if run["folds"]
        ],
        "curves": _curves(comparison, workdirs),
        "differences": [
            (key, [_setting(value) for value in row])
            for key, row in comparison["differences"].items()
        ],
        "licence": comparison["dataset"]["licence"],
        "pictures": False,
        "version": finished[0]["versions"].get("ageflax", ""),
    }
    pages.render("comparison.html.jinja", path, values)
