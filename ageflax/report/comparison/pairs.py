"""Two runs over the same faces, and what their difference allows one to say."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ageflax import metrics
from ageflax.errors import InputError
from ageflax.report.comparison.runs import Compared

_LEVEL = 0.95
_ALL_PAIRS = 5  # runs up to which all pairs are compared; of more, the first against each other

# key, unit after the difference, scale, decimals, and whether more is better
_FIGURES = (
    ("exact", "points exact", 100, 1, True),
    ("one_off", "points one-off", 100, 1, True),
    ("mae", "years mean absolute error", 1, 2, False),
)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction of several p-values; a null is no test and does not count.

    References: Holm, Scandinavian Journal of Statistics 1979.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min((len(known) - rank) * p, 1.0))
        corrected[place] = least
    return corrected


def chosen(count: int) -> list[tuple[int, int]]:
    """Which runs are compared with which, by place."""
    if count <= _ALL_PAIRS:
        return list(itertools.combinations(range(count), 2))
    return [(0, place) for place in range(1, count)]


def compare(
    runs: Sequence[Compared], tasks: Mapping[int, str], *, common: bool
) -> list[dict[str, Any]]:
    """Every pair of one question, as the comparison's JSON has it.

    Args:
      runs: all of them.
      tasks: by place of a run, its task that answers the question.
      common: compare the faces that both have, whatever else they have.

    Raises:
      InputError: a pair has other faces or labels (without `common`), or no face in common.
      RunError: a predictions.csv is damaged.
    """
    places = sorted(tasks)
    pairs = []
    for one, other in chosen(len(places)):
        one, other = places[one], places[other]
        pairs.append(
            {"first": runs[one].name, "second": runs[other].name}
            | _pair(runs[one], tasks[one], runs[other], tasks[other], common=common)
        )
    for figure in ("exact", "one_off"):
        held = [pair[figure] for pair in pairs if figure in pair]
        for entry, p in zip(held, holm([entry["mcnemar_p"] for entry in held]), strict=True):
            entry["holm_p"] = p
    tested = sum("exact" in pair for pair in pairs)
    for pair in pairs:
        pair["statements"] = statements(pair, pairs=tested)
    return pairs


def _pair(
    first: Compared, task: str, second: Compared, other_task: str, *, common: bool
) -> dict[str, Any]:
    folds = [k for k in first.comparable_folds if k in second.comparable_folds]
    if not folds and not common:
        return {"folds": [], "faces": 0}
    if common:
        # Folds of other data, or dealt anew, need not be the same: all that both were tested on.
        one = first.answers_of(task, first.comparable_folds)
        other = second.answers_of(other_task, second.comparable_folds)
        one, other, left_out = _shared(one, other)
        if not len(one):
            raise InputError(
                f"{first.name} and {second.name} have no face with the same label in common"
            )
    else:
        one, other = first.answers_of(task, folds), second.answers_of(other_task, folds)
        left_out = {}
    try:
        figures = metrics.paired(one, other, level=_LEVEL)
    except InputError as error:
        raise InputError(
            f"{first.name} (the first) and {second.name} (the second), {task}: {error}."
            " --common compares the faces that both have"
        ) from error
    return {"folds": folds, **left_out, **figures}


def _shared(
    one: metrics.Answers, other: metrics.Answers
) -> tuple[metrics.Answers, metrics.Answers, dict[str, Any]]:
    """Both over the faces that both have, alike labelled, and how many were left out."""
    both, mine, theirs = np.intersect1d(
        np.asarray(one.keys).astype(str), np.asarray(other.keys).astype(str), return_indices=True
    )
    one_shared, other_shared = one.at(mine), other.at(theirs)
    same = np.asarray(one_shared.true) == np.asarray(other_shared.true)
    same &= np.asarray(one_shared.persons).astype(str) == np.asarray(other_shared.persons).astype(
        str
    )
    counts = {
        "only_in_first": len(one) - len(both),
        "only_in_second": len(other) - len(both),
        "labelled_differently": int((~same).sum()),
    }
    return one_shared.at(same), other_shared.at(same), {"left_out": counts}


def _p_words(entry: Mapping[str, Any], pairs: int) -> str:
    p = entry["holm_p"]
    if p is None:
        return ""
    text = "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}" if p < 0.1 else f"p = {p:.2f}"
    return f", {text}" + (f" (Holm, {pairs} pairs)" if pairs > 1 else "")


def claimed(entry: Mapping[str, Any]) -> bool:
    """Whether a difference is shown: its interval holds no zero, nor does its p-value allow chance."""
    low, high = entry["interval"]
    if low is None or high is None or low <= 0 <= high:
        return False
    if "mcnemar_p" not in entry:
        return True
    return entry["holm_p"] is not None and entry["holm_p"] < 1 - _LEVEL


def statements(pair: Mapping[str, Any], *, pairs: int) -> list[dict[str, Any]]:
    """What a pair's figures support: sentences, each with the figure that it is about.

    Args:
      pair: see `compare`.
      pairs: how many are compared for the same question.
    """
    first, second = pair["first"], pair["second"]
    if not pair["faces"]:
        return [
            {"figure": None, "claimed": False,
             "text": f"{first} and {second}: no face that both have answered, so nothing to compare."}
        ]  # fmt: skip
    found = []
    for key, unit, scale, decimals, more in _FIGURES:
        if key not in pair or pair[key]["difference"] is None:
            continue
        entry = pair[key]
        shown = claimed(entry)
        sign = 1
        if shown:
            second_better = (entry["difference"] > 0) == more
            better, worse = (second, first) if second_better else (first, second)
            sign = 1 if second_better else -1
            opening = f"{better} is better than {worse}"
        else:
            opening = f"{second} against {first}: no difference can be claimed"
        ends = [end for end in entry["interval"] if end is not None]
        ends = sorted(sign * scale * end for end in ends)
        # No zero of either sign: -0.0 is 0.0.
        text = f"{opening}: {sign * scale * entry['difference'] + 0.0:+.{decimals}f} {unit}"
        if ends:
            text += (
                f", {100 * _LEVEL:g} % interval {ends[0]:.{decimals}f} to {ends[1]:.{decimals}f}"
            )
        else:
            text += ", of too few persons for an interval"
        text += _p_words(entry, pairs) if "mcnemar_p" in entry else ""
        found.append({"figure": key, "claimed": shown, "text": text + "."})
    return found
