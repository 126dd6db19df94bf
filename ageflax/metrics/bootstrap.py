"""Confidence intervals by person: photographs of one person are not independent of each other."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# Drawn persons held in memory at a time: bounds it whatever the number of faces and of resamples.
_BLOCK = 2_000_000


def _sums_by_person(persons: np.ndarray, values: np.ndarray) -> np.ndarray:
    """float64[persons, figures], values added up over each person's faces, persons in order of name.

    Faces are put in an order of their own values first, so that the rounding of a sum does not depend
    on the order in which they come.
    """
    _, person = np.unique(np.asarray(persons).astype(str), return_inverse=True)
    order = np.lexsort((*values.T, person))
    starts = np.searchsorted(person[order], np.arange(person.max(initial=-1) + 1))
    if not len(starts):
        return np.zeros((0, values.shape[1]))
    return np.add.reduceat(values[order], starts, axis=0)


def _resampled(sums: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """float64[resamples, figures], totals over as many persons, drawn with replacement."""
    rng = np.random.Generator(np.random.PCG64(seed))
    count, totals = len(sums), []
    at_once = max(_BLOCK // count, 1)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(count, size=(rows, count))
        # How often each person was drawn: multinomial counts, a row a resample.
        drawn += np.arange(rows)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        totals.append(times.astype(np.float64) @ sums)
    return np.concatenate(totals)


def intervals(
    persons: np.ndarray,
    values: Mapping[str, np.ndarray],
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Any]:
    """Percentile intervals of means over faces, by a bootstrap that draws persons, not faces.

    A person drawn brings all their faces. The result depends on the values, the persons' names and the
    seed, not on the order of the faces.

    Args:
      persons: str or int[n], whose face it is.
      values: figure to float[n], what each face adds to it, NaN where it does not count for it.
      resamples: how many.
      seed: of the draws.
      level: share of such intervals that hold the true mean.

    Returns:
      JSON: `level`, `persons` (with a face that counts for anything), `resamples`, `seed`, and per
      figure [low, high]; [null, null] where fewer than two persons have a face that counts for it.

    References: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; Field and
      Welsh, Bootstrapping clustered data, JRSS B 2007.
    """
    names = list(values)
    table = np.stack([np.asarray(values[name], np.float64) for name in names], axis=1)
    counts = ~np.isnan(table)
    used = counts.any(1)
    columns = np.concatenate([np.where(counts, table, 0.0), counts], axis=1)[used]
    sums = _sums_by_person(np.asarray(persons)[used], columns)
    found: dict[str, Any] = {
        "level": level,
        "persons": len(sums),
        "resamples": resamples,
        "seed": seed,
    }
    enough = (sums[:, len(names) :] > 0).sum(0) >= 2
    totals = _resampled(sums, resamples, seed) if enough.any() else np.zeros((0, sums.shape[1]))
    for k, name in enumerate(names):
        if not enough[k]:
            found[name] = [None, None]
            continue
        parts, wholes = totals[:, k], totals[:, len(names) + k]
        # A resample may miss all the few persons who count for this figure: it says nothing of it.
        means = parts[wholes > 0] / wholes[wholes > 0]
        ends = np.quantile(means, [(1 - level) / 2, (1 + level) / 2]) if len(means) else []
        found[name] = [float(end) for end in ends] or [None, None]
    return found
