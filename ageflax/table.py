"""The figures of a run as lines of text."""

from typing import Any


def _cell(figure: dict[str, Any], scale: float, unit: str) -> str:
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


def text(summary: dict[str, Any]) -> str:
    """summary.json as a table: per task, mean and deviation over the folds that are done.

    A floor is what the best constant answer scores on the same faces.
    """
    shown = [c for c in _COLUMNS if any(c[0] in figures for figures in summary["tasks"].values())]
    rows = [["", "faces", *(title for _, title, _, _ in shown)]]
    for task, figures in summary["tasks"].items():
        cells = [_cell(figures[k], s, u) if k in figures else "" for k, _, s, u in shown]
        rows.append([task, str(figures["faces"]), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    folds = ", ".join(map(str, summary["folds"]))
    title = (
        f"{summary['data']['name']}, {summary['protocol']['name']}, test folds {folds};"
        f" labels {summary['protocol']['label_policy']}, crops {summary['protocol']['crops']}"
    )
    return "\n".join([title, *lines])
