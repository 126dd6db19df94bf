"""Learning curves of all folds as SVG that sits in a page: its ink is the page's, light or dark."""

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# One colour a fold; each stands out on white as on near-black.
FOLD_COLOURS = ("#3b82d6", "#c9731f", "#2f9e68", "#a66bd4", "#d9534f")

# Points drawn of one curve at most; more become means of neighbours, which a page this wide cannot
# tell apart, and which calm the training loss.
_POINTS = 200
# Matplotlib knows no currentColor; a colour that nothing else has stands for it.
_INK = "#010203"


@dataclasses.dataclass(frozen=True)
class Curve:
    """One panel: `svg` is an <svg> element."""

    title: str
    svg: str


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl that are whole; one cut short by a kill is left out."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and "step" in record:
            records.append(record)
    return records


def _points(log: Sequence[dict[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one column, thinned to _POINTS means."""
    found = [
        (float(record["step"]), float(record[key]))
        for record in log
        if isinstance(record.get(key), int | float) and math.isfinite(record[key])
    ]
    size = -(-len(found) // _POINTS)
    pieces = [found[k : k + size] for k in range(0, len(found), max(size, 1))]
    steps = [sum(step for step, _ in piece) / len(piece) for piece in pieces]
    return steps, [sum(value for _, value in piece) / len(piece) for piece in pieces]


def _element(drawn: str, name: str, title: str) -> str:
    """Matplotlib's file as an element: no prologue or size, the page's ink, ids of its own."""
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"\s*<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r"<!--.*?-->\n?", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r' (?:width|height)="[\d.]+pt"', "", drawn, count=2)
    drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", drawn)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    drawn = drawn.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return drawn.replace(_INK, "currentColor")


def _draw(
    lines: dict[int, tuple[list[float], list[float]]],
    *,
    name: str,
    title: str,
    share: bool,
    floor: float | None,
) -> Curve:
    """One panel; `lines` are steps and values per fold, shares of one where `share`."""
    # Half a second to import, and only this page draws.
    import io

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

    style: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "ageflax", "font.family": "sans-serif",
        "font.size": 11, "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": _INK,
        "xtick.color": _INK, "ytick.color": _INK, "axes.linewidth": 0.6, "grid.color": _INK,
        "grid.alpha": 0.15, "grid.linewidth": 0.6, "axes.unicode_minus": False,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.6, 2.7), layout="constrained")
        axes = figure.subplots()
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        for fold, (steps, values) in lines.items():
            marker = "o" if len(steps) < 12 else None
            colour = FOLD_COLOURS[fold % len(FOLD_COLOURS)]
            axes.plot(steps, values, color=colour, linewidth=1.4, marker=marker, markersize=3)
        if floor is not None:
            axes.axhline(floor, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.6)
        axes.set_xlabel("step")
        axes.set_xlim(left=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y")
        axes.tick_params(length=2.5, width=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        drawn = io.StringIO()
        FigureCanvasSVG(figure).print_svg(drawn, metadata={"Date": None})
    return Curve(title, _element(drawn.getvalue(), name, title))


def learning_curves(
    logs: dict[int, list[dict[str, Any]]], floors: dict[str, float | None]
) -> list[Curve]:
    """Training loss, then per task the exact accuracy on validation faces where it was measured.

    Of years also the mean absolute error.

    Args:
      logs: per fold, what read_log gives.
      floors: per task, exact accuracy of the best constant answer, drawn as a dashed line.
    """
    panels: list[tuple[str, str, str, float | None]] = [("loss", "loss", "Training loss", None)]
    for task, floor in floors.items():
        title = f"Validation, {task}: exact accuracy"
        panels.append((task, f"validation_{task}_exact", title, floor))
    if "years" in floors:
        title = "Validation, years: mean absolute error, years"
        panels.append(("mae", "validation_years_mae", title, None))
    curves = []
    for name, key, title, floor in panels:
        lines = {fold: _points(log, key) for fold, log in logs.items()}
        lines = {fold: points for fold, points in lines.items() if points[0]}
        if lines:
            curves.append(
                _draw(lines, name=name, title=title, share=key.endswith("exact"), floor=floor)
            )
    return curves
