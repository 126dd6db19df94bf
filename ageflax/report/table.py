"""Figures as lines of text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from ageflax.metrics import conformal
from ageflax.metrics.of_age import table as rates
from ageflax.report import wording
from ageflax.report.figures import EXACT, MAE, Figure, known


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def columns(*tasks: Mapping[str, Any]) -> list[Figure]:
    """Figures to show: those that any of the tasks has and that have a floor."""
    return [figure for figure in known(*tasks) if figure.floor]


def heading(figure: Figure) -> str:
    """A column's heading, such as "exact, %"."""
    return f"{figure.short}, {figure.unit}"


def mean(figure: Mapping[str, Any] | None, scale: int) -> str:
    """Mean and std over folds; a dash for none."""
    if figure is None or figure["mean"] is None:
        return "-"
    std = "" if figure["std"] is None else f" +- {scale * figure['std']:.1f}"
    return f"{scale * figure['mean']:.1f}{std}"


def interval(ends: Sequence[float | None] | None, scale: int) -> str:
    """An interval in brackets; a dash for none."""
    low, high = ends or (None, None)
    if low is None or high is None:
        return "-"
    return f"[{scale * low:.1f}, {scale * high:.1f}]"


def _cells(figures: Mapping[str, Any], figure: Figure) -> list[str]:
    """Mean, interval (of exact and MAE alone, to save width) and floor."""
    if figure.key not in figures:
        return [""] * (3 if figure in (EXACT, MAE) else 2)
    cells = [mean(figures[figure.key], figure.scale)]
    if figure in (EXACT, MAE):
        cells.append(interval(figures.get("intervals", {}).get(figure.key), figure.scale))
    return [*cells, mean({**figures[figure.floor or ""], "std": None}, figure.scale)]


def age_intervals(tasks: Mapping[str, Any]) -> list[str]:
    """Lines on how often calibrated intervals hold the age, per task that has them; else none.

    Args:
      tasks: figures per task.
    """
    lines = []
    for figures in tasks.values():
        if figures.get("age_interval"):
            lines += ["", *aligned(conformal.table(figures["age_interval"]))]
    return lines


def of_age(tasks: Mapping[str, Any]) -> list[str]:
    """Lines on who passes as of age, per task that tells it; none without a known age.

    Args:
      tasks: figures per task.
    """
    lines = []
    for figures in tasks.values():
        if (figures.get("of_age") or {}).get("groups"):
            lines += ["", "Rules that pass a face as of age, or challenge it; no proof of age"]
            lines += aligned(rates(figures["of_age"]))
    return lines


def text(summary: dict[str, Any]) -> str:
    """Formats summary.json as a table of at most 120 columns.

    Shows per task the mean and std over the finished folds, the interval over all their faces, and
    the floor, which is the score of the best constant answer on the same faces.
    """
    shown = columns(*summary["tasks"].values())
    header = ["", "faces"]
    for figure in shown:
        header += [heading(figure), *(["95 %"] if figure in (EXACT, MAE) else []), "floor"]
    rows = [header]
    for task, figures in summary["tasks"].items():
        cells = [cell for figure in shown for cell in _cells(figures, figure)]
        rows.append([task, str(figures["faces"]), *cells])
    folds, rules = ", ".join(map(str, summary["folds"])), summary["protocol"]
    title = (
        f"{summary['data']['name']}, {rules['name']}, test folds {folds};"
        f" labels {rules['label_policy']}, crops {rules['crops']};"
        f" 95 % intervals by {wording.drawn_by(summary['data'])}"
    )
    return "\n".join([title, *aligned(rows)])
