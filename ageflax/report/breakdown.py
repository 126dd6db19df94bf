"""Figures by gender, age class and age band, and what years add: within k years, and at 18."""

from collections.abc import Mapping, Sequence
from typing import Any

from ageflax.report import svg as svg
from ageflax.report import wording as wording

# key, heading, scale, decimals, and whether its bar is drawn against the largest of the column
# (a share's is drawn against 1)
_COLUMNS = (
    ("exact", "exact %", 100, 1, False),
    ("one_off", "one-off %", 100, 1, False),
    ("mae", "MAE, years", 1, 2, True),
    ("cs5", "CS@5 %", 100, 1, False),
    ("bias", "bias, years", 1, 2, None),
)
# Bands are joined into these to say what befalls the young and the old.
_LIVES = (("under 18", 0, 17), ("18 to 59", 18, 59), ("60 and over", 60, 200))


def table(name: str, groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Rows of bars, one a group; None where no group has a face.

    Args:
      name: of the grouping, such as "gender".
      groups: figures by group; those that no group has are left out.
    """
    if not any(g["faces"] for g in groups.values()):
        return None
    columns = [c for c in _COLUMNS if any(g.get(c[0]) is not None for g in groups.values())]
    rows = []
    for label, group in groups.items():
        cells = []
        for key, _, scale, decimals, against_largest in columns:
            value = group.get(key)
            signed = key == "bias" and value is not None and value > 0
            text = ("+" if signed else "") + wording.number(value, scale, decimals)
            bar = None
            if against_largest is not None:
                values = [abs(g.get(key) or 0.0) for g in groups.values()]
                whole = max(max(values), 1e-9) if against_largest else 1.0
                bar = f"{100 * abs(value or 0.0) / whole:.1f}"
            cells.append({"text": text, "bar": bar})
        rows.append({"label": label, "faces": wording.number(group["faces"]), "cells": cells})
    return {"name": name, "columns": [c[1] for c in columns], "rows": rows}


def band_name(band: str) -> str:
    """Such as "75 and over" for "75-130"."""
    low, _, high = band.partition("-")
    return f"{low} and over" if high.isdigit() and int(high) > 100 else f"{low} to {high}"


def bands(years: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same table by age band."""
    named = {band_name(band): figures for band, figures in years.get("bands", {}).items()}
    return table("age in years", named) if named else None


def lives(years: Mapping[str, Any]) -> str:
    """How far off the estimates of children, adults and the old are, in a sentence."""
    found = []
    for name, low, high in _LIVES:
        held = [
            figures
            for band, figures in years.get("bands", {}).items()
            if low <= int(band.split("-")[0]) <= high and figures["faces"]
        ]
        faces = sum(figures["faces"] for figures in held)
        if faces:
            mae = sum(figures["faces"] * figures["mae"] for figures in held) / faces
            found.append(f"{mae:.1f} for {faces:,} {'faces' if faces > 1 else 'face'} {name}")
    return f"Years off on average: {', '.join(found)}." if found else ""


def cumulative(years: Mapping[str, Any], *, name: str, title: str) -> svg.Drawing | None:
    """Share of faces within k years, k from 0 to 10; None where it is not known."""
    from matplotlib.ticker import PercentFormatter

    shares = [(int(k), share) for k, share in years.get("cs", {}).items() if share is not None]
    if not shares:
        return None
    with svg.figure(4.6, 2.7) as figure:
        axes = figure.subplots()
        within, share = zip(*sorted(shares), strict=True)
        axes.plot(
            within, share, color=svg.COLOURS[0], linewidth=1.6, marker="o", markersize=4,
            clip_on=False,
        )  # fmt: skip
        axes.set_ylim(0, 1)
        axes.set_xlim(0, max(within))
        axes.set_xticks(within)
        axes.grid(axis="y")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("within so many years")
        axes.set_ylabel("of the faces")
        return svg.element(figure, name=name, title=title)


def within(years: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same as text: years and percent."""
    shares = sorted((int(k), share) for k, share in years.get("cs", {}).items())
    return [(str(k), wording.number(share, 100, 1)) for k, share in shares]


def adulthood(years: Mapping[str, Any]) -> list[dict[str, str]]:
    """Who is taken for an adult and who for a child, as rows; nothing where it is not known."""
    found = years.get("adulthood")
    if not found or not (found["minors"] or found["adults"]):
        return []
    age = found["age"]
    sides: Sequence[tuple[str, str, str, str]] = (
        ("false adult", f"under {age}", f"estimated at {age} or above", "adult"),
        ("false minor", f"{age} or above", f"estimated below {age}", "minor"),
    )
    rows = []
    for name, who, outcome, side in sides:
        faces = found["adults" if side == "minor" else "minors"]
        share = found[f"false_{side}"]
        said = f"No face {who} was tested."
        if share is not None:
            said = (
                f"{round(share * faces):,} of {wording.counted(faces, 'face')} {who}"
                f" {'was' if round(share * faces) == 1 else 'were'} {outcome}."
            )
        rows.append(
            {
                "name": name,
                "who": who,
                "faces": wording.number(faces),
                "share": wording.number(share, 100, 1),
                "bar": f"{100 * (share or 0.0):.1f}",
                "said": said,
            }
        )
    return rows
