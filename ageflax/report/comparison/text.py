"""A comparison as lines of text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from ageflax.report import table, wording
from ageflax.report.figures import Figure


def _cell(figures: Mapping[str, Any], figure: Figure) -> str:
    """Mean, std and interval, as far as known."""
    mean = table.mean(figures.get(figure.key), figure.scale)
    ends = (figures.get("intervals") or {}).get(figure.key)
    interval = "-" if mean == "-" else table.interval(ends, figure.scale)
    return mean if interval == "-" else f"{mean} {interval}"


def _question(question: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The runs' figures, the best constant answer's, and statements about pairs."""
    tasks = question["tasks"]
    asked = [run for run in runs if run["name"] in tasks]
    answers = [run["tasks"][tasks[run["name"]]] for run in asked]
    shown = table.columns(*answers)
    rows = [[question["name"], "folds", "faces", *map(table.heading, shown)]]
    for run, figures in zip(asked, answers, strict=True):
        cells = [_cell(figures, figure) for figure in shown]
        rows.append([run["name"], str(len(run["folds"])), str(figures["faces"]), *cells])
    floors = [_cell({f.key: answers[0].get(f.floor or "")}, f) for f in shown]
    rows.append(["best constant answer", "", "", *floors])
    said = [said for pair in question["pairs"] for said in pair["statements"]]
    return [
        *table.aligned(rows),
        *(sentence["text"] for sentence in said if sentence["figure"] != "one_off"),
    ]


def text(comparison: Mapping[str, Any]) -> str:
    """Formats the result of `compare`.

    Shows per question the runs' figures (mean and std over folds, 95 % interval) and a
    sentence or two per pair; last come missing folds with their reasons.
    """
    lines = [
        f"{comparison['dataset']['name']}, labels {comparison['label_policy']};"
        f" +- std over folds, [95 % interval by {wording.drawn_by(comparison['dataset'])}]"
    ]
    for question in comparison["questions"]:
        lines += ["", *_question(question, comparison["runs"])]
    missing = [
        f"{run['name']}: fold {fold} missing: {why}"
        for run in comparison["runs"]
        for fold, why in run["missing"].items()
    ]
    return "\n".join([*lines, *([""] if missing else []), *missing])
