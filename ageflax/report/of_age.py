"""Who passes as of age: rates of two rules as tables and curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from ageflax import labels
from ageflax.metrics.of_age import NEAR, table
from ageflax.report import svg
from ageflax.runtime.files import Json

_MINORS, _ADULTS = "13-17", "18-24"
_RULES = {
    "probability": "by the probability of being under 18",
    "challenge": "by the estimated age",
}
_PLACE = 3  # of the first rule's colour and shape, after those of the groups


def section(figures: Mapping[str, Any], *, name: str) -> Json | None:
    """Tables and drawings of a task; None if nobody's age is known.

    Args:
      figures: figures of a task; of earlier versions without `of_age`.
      name: prefix of the drawings' ids, unique on the page.
    """
    of_age = figures.get("of_age") or {}
    if not of_age.get("groups"):
        return None
    groups = of_age["groups"]
    shown = {who: table(of_age, who) for who in ("all", *labels.GENDERS) if who in groups}
    near = [group for group in NEAR if group in groups["all"]]
    traded = {_MINORS, _ADULTS} <= set(near)
    return {
        "age": of_age["age"],
        "faces": of_age["faces"],
        "log_loss": of_age["log_loss"],
        "log_loss_floor": of_age["log_loss_floor"],
        "table": table(of_age),
        "people": [(who, rows) for who, rows in shown.items() if len(rows[0]) > 1],
        "buffer": _buffer(of_age, near, name=f"{name}-buffer") if near else None,
        "buffer_marks": [(place, _says(group)) for place, group in enumerate(near)],
        "trade": _trade(of_age, name=f"{name}-trade") if traded else None,
        "trade_marks": [
            (place, said)
            for place, (rule, said) in enumerate(_RULES.items(), _PLACE)
            if rule in of_age["thresholds"]
        ],
    }


def _says(group: str) -> str:
    return f"{group}, {'passed' if group == _MINORS else 'challenged'}"


def _buffer(of_age: Mapping[str, Any], near: Sequence[str], *, name: str) -> svg.Drawing:
    """Shares by the age below which faces are challenged, with their intervals."""
    ages = of_age["thresholds"]["challenge"]
    with svg.figure(4.6, 2.7) as figure:
        axes = _shares(figure)
        for place, group in enumerate(near):
            held = of_age["groups"]["all"][group]["challenge"]
            colour, shape = svg.mark(place)
            low, high = zip(*((e if None not in e else (s, s))
                              for s, e in zip(held["share"], held["intervals"], strict=True)),
                            strict=True)  # fmt: skip
            axes.fill_between(ages, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(
                ages, held["share"], color=colour, linewidth=1.6, marker=shape, markersize=4,
                clip_on=False,
            )  # fmt: skip
        axes.set_xlim(ages[0], ages[-1])
        axes.set_xticks(ages[::2])
        axes.set_xlabel("estimated age below which a face is challenged")
        axes.set_ylabel("share of faces")
        return svg.element(figure, name=name, title="Passed minors and challenged adults by age")


def _trade(of_age: Mapping[str, Any], *, name: str) -> svg.Drawing:
    """False adults against the adults who are challenged for it, for both rules."""
    from matplotlib.ticker import PercentFormatter

    minors, adults = (of_age["groups"]["all"][group] for group in (_MINORS, _ADULTS))
    with svg.figure(4.6, 2.7) as figure:
        axes = _shares(figure)
        for place, rule in enumerate(_RULES, _PLACE):
            if rule in of_age["thresholds"]:
                colour, shape = svg.mark(place)
                axes.plot(
                    adults[rule]["share"], minors[rule]["share"], color=colour, linewidth=1.6,
                    marker=shape, markersize=4, clip_on=False,
                )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel(f"{_ADULTS} challenged")
        axes.set_ylabel(f"{_MINORS} passed")
        return svg.element(figure, name=name, title="Passed minors against challenged adults")


def _shares(figure: Any) -> Any:
    """Axes with shares upwards."""
    from matplotlib.ticker import PercentFormatter

    axes = figure.subplots()
    axes.set_ylim(0, 1)
    axes.grid(axis="y")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return axes
