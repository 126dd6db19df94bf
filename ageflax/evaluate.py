"""Every face of a split through the network once, and what comes of it."""

import collections
import csv
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ageflax import metrics
from ageflax.data.dataset import Faces, Target
from ageflax.steps import EvalStep
from ageflax.structs import Batch, TrainState

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
    eval_step: EvalStep, state: TrainState, batches: Iterable[Batch], rows: np.ndarray
) -> Predictions:
    """Runs every batch; padding and unreadable images are dropped by their mask.

    Args:
      eval_step: see steps.make_eval_step.
      state: whose weights and mean are used.
      batches: the faces of `rows` in order, the last batch padded.
      rows: int[n], what the batches hold.
    """
    waiting, fetched = collections.deque(), []
    for batch in batches:
        # The device computes while the next batch is made; a few in flight, so that batches do not
        # pile up in its memory.
        output = eval_step(state.params, state.batch_stats, state.mean, batch)
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


def expected_years(probabilities: np.ndarray, centres: Sequence[float]) -> np.ndarray:
    """float64[n], years: class centres weighted by the classes' probabilities."""
    return probabilities.astype(np.float64) @ np.array(centres)


def figures(
    predictions: Predictions, faces: Faces, targets: Mapping[str, Target]
) -> dict[str, dict[str, Any]]:
    """Figures per task; see metrics.classification. Faces without a label for a task are left out.

    Where years of age are known, "age" also has `years`: errors of the expected age.

    Args:
      predictions: of the evaluated faces.
      faces: the dataset's labels.
      targets: classes per task.
    """
    result = {}
    for task, probabilities in predictions.probabilities.items():
        target = targets[task]
        true = target.classes[predictions.rows]
        known = true >= 0
        aged = bool(target.centres)
        result[task] = metrics.classification(
            true[known], probabilities[known], target.names, ordered=aged
        )
        if aged:
            expected = expected_years(probabilities, target.centres)
            years = metrics.years(faces.ages[predictions.rows], expected)
            if years["faces"]:
                result[task]["years"] = years
    return result


def write_predictions(
    path: Path, predictions: Predictions, faces: Faces, targets: Mapping[str, Target]
) -> None:
    """predictions.csv: one line a face, in the dataset's order.

    Columns: key, subject, then per task TASK_true (empty where unknown), TASK_predicted and one
    TASK_probability_CLASS a class. Probabilities have nine significant digits: float32 exactly.
    """
    tasks = list(predictions.probabilities)
    header = ["key", "subject"]
    for task in tasks:
        header += [f"{task}_true", f"{task}_predicted"]
        header += [f"{task}_probability_{name}" for name in targets[task].names]
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for place, row in enumerate(predictions.rows):
            line = [faces.keys[row], faces.subjects[row]]
            for task in tasks:
                names, scores = targets[task].names, predictions.probabilities[task][place]
                true = targets[task].classes[row]
                line += [names[true] if true >= 0 else "", names[scores.argmax()]]
                line += [f"{score:.9g}" for score in scores]
            writer.writerow(line)
    temporary.replace(path)
