"""A comparison as lines of text."""

from collections.abc import Mapping, Sequence
from typing import Any

# key in summary.json, title, what it is multiplied with, and key of its floor
_COLUMNS = (
    ("exact", "exact, %", 100, "majority_floor"),
    ("one_off", "one-off, %", 100, "one_off_floor"),
    ("mae", "MAE, years", 1, "mae_floor"),
    ("cs5", "CS@5, %", 100, "cs5_floor"),
)


def _cell(figures: Mapping[str, Any], key: str, scale: int) -> str:
    """Mean, deviation and interval, as far as they are there."""
    figure = figures.get(key)
    if figure is None or figure["mean"] is None:
        return "-"
    text = f"{scale * figure['mean']:.1f}"
    if figure["std"] is not None:
        text += f" +- {scale * figure['std']:.1f}"
    low, high = (figures.get("intervals") or {}).get(key) or (None, None)
    if low is not None and high is not None:
        text += f" [{scale * low:.1f}, {scale * high:.1f}]"
    return text


def _question(question: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The runs' figures, what the best constant answer scores, and what may be said of pairs."""
    tasks = question["tasks"]
    asked = [run for run in runs if run["name"] in tasks]
    answers = [run["tasks"][tasks[run["name"]]] for run in asked]
    shown = [c for c in _COLUMNS if any(c[0] in figures for figures in answers)]
    rows = [[question["name"], "folds", "faces", *(title for _, title, _, _ in shown)]]
    for run, figures in zip(asked, answers, strict=True):
        cells = [_cell(figures, key, scale) for key, _, scale, _ in shown]
        rows.append([run["name"], str(len(run["folds"])), str(figures["faces"]), *cells])
    floors = [_cell(answers[0], floor, scale) for _, _, scale, floor in shown]
    rows.append(["best constant answer", "", "", *floors])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    said = [said for pair in question["pairs"] for said in pair["statements"]]
    return [*lines, *(sentence["text"] for sentence in said if sentence["figure"] != "one_off")]


def text(comparison: Mapping[str, Any]) -> str:
    """What `compare` gives as text.

    Per question the runs' figures (mean and deviation over folds, 95 % interval by person), a sentence
    or two a pair, and at last the folds that are missing, with why.
    """
    lines = [
        f"{comparison['dataset']['name']}, labels {comparison['label_policy']};"
        " +- deviation over folds, [95 % interval by person]"
    ]
    for question in comparison["questions"]:
        lines += ["", *_question(question, comparison["runs"])]
    missing = [
        f"{run['name']}: fold {fold} missing: {why}"
        for run in comparison["runs"]
        for fold, why in run["missing"].items()
    ]
    return "\n".join([*lines, *([""] if missing else []), *missing])
