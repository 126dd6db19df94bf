"""Confidence intervals by subject: photographs of one subject are not independent."""

from collections.abc import Mapping

import numpy as np

from ageflax.runtime.files import Json

# Drawn subjects in memory at a time; bounds it for any number of faces and resamples.
_BLOCK = 2_000_000


def _sums_by_subject(subjects: np.ndarray, values: np.ndarray) -> np.ndarray:
    """float64[subjects, figures], sums over each subject's faces, subjects sorted by name.

    Faces are sorted by their values first, so the rounding of a sum does not depend on their order.
    """
    _, subject = np.unique(np.asarray(subjects).astype(str), return_inverse=True)
    order = np.lexsort((*values.T, subject))
    starts = np.searchsorted(subject[order], np.arange(subject.max(initial=-1) + 1))
    if not len(starts):
        return np.zeros((0, values.shape[1]))
    return np.add.reduceat(values[order], starts, axis=0)


def _resampled(sums: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """float64[resamples, figures], totals over as many subjects, drawn with replacement."""
    rng = np.random.Generator(np.random.PCG64(seed))
    count, totals = len(sums), []
    at_once = max(_BLOCK // count, 1)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(count, size=(rows, count))
        # How often each subject was drawn: multinomial counts, one row per resample.
        drawn += np.arange(rows)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        totals.append(times.astype(np.float64) @ sums)
    return np.concatenate(totals)


def intervals(
    subjects: np.ndarray,
    values: Mapping[str, np.ndarray],
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Json:
    """Percentile intervals of means over faces, from a bootstrap that draws subjects, not faces.

    A subject is drawn with all their faces. The result depends on the values, the subjects' names and
    the seed, not on the order of the faces.

    Args:
      subjects: str or int[n], subject of each face.
      values: figure to float[n], each face's contribution, NaN where it does not count.
      resamples: number of resamples.
      seed: random seed of the draws.
      level: confidence level, the share of such intervals that contain the true mean.

    Returns:
      JSON: `level`, `persons` (subjects with a face that counts for any figure), `resamples`, `seed`,
      and per figure [low, high]; [null, null] if fewer than two subjects have a face that counts.

    References: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; Field and
      Welsh, Bootstrapping clustered data, JRSS B 2007.
    """
    names = list(values)
    table = np.stack([np.asarray(values[name], np.float64) for name in names], axis=1)
    counts = ~np.isnan(table)
    used = counts.any(1)
    columns = np.concatenate([np.where(counts, table, 0.0), counts], axis=1)[used]
    sums = _sums_by_subject(np.asarray(subjects)[used], columns)
    found: Json = {
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
        # Without resamples that miss every subject who counts for this figure.
        means = parts[wholes > 0] / wholes[wholes > 0]
        ends = np.quantile(means, [(1 - level) / 2, (1 + level) / 2]) if len(means) else []
        found[name] = [float(end) for end in ends] or [None, None]
    return found
