"""Figures by gender, age group and age band; errors within k years; confusions of minors and adults."""

from collections.abc import Mapping, Sequence
from typing import Any

from ageflax.report import svg, wording
from ageflax.report.figures import CS5, EXACT, MAE, ONE_OFF, Figure
from ageflax.runtime.files import Json

Groups = Mapping[str, Mapping[str, Any]]  # figures by group

_BIAS = Figure("bias", "Bias", "bias", "years")
_COLUMNS = (EXACT, ONE_OFF, MAE, CS5, _BIAS)
# Bands are joined into these to sum up the young and the old.
_LIVES = (("under 18", 0, 17), ("18 to 59", 18, 59), ("60 and over", 60, 200))


def table(name: str, columns: Sequence[tuple[str, Figure, Groups]]) -> Json | None:
    """A table with a row per group and a bar beside each share and error; None if nothing is known.

    A full bar is 1 for a share and the largest value of the figure for an error.

    Args:
      name: grouping, such as "gender".
      columns: heading, figure, and groups with that figure; dropped if no group of any column has it.
    """
    largest: dict[Figure, float] = {}
    for _, figure, groups in columns:
        for group in groups.values():
            if (value := group.get(figure.key)) is not None:
                largest[figure] = max(abs(value), largest.get(figure, 1e-9))
    columns = [column for column in columns if column[1] in largest]
    if not columns:
        return None

    def cell(figure: Figure, value: float | None) -> tuple[str, float | None]:
        """Text, and the bar's share of its full length; None for no bar."""
        if figure is _BIAS:
            return figure.signed(value), None
        return figure.show(value), abs(value or 0.0) / (1 if figure.is_share else largest[figure])

    rows = []
    for label in dict.fromkeys(label for _, _, groups in columns for label in groups):
        faces = [groups[label]["faces"] for _, _, groups in columns if label in groups]
        cells = [
            cell(figure, groups.get(label, {}).get(figure.key)) for _, figure, groups in columns
        ]
        rows.append({"label": label, "faces": max(faces), "cells": cells})
    headings = [(heading, figure is not _BIAS) for heading, figure, _ in columns]
    return {"name": name, "columns": headings, "rows": rows}


def tables(figures: Mapping[str, Any]) -> list[Json]:
    """A task's tables by gender or age group, and by age band."""
    grouped = {
        "age group" if name == "age" else name: groups
        for name, groups in (figures.get("groups") or {}).items()
    }
    grouped["age in years"] = bands(figures)
    found = [table(name, [(f.heading, f, g) for f in _COLUMNS]) for name, g in grouped.items()]
    return [one for one in found if one]


def _band_name(band: str) -> str:
    """Such as "75 and over" for "75-130"."""
    low, _, high = band.partition("-")
    return f"{low} and over" if high.isdigit() and int(high) > 100 else f"{low} to {high}"


def bands(figures: Mapping[str, Any]) -> Groups:
    """A task's figures by age band, under the bands' names."""
    found = (figures.get("years") or {}).get("bands") or {}
    return {_band_name(band): held for band, held in found.items()}


def lives(years: Mapping[str, Any]) -> str:
    """Mean absolute errors of minors, adults and the old, in a sentence."""
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
            found.append(f"{mae:.1f} for {wording.counted(faces, 'face')} {name}")
    return f"Mean absolute error in years: {', '.join(found)}." if found else ""


def within(years: Mapping[str, Any]) -> list[tuple[int, float | None]]:
    """Shares of faces with an error of at most k years, by k."""
    return sorted((int(k), share) for k, share in years.get("cs", {}).items())


def cumulative(years: Mapping[str, Any], *, name: str) -> svg.Drawing | None:
    """A drawing of `within`; None if no share is known."""
    from matplotlib.ticker import PercentFormatter

    shares = [(k, share) for k, share in within(years) if share is not None]
    if not shares:
        return None
    with svg.figure(4.6, 2.7) as figure:
        axes = figure.subplots()
        most, share = zip(*shares, strict=True)
        axes.plot(
            most, share, color=svg.COLOURS[0], linewidth=1.6, marker="o", markersize=4,
            clip_on=False,
        )  # fmt: skip
        axes.set_ylim(0, 1)
        axes.set_xlim(0, max(most))
        axes.set_xticks(most)
        axes.grid(axis="y")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("k, years")
        axes.set_ylabel("share of faces")
        return svg.element(figure, name=name, title="Share of faces within k years of the true age")


def adulthood(years: Mapping[str, Any]) -> list[Json]:
    """Minors predicted as adults and adults predicted as minors, as rows; none if not known."""
    found = years.get("adulthood")
    if not found or not (found["minors"] or found["adults"]):
        return []
    age = found["age"]
    rows = []
    for side, who, outcome, faces in (
        ("adult", f"under {age}", f"estimated at {age} or above", found["minors"]),
        ("minor", f"{age} or above", f"estimated below {age}", found["adults"]),
    ):
        share = found[f"false_{side}"]
        said = f"No face {who} was tested."
        if share is not None:
            count = round(share * faces)
            were = "was" if count == 1 else "were"
            said = f"{count:,} of {wording.counted(faces, 'face')} {who} {were} {outcome}."
        rows.append(
            {"name": f"false {side}", "who": who, "faces": faces, "share": share, "said": said}
        )
    return rows
