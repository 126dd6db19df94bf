"""Figures over the folds that are done."""

from pathlib import Path
from typing import Any

import numpy as np

from ageflax import files, metrics


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """summary.json: per task, mean and sample deviation over the folds that are done."""
    tasks: dict[str, Any] = {}
    for task in results[0]["tasks"]:
        per_fold = [result["tasks"][task] for result in results]
        shares = ("exact", "majority_floor", "one_off", "one_off_floor", "mae_classes")
        summary: dict[str, Any] = {
            name: metrics.mean_and_deviation([figures[name] for figures in per_fold])
            for name in shares
            if name in per_fold[0]
        }
        if all("years" in figures for figures in per_fold):
            for name in ("mae", "mae_floor", "cs5", "cs5_floor"):
                summary[name] = metrics.mean_and_deviation(
                    [figures["years"][name] for figures in per_fold]
                )
        pooled = np.sum([figures["confusion"] for figures in per_fold], axis=0)
        summary["faces"] = int(pooled.sum())
        summary["confusion"] = pooled.tolist()
        summary["per_class"] = {
            name: {
                "faces": int(pooled[k].sum()),
                "correct": int(pooled[k, k]),
                "recall": float(pooled[k, k] / pooled[k].sum()) if pooled[k].sum() else None,
            }
            for k, name in enumerate(per_fold[0]["per_class"])
        }
        tasks[task] = summary
    return {
        "folds": [result["fold"] for result in results],
        "protocol": results[0]["protocol"],
        "data": results[0]["data"],
        "seconds": sum(result["seconds"] for result in results),
        "tasks": tasks,
    }


def finished(workdir: Path) -> list[dict[str, Any]]:
    """Results of the folds that are done, in order."""
    results = [files.read_json(workdir / f"fold_{k}" / "result.json") for k in range(5)]
    return [result for result in results if result is not None]


def fold_line(result: dict[str, Any], seconds: float) -> str:
    """One fold's figures for the user."""
    parts = [f"fold {result['fold']}:"]
    for task, figures in result["tasks"].items():
        parts.append(f"{task} {100 * (figures['exact'] or 0):.1f} % exact")
        if figures.get("one_off") is not None:
            parts.append(f"{100 * figures['one_off']:.1f} % one-off")
        if figures.get("years"):
            parts.append(f"{figures['years']['mae']:.2f} years off")
    return "  ".join([*parts, f"({result['faces']['test']} faces, {seconds:.0f} s)"])
