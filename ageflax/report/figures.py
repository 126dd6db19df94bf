"""A task's tables: figures with their intervals, published ones, and the confusion matrix."""

from collections.abc import Mapping
from typing import Any

from ageflax.report import published
from ageflax.report import wording as wording

# key in summary.json, its name, scale, decimals and unit, the key of its floor
FIGURES = (
    ("exact", "Exact accuracy", 100, 1, "%", "majority_floor"),
    ("one_off", "One-off accuracy", 100, 1, "%", "one_off_floor"),
    ("mae", "Mean absolute error", 1, 2, "years", "mae_floor"),
    ("cs5", "CS@5, within five years", 100, 1, "%", "cs5_floor"),
    ("mae_classes", "Mean distance", 1, 2, "groups", None),
)


def headline(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a task's table: mean, deviation, interval, floor, and each fold."""
    rows = []
    intervals = figures.get("intervals") or {}
    for key, name, scale, decimals, unit, floor in FIGURES:
        if key not in figures:
            continue
        figure = figures[key]
        mean_floor = figures.get(floor, {}).get("mean") if floor else None
        deviation = "" if figure["std"] is None else wording.number(figure["std"], scale, decimals)
        rows.append(
            {
                "name": name,
                "short": key.replace("_", "-"),
                "unit": unit,
                "mean": wording.number(figure["mean"], scale, decimals),
                "deviation": deviation,
                "interval": wording.interval(intervals.get(key), scale, decimals),
                "floor": wording.number(mean_floor, scale, decimals),
                "folds": [wording.number(value, scale, decimals) for value in figure["folds"]],
            }
        )
    return rows


def interval_note(figures: Mapping[str, Any]) -> dict[str, str] | None:
    """Level and meaning of the intervals; None of a summary that has none."""
    intervals = figures.get("intervals")
    if not intervals:
        return None
    level = f"{100 * intervals['level']:g} %"
    persons = wording.counted(intervals["persons"], "person")
    if intervals["persons"] < 2:
        return {"level": level, "words": f"No interval can be told from {persons}."}
    return {
        "level": level,
        "words": f"The interval is of the figure over all faces together, by bootstrap: {persons}, each"
        f" with all of their faces, are drawn with replacement {intervals['resamples']:,} times.",
    }


def published_rows(task: str) -> list[dict[str, Any]]:
    """Other people's figures for Adience, each share a (mean, deviation) pair of texts.

    Those of age stand beside the age groups that years add up to, too.
    """

    def pair(share: published.Share | None) -> tuple[str, str]:
        if share is None:
            return wording.number(None), ""
        deviation = "" if share.deviation is None else f"{share.deviation:.1f}"
        return f"{share.mean:.1f}", deviation

    return [
        {
            "method": entry.method,
            "shares": [pair(entry.exact), *([pair(entry.one_off)] if task != "gender" else [])],
            "source": entry.source,
        }
        for entry in published.of_task("gender" if task == "gender" else "age")
    ]


def matrix(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The pooled confusion matrix, and recall and precision per class."""
    counts, names = figures["confusion"], list(figures["per_class"])
    classes = []
    for k, name in enumerate(names):
        faces, predicted = sum(counts[k]), sum(row[k] for row in counts)
        classes.append(
            {
                "name": name,
                "faces": faces,
                "predicted": predicted,
                "recall": counts[k][k] / faces if faces else None,
                "precision": counts[k][k] / predicted if predicted else None,
                "cells": [
                    {"count": count, "share": count / faces if faces else 0.0}
                    for count in counts[k]
                ],
            }
        )
    return {"names": names, "classes": classes}
