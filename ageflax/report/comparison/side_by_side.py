"""Groups of people, a bar a run: where one run is better, and for whom."""

from collections.abc import Mapping, Sequence
from typing import Any

from ageflax.report import breakdown as breakdown
from ageflax.report import wording as wording


def _table(
    name: str,
    heading: str,
    groups: Sequence[Mapping[str, Any] | None],
    runs: Sequence[Mapping[str, Any]],
    *,
    key: str,
    scale: int,
    decimals: int,
) -> dict[str, Any] | None:
    """Rows by group, a bar a run; None where no run has the figure."""
    labels = dict.fromkeys(label for held in groups if held for label in held)
    values = {
        label: [((held or {}).get(label) or {}).get(key) for held in groups] for label in labels
    }
    known = [value for row in values.values() for value in row if value is not None]
    if not known:
        return None
    whole = 1.0 if scale == 100 else max(max(known), 1e-9)
    rows = []
    for label, row in values.items():
        faces = [((held or {}).get(label) or {}).get("faces") for held in groups]
        rows.append(
            {
                "label": label,
                "faces": wording.number(max((n for n in faces if n is not None), default=None)),
                "cells": [
                    {
                        "text": wording.number(value, scale, decimals),
                        "bar": f"{100 * (value or 0.0) / whole:.1f}",
                    }
                    for value in row
                ],
            }
        )
    return {
        "name": name,
        "heading": heading,
        "columns": [run["name"] for run in runs],
        "rows": rows,
    }


def tables(runs: Sequence[Mapping[str, Any]], tasks: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tables of one question by gender, age group and age in years.

    Args:
      runs: as a comparison's JSON has them.
      tasks: of those that were asked, by name: their task that answers.
    """
    asked = [run for run in runs if run["name"] in tasks]
    figures = [run["tasks"][tasks[run["name"]]] for run in asked]

    def of(grouping: str) -> list[Any]:
        return [(held.get("groups") or {}).get(grouping) for held in figures]

    bands = [
        {
            breakdown.band_name(k): v
            for k, v in ((held.get("years") or {}).get("bands") or {}).items()
        }
        for held in figures
    ]
    ordered = any("one_off" in held for held in figures)
    found = [
        _table("gender", "exact %", of("gender"), asked, key="exact", scale=100, decimals=1),
        _table("gender", "MAE, years", of("gender"), asked, key="mae", scale=1, decimals=2),
        _table("age group", "exact %", of("age"), asked, key="exact", scale=100, decimals=1),
        _table(
            "age group" if ordered else "gender", "recall %",
            [held["per_class"] for held in figures], asked, key="recall", scale=100, decimals=1,
        ),
        _table("age in years", "MAE, years", bands, asked, key="mae", scale=1, decimals=2),
    ]  # fmt: skip
    return [table for table in found if table]
