"""Paired comparison of two models over the same faces."""

import numpy as np

from ageflax.errors import InputError, one_line, shown
from ageflax.metrics.answers import Answers
from ageflax.metrics.bootstrap import intervals
from ageflax.metrics.classification import ratio
from ageflax.runtime.files import Json

_COMPARED = ("exact", "one_off", "mae")


def paired(
    first: Answers,
    second: Answers,
    *,
    common: bool = False,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Json:
    """Compares two models face by face.

    The interval of a difference comes from a bootstrap by subject over the faces' own differences, so
    faces that are hard for both models cancel out. If it contains zero, neither model is shown to be
    better. McNemar's test treats faces as independent, which photographs of one subject are not: if
    subjects have many faces, trust the interval.

    Args:
      first: answers of one model.
      second: answers of the other model, over the same faces in any order.
      common: compare the faces that both have and ignore the others.
      resamples: number of resamples of the bootstrap.
      seed: random seed of the bootstrap.
      level: confidence level of the intervals.

    Returns:
      JSON: `faces` and `persons` compared; with `common`, `left_out`: faces that only the `first` or
      only the `second` has; `exact` and, for ordered classes, `one_off`: `first`, `second`,
      `difference` (second - first), its `interval`, `only_first` and `only_second` (faces that only
      one has right) and `mcnemar_p`, the exact two-sided p-value of McNemar's test, null if there are
      no such faces; if both estimate known ages `mae`: `first`, `second`, `difference`, `interval`.

    Raises:
      InputError: a key occurs twice, the faces differ (without `common`) or none is shared, or a face
        has another subject, true class or age in the second than in the first.

    References: McNemar, Psychometrika 1947; Dietterich, Neural Computation 1998.
    """
    first, second, left_out = _aligned(first, second, common=common)
    one, other = first.per_face(), second.per_face()
    names = [name for name in _COMPARED if name in one and name in other]
    differences = {name: other[name] - one[name] for name in names}
    found = intervals(first.subjects, differences, resamples=resamples, seed=seed, level=level)
    counted = np.any([~np.isnan(values) for values in differences.values()], axis=0)
    result: Json = {"faces": int(counted.sum()), "persons": found["persons"]}
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


def _mcnemar(differences: np.ndarray) -> Json:
    """Counts of faces that only one model has right, and the p-value of their imbalance."""
    from scipy import stats  # late: most of a second of every command's start

    only_first, only_second = int((differences < 0).sum()), int((differences > 0).sum())
    discordant = only_first + only_second
    p = float(stats.binomtest(only_first, discordant).pvalue) if discordant else None
    return {"only_first": only_first, "only_second": only_second, "mcnemar_p": p}


def _aligned(
    first: Answers, second: Answers, *, common: bool
) -> tuple[Answers, Answers, dict[str, int]]:
    """Both over the same faces, sorted by key, and how many faces only one of them has."""
    first, second = _sorted(first, "first"), _sorted(second, "second")
    keys = first.keys.astype(str), second.keys.astype(str)
    shared = np.isin(keys[0], keys[1]), np.isin(keys[1], keys[0])
    alone = [mine[~both] for mine, both in zip(keys, shared, strict=True)]
    if any(map(len, alone)) and not common:
        example = next(str(only[0]) for only in alone if len(only))
        raise InputError(
            f"the faces differ: {len(alone[0])} are only in the first, {len(alone[1])} only in the"
            f" second, such as {shown(example)}; {int(shared[0].sum())} are in both"
        )
    if not shared[0].any():
        raise InputError("no face in common")
    first, second = first.at(shared[0]), second.at(shared[1])
    _check_labels(first, second)
    return first, second, {"first": len(alone[0]), "second": len(alone[1])}


def _sorted(answers: Answers, word: str) -> Answers:
    answers = answers.at(np.argsort(answers.keys.astype(str), kind="stable"))
    keys = answers.keys.astype(str)
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        raise InputError(
            f"{len(twice)} keys are repeated in the {word}, such as {shown(str(keys[twice[0]]))};"
            " each face counts once"
        )
    return answers


def _check_labels(first: Answers, second: Answers) -> None:
    """Raises InputError if a face is labelled differently in the two."""
    pairs = [
        ("true class", first.true, second.true),
        ("subject", first.subjects.astype(str), second.subjects.astype(str)),
    ]
    if first.years_true is not None and second.years_true is not None:
        pairs.append(("age", first.years_true, second.years_true))
    for label, one, other in pairs:
        # NaN is unequal to itself: an age unknown to both is no difference.
        differing = np.flatnonzero((one != other) & ((one == one) | (other == other)))
        if len(differing):
            row = differing[0]
            raise InputError(
                f"{len(differing)} of {len(first)} faces have a different {label} in the second than"
                f" in the first, such as {shown(str(first.keys[row]))}: {one_line(str(one[row]), 200)}"
                f" and {one_line(str(other[row]), 200)}; compare runs on the same data and label policy"
            )
