"""Every face of a split through the network once, and what comes of it."""

import collections
import csv
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ageflax import metrics
from ageflax.data.dataset import Faces, Target
from ageflax.structs import AnyArray, Batch

# Batches dispatched before the first one's result is waited for.
_IN_FLIGHT = 3


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Probabilities of every evaluated face.

    Attributes:
      rows: int[n], rows of the dataset, each once.
      probabilities: float32[n, classes] per task.
      unreadable: int[m], rows whose image does not decode; they have no probabilities.
    """

    rows: np.ndarray
    probabilities: dict[str, np.ndarray]
    unreadable: np.ndarray


def predict(
    eval_step: Callable[[Any, Batch], Mapping[str, AnyArray]],
    state: Any,
    batches: Iterable[Batch],
    rows: np.ndarray,
) -> Predictions:
    """Runs every batch; padding and unreadable images are dropped by their mask.

    Args:
      eval_step: see steps.make_eval_step; or whatever else makes probabilities of a batch.
      state: its first argument, whose weights and mean are used.
      batches: the faces of `rows` in order, the last batch padded.
      rows: int[n], what the batches hold.
    """
    waiting, fetched = collections.deque(), []
    for batch in batches:
        # The device computes while the next batch is made; a few in flight, so that batches do not
        # pile up in its memory.
        output = eval_step(state, batch)
        waiting.append((output, batch.mask))
        if len(waiting) > _IN_FLIGHT:
            fetched.append(jax.device_get(waiting.popleft()))
    fetched += [jax.device_get(pair) for pair in waiting]
    readable = np.concatenate([mask for _, mask in fetched])[: len(rows)]
    probabilities = {
        task: np.concatenate([output[task] for output, _ in fetched])[: len(rows)][readable]
        for task in fetched[0][0]
    }
    return Predictions(rows[readable], probabilities, rows[~readable])


def expected(probabilities: np.ndarray, values: np.ndarray) -> np.ndarray:
    """float64[n], what each class stands for, weighted by the classes' probabilities."""
    return probabilities.astype(np.float64) @ values


@dataclasses.dataclass(frozen=True)
class Ages:
    """What a head says of ages.

    Attributes:
      years: float64[n], the expected age.
      deviation: float64[n], standard deviation of the age under the head's distribution; None of a
        head that gives an age and no distribution.
      groups: float32[n, k], probabilities of the age groups.
    """

    years: np.ndarray
    deviation: np.ndarray | None
    groups: np.ndarray


def ages(probabilities: np.ndarray, target: Target) -> Ages:
    """Years and groups, from probabilities of groups ("age") or of years.

    Age groups of a "years" head are sums over its years, each year in the group that holds it or else
    the nearest; of a head without a distribution, the group of its estimate.

    Args:
      probabilities: float[n, classes], or float[n, 1] years.
      target: what the head learned; of "age" or "years".
    """
    if target.years is None:
        bins, groups = np.array(target.centres), probabilities
    else:
        bins = np.arange(len(target.groups))
        membership = np.eye(len(target.names), dtype=np.float32)[list(target.groups)]
        if probabilities.shape[1] == 1:
            estimate = probabilities[:, 0].astype(np.float64)
            nearest = np.clip(estimate, 0, len(bins) - 1).astype(int)
            return Ages(estimate, None, membership[nearest])
        groups = probabilities @ membership
    mean = expected(probabilities, bins)
    variance = expected(probabilities, np.square(bins)) - np.square(mean)
    return Ages(mean, np.sqrt(np.maximum(variance, 0.0)), groups)


def figures(
    predictions: Predictions, faces: Faces, targets: Mapping[str, Target]
) -> dict[str, dict[str, Any]]:
    """Figures per task; see metrics.classification. Faces without a label for a task are left out.

    Where years of age are known, "age" and "years" also have `years`: errors of the expected age.
    Accuracies of "years" are those of the age groups that its years add up to.

    Args:
      predictions: of the evaluated faces.
      faces: the dataset's labels.
      targets: classes per task.
    """
    result = {}
    for task, target in targets.items():
        probabilities = predictions.probabilities[task]
        true = target.classes[predictions.rows]
        known = true >= 0
        aged = ages(probabilities, target) if target.centres else None
        result[task] = metrics.classification(
            true[known],
            probabilities[known] if aged is None else aged.groups[known],
            target.names,
            ordered=aged is not None,
        )
        if aged is not None:
            years = metrics.years(faces.ages[predictions.rows], aged.years)
            if years["faces"]:
                result[task]["years"] = years
    return result


def _columns(task: str, target: Target, probabilities: np.ndarray) -> list[str]:
    """Names of a task's columns in predictions.csv."""
    names: Sequence[str] = target.names
    found = [f"{task}_true", f"{task}_predicted"]
    if target.years is not None:
        if probabilities.shape[1] == 1:
            return found
        names = [str(year) for year in range(probabilities.shape[1])]
        found.append(f"{task}_deviation")
    return found + [f"{task}_probability_{name}" for name in names]


def _cells(
    row: int, place: int, target: Target, probabilities: np.ndarray, aged: Ages | None
) -> list[str]:
    """One face's, in the same order."""
    scores = probabilities[place]
    if aged is None or target.years is None:
        true = target.classes[row]
        cells = [target.names[true] if true >= 0 else "", target.names[scores.argmax()]]
    else:
        true = target.years[row]
        cells = ["" if np.isnan(true) else f"{true:.9g}", f"{aged.years[place]:.9g}"]
        if aged.deviation is None:
            return cells
        cells.append(f"{aged.deviation[place]:.9g}")
    return cells + [f"{score:.9g}" for score in scores]


def write_predictions(
    path: Path, predictions: Predictions, faces: Faces, targets: Mapping[str, Target]
) -> None:
    """predictions.csv: one line a face, in the dataset's order.

    Columns: key, subject, then per task TASK_true (empty where unknown), TASK_predicted and one
    TASK_probability_CLASS a class; of years, true and predicted are ages, and years_deviation is the
    predicted distribution's. Probabilities have nine significant digits: float32 exactly.
    """
    shown = {task: (target, predictions.probabilities[task]) for task, target in targets.items()}
    aged = {task: ages(p, target) for task, (target, p) in shown.items() if target.centres}
    header = ["key", "subject"]
    for task, (target, probabilities) in shown.items():
        header += _columns(task, target, probabilities)
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for place, row in enumerate(predictions.rows.tolist()):
            line = [faces.keys[row], faces.subjects[row]]
            for task, (target, probabilities) in shown.items():
                line += _cells(row, place, target, probabilities, aged.get(task))
            writer.writerow(line)
    temporary.replace(path)
