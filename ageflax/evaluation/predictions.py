"""Predictions of a model over batches of faces."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from ageflax.arrays import AnyArray
from ageflax.data.batches import Batch
from ageflax.runtime.mesh import whole

# Batches dispatched before the first one's result is waited for.
_IN_FLIGHT = 3


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Probabilities of every evaluated face.

    Attributes:
      rows: int[n], rows of the dataset, each once.
      probabilities: float32[n, classes] per task.
      unreadable: int[m], rows whose image does not decode, without probabilities.
    """

    rows: np.ndarray
    probabilities: dict[str, np.ndarray]
    unreadable: np.ndarray


def predict(
    answer: Callable[[Any], Mapping[str, AnyArray]],
    batches: Iterable[Batch],
    rows: np.ndarray,
) -> Predictions:
    """Runs every batch; masked rows (padding, unreadable images) are dropped.

    Args:
      answer: function from a batch's images to probabilities per task.
      batches: the faces of `rows` in order, the last batch padded.
      rows: int[n], rows of the dataset.
    """
    waiting, fetched = collections.deque(), []
    for batch in batches:
        # The device computes while the next batch is made; few in flight, as they take its memory.
        output = answer(batch.images)
        waiting.append((output, batch.mask))
        if len(waiting) > _IN_FLIGHT:
            fetched.append(jax.tree.map(whole, waiting.popleft()))
    fetched += [jax.tree.map(whole, pair) for pair in waiting]
    readable = np.concatenate([mask for _, mask in fetched])[: len(rows)]
    probabilities = {
        task: np.concatenate([output[task] for output, _ in fetched])[: len(rows)][readable]
        for task in fetched[0][0]
    }
    return Predictions(rows[readable], probabilities, rows[~readable])
