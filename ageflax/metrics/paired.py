"""Two models over the same faces: whether one is better, or was only lucky."""

from typing import Any

import numpy as np

from ageflax.errors import InputError, one_line, shown
from ageflax.metrics.answers import Answers
from ageflax.metrics.bootstrap import intervals
from ageflax.metrics.folds import ratio

_COMPARED = ("exact", "one_off", "mae")


def paired(
    first: Answers,
    second: Answers,
    *,
    common: bool = False,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Compares two models face by face.

    The interval of a difference is a bootstrap by person over the faces' own differences, so what
    makes a face hard for both cancels out. Where it holds zero, neither model is shown to be better.
    McNemar's test takes faces for independent, which photographs of one person are not: where persons
    have many faces, the interval is the one to believe.

    Args:
      first: answers of one model.
      second: of the other, over the same faces in any order.
      common: compare the faces that both have, whatever else they have.
      resamples: of the bootstrap.
      seed: of its draws.
      level: of the intervals.

    Returns:
      JSON: `faces` and `persons` compared; `left_out` with `common`, faces that only the `first` and
      only the `second` has; `exact` and, of ordered classes, `one_off`: `first`, `second`,
      `difference` (second - first), `interval` of it, `only_first` and `only_second` (faces that only
      one has right) and `mcnemar_p`, the exact two-sided p-value of McNemar's test, null where they
      are never right apart; where both estimate known ages `mae`: `first`, `second`, `difference`,
      `interval`.

    Raises:
      InputError: a key occurs twice, the faces differ (without `common`) or none is shared, or a face
        has another person, true class or age in the one than in the other.

    References: McNemar, Psychometrika 1947; Dietterich, Neural Computation 1998.
    """
    first, second, left_out = _aligned(first, second, common=common)
    one, other = first.per_face(), second.per_face()
    names = [name for name in _COMPARED if name in one and name in other]
    differences = {name: other[name] - one[name] for name in names}
    found = intervals(first.persons, differences, resamples=resamples, seed=seed, level=level)
    counted = np.any([~np.isnan(values) for values in differences.values()], axis=0)
    result: dict[str, Any] = {"faces": int(counted.sum()), "persons": found["persons"]}
    if common:
        result["left_out"] = left_out
    for name in names:
        used = ~np.isnan(differences[name])
        result[name] = {
            "first": ratio(one[name][used].sum(), used.sum()),
            "second": ratio(other[name][used].sum(), used.sum()),
            "difference": ratio(differences[name][used].sum(), used.sum()),
            "interval": found[name],
        }
        if name != "mae":
            result[name] |= _mcnemar(differences[name][used])
    return result


def _mcnemar(differences: np.ndarray) -> dict[str, Any]:
    """Counts of faces that only one model has right, and how likely so uneven ones are by chance."""
    from scipy import stats  # late: most of a second of every command's start

    only_first, only_second = int((differences < 0).sum()), int((differences > 0).sum())
    discordant = only_first + only_second
    p = float(stats.binomtest(only_first, discordant).pvalue) if discordant else None
    return {"only_first": only_first, "only_second": only_second, "mcnemar_p": p}


def _aligned(
    first: Answers, second: Answers, *, common: bool
) -> tuple[Answers, Answers, dict[str, int]]:
    """Both over the same faces in the order of their keys, and how many faces only one of them has."""
    orders = [_by_key(answers, word) for answers, word in ((first, "first"), (second, "second"))]
    keys = [
        np.asarray(answers.keys).astype(str)[order]
        for answers, order in zip((first, second), orders, strict=True)
    ]
    shared = [np.isin(keys[0], keys[1]), np.isin(keys[1], keys[0])]
    alone = [mine[~both] for mine, both in zip(keys, shared, strict=True)]
    if any(map(len, alone)) and not common:
        example = next(str(only[0]) for only in alone if len(only))
        raise InputError(
            f"the two have other faces: {len(alone[0])} are only in the first, {len(alone[1])} only in"
            f" the second, such as {shown(example)}; {int(shared[0].sum())} are in both"
        )
    if not shared[0].any():
        raise InputError("the two have no face in common")
    first, second = first.at(orders[0][shared[0]]), second.at(orders[1][shared[1]])
    _check_labels(first, second)
    return first, second, {"first": len(alone[0]), "second": len(alone[1])}


def _by_key(answers: Answers, word: str) -> np.ndarray:
    keys = np.asarray(answers.keys).astype(str)
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if len(twice):
        raise InputError(
            f"{len(twice)} keys occur again in the {word}, such as {shown(str(keys[order][twice[0]]))}:"
            " each face counts once"
        )
    return order


def _check_labels(first: Answers, second: Answers) -> None:
    """Raises InputError where the same face is labelled differently: then nothing compares."""
    pairs = [
        ("true class", first.true, second.true),
        ("person", np.asarray(first.persons).astype(str), np.asarray(second.persons).astype(str)),
    ]
    if first.years_true is not None and second.years_true is not None:
        pairs.append(("age", first.years_true, second.years_true))
    for label, one, other in pairs:
        # Not equal to itself is NaN: an age that neither knows is no difference.
        differing = np.flatnonzero((one != other) & ((one == one) | (other == other)))
        if len(differing):
            row = differing[0]
            raise InputError(
                f"{len(differing)} of {len(first)} faces have another {label} in the second than in"
                f" the first, such as {shown(str(first.keys[row]))}: {one_line(str(one[row]), 200)} and"
                f" {one_line(str(other[row]), 200)}; compare runs on the same data under the"
                " same label policy"
            )
