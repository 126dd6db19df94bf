"""The figures of a run as lines of text."""

from collections.abc import Sequence
from typing import Any


def _cell(figure: dict[str, Any], scale: int, unit: str) -> str:
    if figure["mean"] is None:
        return "-"
    text = f"{scale * figure['mean']:.1f}"
    if figure["std"] is not None:
        text += f" +- {scale * figure['std']:.1f}"
    return f"{text}{unit}"


_COLUMNS = (
    ("exact", "exact", 100, " %"),
    ("majority_floor", "floor", 100, " %"),
    ("one_off", "one-off", 100, " %"),
    ("one_off_floor", "floor", 100, " %"),
    ("mae", "MAE, years", 1, ""),
    ("mae_floor", "floor", 1, ""),
    ("cs5", "CS@5", 100, " %"),
    ("cs5_floor", "floor", 100, " %"),
)


def _laid_out(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines whose columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _cells(figures: dict[str, Any], columns: Sequence[tuple[str, str, int, str]]) -> list[str]:
    return [_cell(figures[key], s, u) if key in figures else "" for key, _, s, u in columns]


def text(summary: dict[str, Any]) -> str:
    """summary.json as a table: per task, mean and deviation over the folds that are done.

    A floor is what the best constant answer scores on the same faces.
    """
    shown = [c for c in _COLUMNS if any(c[0] in figures for figures in summary["tasks"].values())]
    rows = [["", "faces", *(title for _, title, _, _ in shown)]]
    for task, figures in summary["tasks"].items():
        rows.append([task, str(figures["faces"]), *_cells(figures, shown)])
    folds = ", ".join(map(str, summary["folds"]))
    title = (
        f"{summary['data']['name']}, {summary['protocol']['name']}, test folds {folds};"
        f" labels {summary['protocol']['label_policy']}, crops {summary['protocol']['crops']}"
    )
    return "\n".join([title, *_laid_out(rows)])


def compared(comparison: dict[str, Any]) -> str:
    """A comparison's JSON as text: per question a table of the runs, then what may be said of pairs."""
    lines = [f"{comparison['dataset']['name']}, labels {comparison['label_policy']}"]
    for question in comparison["questions"]:
        answers = [
            (run["name"], run["folds"], run["tasks"][question["tasks"][run["name"]]])
            for run in comparison["runs"]
            if run["name"] in question["tasks"]
        ]
        shown = [c for c in _COLUMNS if any(c[0] in figures for _, _, figures in answers)]
        rows = [[question["name"], "folds", "faces", *(title for _, title, _, _ in shown)]]
        for name, folds, figures in answers:
            counts = [str(len(folds)), str(figures["faces"])]
            rows.append([name, *counts, *_cells(figures, shown)])
        lines += ["", *_laid_out(rows)]
        said = [said for pair in question["pairs"] for said in pair["statements"]]
        lines += [sentence["text"] for sentence in said if sentence["figure"] != "one_off"]
    missing = [
        f"{run['name']}: fold {fold} missing: {why}"
        for run in comparison["runs"]
        for fold, why in run["missing"].items()
    ]
    return "\n".join([*lines, *([""] if missing else []), *missing])
