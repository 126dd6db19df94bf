"""Learning curves of every fold of one run or of several."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from ageflax.report import svg
from ageflax.runtime.files import Json

# Most points per curve. Longer curves become means of neighbours, which smooths the training loss and
# looks the same at this width.
_POINTS = 200
# Markers per curve; few, to tell curves apart without hiding them.
_SHAPES = 6


@dataclasses.dataclass(frozen=True)
class Log:
    """One fold's metrics.jsonl and the place of its curve in the legend."""

    place: int
    records: list[Json]


def read_log(path: Path) -> list[Json]:
    """Reads a metrics.jsonl; skips lines that are cut short, as after a kill. [] if it is absent."""
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


def _points(log: Sequence[Json], key: str) -> tuple[list[float], list[float]]:
    """Steps and finite values of one column, thinned to _POINTS means."""
    found = [
        (float(record["step"]), float(record[key]))
        for record in log
        if isinstance(record.get(key), int | float) and math.isfinite(record[key])
    ]
    size = -(-len(found) // _POINTS)
    pieces = [found[k : k + size] for k in range(0, len(found), max(size, 1))]
    steps = [sum(step for step, _ in piece) / len(piece) for piece in pieces]
    return steps, [sum(value for _, value in piece) / len(piece) for piece in pieces]


def _draw(
    lines: Sequence[tuple[int, tuple[list[float], list[float]]]],
    *,
    name: str,
    title: str,
    share: bool,
    floor: float | None,
) -> svg.Drawing:
    """One panel. `lines` are places in the legend, steps and values; `share` formats as percent."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

    with svg.figure(4.6, 2.7) as figure:
        axes = figure.subplots()
        for number, (place, (steps, values)) in enumerate(lines):
            colour, shape = svg.mark(place)
            few = len(steps) <= _SHAPES
            # Markers of neighbouring curves stand apart.
            every = 1 if few else ((number % 5) * len(steps) // 30, -(-len(steps) // _SHAPES))
            axes.plot(
                steps, values, color=colour, linewidth=1.4, marker=shape, markersize=4.5,
                markevery=every,
            )  # fmt: skip
        if floor is not None:
            axes.axhline(floor, color=svg.INK, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.6)
        axes.set_xlabel("step")
        axes.set_xlim(left=0)
        axes.grid(axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        return svg.element(figure, name=name, title=title)


def learning_curves(
    logs: Sequence[Log], floors: Mapping[str, float | None], *, loss: bool = True
) -> list[svg.Drawing]:
    """Draws the training loss and, per task, the exact accuracy on validation faces if measured.

    For years also the mean absolute error.

    Args:
      logs: one log per fold.
      floors: per task, exact accuracy of the best constant answer, drawn as a dashed line.
      loss: True to draw the training loss, which is comparable between runs of one recipe only.
    """
    panels: list[tuple[str, str, str, float | None]] = []
    if loss:
        panels.append(("loss", "loss", "Training loss", None))
    for task, floor in floors.items():
        title = f"Validation, {task}: exact accuracy"
        panels.append((task, f"validation_{task}_exact", title, floor))
    if "years" in floors:
        title = "Validation, years: mean absolute error, years"
        panels.append(("mae", "validation_years_mae", title, None))
    curves = []
    for name, key, title, floor in panels:
        lines = [(log.place, _points(log.records, key)) for log in logs]
        lines = [(place, points) for place, points in lines if points[0]]
        if lines:
            curves.append(
                _draw(lines, name=name, title=title, share=key.endswith("exact"), floor=floor)
            )
    return curves
