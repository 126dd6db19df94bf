"""Results of a workflow: a table of all runs, and the missing folds with reasons."""

from collections.abc import Mapping, Sequence
from typing import Any

from ageflax.runtime import files
from pipelines.local.state import DONE, Status
from pipelines.plan.folders import Placed
from pipelines.workflow.steps import fold_key

_COLUMNS = (
    ("exact", "exact", 100, " %"),
    ("majority_floor", "floor", 100, " %"),
    ("one_off", "one-off", 100, " %"),
    ("mae", "MAE, years", 1, ""),
    ("cs5", "CS@5", 100, " %"),
)


def _cell(figure: Mapping[str, Any] | None, scale: float, unit: str) -> str:
    if figure is None or figure["mean"] is None:
        return ""
    std = "" if figure["std"] is None else f" +- {scale * figure['std']:.1f}"
    return f"{scale * figure['mean']:.1f}{std}{unit}"


def table(placed: Sequence[Placed]) -> str:
    """Per run and task: folds, faces, and mean and std over the finished folds."""
    rows = []
    for entry in placed:
        summary = files.read_json(entry.workdir / "summary.json")
        done = f"{len(entry.done())} of {len(entry.run.folds)}"
        if summary is None:
            rows.append([entry.run.name, "", done, "", *[""] * len(_COLUMNS)])
            continue
        for task, figures in summary["tasks"].items():
            cells = [_cell(figures.get(key), scale, unit) for key, _, scale, unit in _COLUMNS]
            rows.append([entry.run.name, task, done, str(figures["faces"]), *cells])
    titles = ["run", "task", "folds", "faces", *(title for _, title, _, _ in _COLUMNS)]
    used = [k for k, title in enumerate(titles) if k < 4 or any(row[k] for row in rows)]
    shown = [[row[k] for k in used] for row in [titles, *rows]]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    )


def missing(
    placed: Sequence[Placed], statuses: Mapping[str, Status], refused: Mapping[str, str]
) -> list[str]:
    """A line with the reason for each missing fold, and one for each refused run."""
    lines = [f"{name}, every fold: {reason.splitlines()[0]}" for name, reason in refused.items()]
    for entry in placed:
        for fold in entry.run.folds:
            key = fold_key(entry.run.name, fold)
            status = statuses.get(key)
            if entry.result(fold).exists() or (status and status.state == DONE):
                continue
            reason = "not started" if status is None else status.reason
            where = f" (log: {status.log})" if status and status.log else ""
            lines.append(f"{key}: {reason}{where}")
    return lines
