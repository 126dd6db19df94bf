"""Compares pairs of runs over the same faces and states which run is better."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ageflax import metrics
from ageflax.errors import InputError
from ageflax.report import wording
from ageflax.report.comparison.runs import Compared
from ageflax.report.figures import EXACT, MAE, ONE_OFF
from ageflax.runtime.files import Json

_LEVEL = 0.95
_ALL_PAIRS = 5  # most runs of which all pairs are compared; of more, the first with every other

_UNITS = (
    (EXACT, "points exact"),
    (ONE_OFF, "points one-off"),
    (MAE, "years mean absolute error"),
)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrects p-values by Holm's method; None is no test and does not count.

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
    """Pairs of runs to compare, by place."""
    if count <= _ALL_PAIRS:
        return list(itertools.combinations(range(count), 2))
    return [(0, place) for place in range(1, count)]


def compare(runs: Sequence[Compared], tasks: Mapping[int, str], *, common: bool) -> list[Json]:
    """Compares every pair for one question; returns the pairs' part of the comparison's JSON.

    Args:
      runs: all runs.
      tasks: task that answers the question, by place of the run.
      common: True compares the faces that both have with the same label.

    Raises:
      InputError: a pair differs in faces or labels (without `common`), or has no face in common.
      RunError: a predictions.csv is damaged.
    """
    answering = [(runs[place], tasks[place]) for place in sorted(tasks)]
    pairs = []
    for one, other in chosen(len(answering)):
        (first, task), (second, other_task) = answering[one], answering[other]
        pairs.append(
            {"first": first.name, "second": second.name}
            | _pair(first, task, second, other_task, common=common)
        )
    for figure in ("exact", "one_off"):
        held = [pair[figure] for pair in pairs if figure in pair]
        for entry, p in zip(held, holm([entry["mcnemar_p"] for entry in held]), strict=True):
            entry["holm_p"] = p
    tested = sum("exact" in pair for pair in pairs)
    for pair in pairs:
        pair["statements"] = statements(pair, pairs=tested)
    return pairs


def _pair(first: Compared, task: str, second: Compared, other_task: str, *, common: bool) -> Json:
    folds = [k for k in first.comparable_folds if k in second.comparable_folds]
    if not folds and not common:
        return {"folds": [], "faces": 0}
    if common:
        # Folds of other data may be other folds: compare all faces that both were tested on.
        one = first.answers_of(task, first.comparable_folds)
        other = second.answers_of(other_task, second.comparable_folds)
        one, other, left_out = _shared(one, other)
        if not len(one):
            raise InputError(
                f"--common: {first.name} and {second.name} have no face with the same label in common"
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
) -> tuple[metrics.Answers, metrics.Answers, Json]:
    """Both runs' answers on the faces that both have with the same label, and counts of the rest."""
    both, mine, theirs = np.intersect1d(
        np.asarray(one.keys).astype(str), np.asarray(other.keys).astype(str), return_indices=True
    )
    one_shared, other_shared = one.at(mine), other.at(theirs)
    same = np.asarray(one_shared.true) == np.asarray(other_shared.true)
    same &= np.asarray(one_shared.subjects).astype(str) == np.asarray(other_shared.subjects).astype(
        str
    )
    counts = {
        "only_in_first": len(one) - len(both),
        "only_in_second": len(other) - len(both),
        "labelled_differently": int((~same).sum()),
    }
    return one_shared.at(same), other_shared.at(same), {"left_out": counts}


def _p_words(entry: Mapping[str, Any], pairs: int) -> str:
    if entry.get("holm_p") is None:
        return ""
    text = wording.p_value(entry["holm_p"])
    correction = f" (Holm, {pairs} pairs)" if pairs > 1 else ""
    return f", p {text if text.startswith('<') else f'= {text}'}{correction}"


def claimed(entry: Mapping[str, Any]) -> bool:
    """True if a difference is significant: by its interval and, if it has one, its p-value."""
    low, high = entry["interval"]
    if low is None or high is None or low <= 0 <= high:
        return False
    if "mcnemar_p" not in entry:
        return True
    return entry["holm_p"] is not None and entry["holm_p"] < 1 - _LEVEL


def statements(pair: Mapping[str, Any], *, pairs: int) -> list[Json]:
    """States in sentences which run of a pair is better, one sentence per figure.

    Args:
      pair: pair with its figures; see `compare`.
      pairs: number of pairs compared for the same question.

    Returns:
      JSON: `figure`, `claimed` and `text` of each sentence.
    """
    first, second = pair["first"], pair["second"]
    if not pair["faces"]:
        text = f"{first} and {second}: no face that both have answered, so nothing to compare."
        return [{"figure": None, "claimed": False, "text": text}]
    found = []
    for figure, unit in _UNITS:
        entry = pair.get(figure.key)
        if entry is None or entry["difference"] is None:
            continue
        shown, sign = claimed(entry), 1
        opening = f"{second} vs. {first}: no significant difference"
        if shown:
            second_better = (entry["difference"] > 0) == figure.is_share
            better, worse = (second, first) if second_better else (first, second)
            sign = 1 if second_better else -1
            opening = f"{better} is better than {worse}"
        text = f"{opening}: {figure.signed(sign * entry['difference'])} {unit}"
        ends = sorted(sign * end for end in entry["interval"] if end is not None)
        if ends:
            text += f", {100 * _LEVEL:g} % interval {figure.interval(ends)}"
        else:
            text += ", too few subjects for an interval"
        text += f"{_p_words(entry, pairs)}."
        found.append({"figure": figure.key, "claimed": shown, "text": text})
    return found
