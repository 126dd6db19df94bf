"""The figures of a run as lines of text."""

from typing import Any


def _mean(figure: dict[str, Any], scale: float, *, deviation: bool) -> str:
    if figure["mean"] is None:
        return "-"
    text = f"{scale * figure['mean']:.1f}"
    if deviation and figure["std"] is not None:
        text += f" +- {scale * figure['std']:.1f}"
    return text


def _interval(ends: list[float | None] | None, scale: float) -> str:
    if not ends or ends[0] is None or ends[1] is None:
        return "-"
    return f"[{scale * ends[0]:.1f}, {scale * ends[1]:.1f}]"


# key in summary.json, title, what it is multiplied with, key of its interval and of its floor
_COLUMNS = (
    ("exact", "exact, %", 100.0, True, "majority_floor"),
    ("one_off", "one-off, %", 100.0, False, "one_off_floor"),
    ("mae", "MAE, years", 1.0, True, "mae_floor"),
    ("cs5", "CS@5, %", 100.0, False, "cs5_floor"),
)


def _cells(figures: dict[str, Any], column: tuple[str, str, float, bool, str]) -> list[str]:
    """A figure, its interval where one is shown, and its floor."""
    key, _, scale, with_interval, floor = column
    if key not in figures:
        return [""] * (3 if with_interval else 2)
    cells = [_mean(figures[key], scale, deviation=True)]
    if with_interval:
        cells.append(_interval(figures.get("intervals", {}).get(key), scale))
    return [*cells, _mean(figures[floor], scale, deviation=False)]


def text(summary: dict[str, Any]) -> str:
    """summary.json as a table, at most 120 columns wide.

    Per task mean and deviation over the folds that are done, the interval by person over all their
    faces, and the floor: what the best constant answer scores on the same faces.
    """
    shown = [c for c in _COLUMNS if any(c[0] in figures for figures in summary["tasks"].values())]
    header = ["", "faces"]
    for _, title, _, with_interval, _ in shown:
        header += [title, "95 %", "floor"] if with_interval else [title, "floor"]
    rows = [header]
    for task, figures in summary["tasks"].items():
        cells = [cell for column in shown for cell in _cells(figures, column)]
        rows.append([task, str(figures["faces"]), *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    folds, rules = ", ".join(map(str, summary["folds"])), summary["protocol"]
    title = (
        f"{summary['data']['name']}, {rules['name']}, test folds {folds};"
        f" labels {rules['label_policy']}, crops {rules['crops']}; 95 % intervals by person"
    )
    return "\n".join([title, *lines])
