"""How far a run's stated probabilities can be believed: diagram, table and words."""

from collections.abc import Sequence
from typing import Any

from ageflax.report import svg as svg
from ageflax.report import wording as wording


def _mean(bins: Sequence[dict[str, Any]], key: str) -> float | None:
    """Over the faces of all bins."""
    known = [b for b in bins if b["faces"] and b[key] is not None]
    faces = sum(b["faces"] for b in known)
    return sum(b["faces"] * b[key] for b in known) / faces if faces else None


def words(calibration: dict[str, Any], folds: Sequence[dict[str, Any]]) -> list[str]:
    """What the figures say, a sentence each.

    Args:
      calibration: of the pooled faces.
      folds: calibration of each fold, which knows the temperature; those without one are passed over.
    """
    bins, ece = calibration["bins"], calibration["ece"]
    stated, right = _mean(bins, "confidence"), _mean(bins, "accuracy")
    if ece is None or stated is None or right is None:
        return ["No labelled face has a probability, so nothing can be said."]
    sides = {True: "too sure of itself", False: "not sure enough of itself"}
    said = [
        f"Expected calibration error {100 * ece:.1f} points: so far apart are, on average, the"
        " probability of the guess and the share of such guesses that is right.",
        f"The guesses' mean probability is {100 * stated:.1f} % and {100 * right:.1f} % of them are"
        f" right: the model is {sides[stated > right]}."
        if abs(stated - right) >= 0.005
        else f"The guesses' mean probability, {100 * stated:.1f} %, is the share that is right,"
        f" {100 * right:.1f} %.",
    ]
    if calibration.get("nll") is not None:
        said.append(f"Negative log likelihood {calibration['nll']:.3f} a face.")
    scaled = [f for f in folds if f.get("temperature") is not None]
    if scaled:
        low, high = min(f["temperature"] for f in scaled), max(f["temperature"] for f in scaled)
        between = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        text = f"Temperature fitted on validation faces: {between}"
        if calibration.get("ece_scaled") is not None:
            text += f"; at it the error is {100 * calibration['ece_scaled']:.1f} points"
        said.append(text + ".")
    return said


def rows(calibration: dict[str, Any]) -> list[dict[str, str]]:
    """The bins that hold faces, as text."""
    return [
        {
            "range": f"{100 * b['low']:.0f} to {100 * b['high']:.0f}",
            "faces": wording.number(b["faces"]),
            "confidence": wording.number(b["confidence"], 100, 1),
            "accuracy": wording.number(b["accuracy"], 100, 1),
        }
        for b in calibration["bins"]
        if b["faces"]
    ]


def _short(count: int) -> str:
    return f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k"


def diagram(calibration: dict[str, Any], *, name: str, title: str) -> svg.Drawing | None:
    """Share right by stated probability, above the number of faces; None of nothing."""
    from matplotlib.ticker import PercentFormatter

    bins = [b for b in calibration["bins"] if b["faces"] and b["accuracy"] is not None]
    if not bins:
        return None
    with svg.figure(4.6, 4.1) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.25))
        colour = svg.COLOURS[0]
        for b in bins:
            width, faces = b["high"] - b["low"], b["faces"]
            upper.bar(
                b["low"], b["accuracy"], width, align="edge", color=colour, alpha=0.75,
                edgecolor=colour, linewidth=0.8,
            )  # fmt: skip
            lower.bar(b["low"], faces, width * 0.86, align="edge", color=svg.INK, alpha=0.45)
            lower.annotate(
                _short(faces), (b["low"] + 0.43 * width, faces), (0, 1.5), fontsize=7.5,
                textcoords="offset points", ha="center", va="bottom",
            )  # fmt: skip
        upper.plot((0, 1), (0, 1), color=svg.INK, linewidth=1, linestyle=(0, (4, 3)))
        upper.set_ylim(0, 1)
        upper.set_xlim(0, 1)
        upper.set_ylabel("of them right")
        upper.grid(axis="y")
        upper.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        lower.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        lower.set_ylim(0, 1.28 * max(b["faces"] for b in bins))
        lower.set_yticks([])
        lower.spines["left"].set_visible(False)
        lower.set_ylabel("faces")
        lower.set_xlabel("probability of the guess")
        return svg.element(figure, name=name, title=title)
