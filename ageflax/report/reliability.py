"""Calibration of a run's probabilities: diagram and sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from ageflax.report import svg


def _mean(bins: Sequence[dict[str, Any]], key: str) -> float | None:
    """Mean over the faces of all bins."""
    known = [b for b in bins if b["faces"] and b[key] is not None]
    faces = sum(b["faces"] for b in known)
    return sum(b["faces"] * b[key] for b in known) / faces if faces else None


def words(calibration: Mapping[str, Any], folds: Sequence[Mapping[str, Any]]) -> list[str]:
    """The calibration's figures in sentences.

    Args:
      calibration: calibration of the pooled faces.
      folds: calibration of each fold, with its temperature; folds without one are skipped.
    """
    bins, ece = calibration["bins"], calibration["ece"]
    stated, right = _mean(bins, "confidence"), _mean(bins, "accuracy")
    if ece is None or stated is None or right is None:
        return ["No labelled face has a probability, so calibration cannot be measured."]
    confident = "overconfident" if stated > right else "underconfident"
    said = [
        f"Expected calibration error {100 * ece:.1f} points: the mean gap between the probability of a"
        " prediction and the share of such predictions that are right.",
        f"Predictions have a mean probability of {100 * stated:.1f} % and {100 * right:.1f} % of them"
        f" are right: the model is {confident}."
        if abs(stated - right) >= 0.005
        else f"Predictions have a mean probability of {100 * stated:.1f} %, in line with the"
        f" {100 * right:.1f} % that are right.",
    ]
    if calibration.get("nll") is not None:
        said.append(f"Negative log likelihood {calibration['nll']:.3f} per face.")
    fitted = [f["temperature"] for f in folds if f.get("temperature") is not None]
    if fitted:
        ends = dict.fromkeys(f"{end:.2f}" for end in (min(fitted), max(fitted)))
        text = f"Temperature fitted on validation faces: {' to '.join(ends)}"
        if calibration.get("ece_scaled") is not None:
            text += f"; with it, the error is {100 * calibration['ece_scaled']:.1f} points"
        said.append(text + ".")
    return said


def _short(count: int) -> str:
    return f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k"


def diagram(calibration: Mapping[str, Any], *, name: str, title: str) -> svg.Drawing | None:
    """Accuracy by probability, above the number of faces; None without such faces."""
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
        upper.set_ylabel("share right")
        upper.grid(axis="y")
        upper.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        lower.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        lower.set_ylim(0, 1.28 * max(b["faces"] for b in bins))
        lower.set_yticks([])
        lower.spines["left"].set_visible(False)
        lower.set_ylabel("faces")
        lower.set_xlabel("probability of the prediction")
        return svg.element(figure, name=name, title=title)
