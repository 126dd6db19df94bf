"""A fold's log lines, fetched from the devices while they compute on."""

import dataclasses
import math
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import optax

from ageflax.arrays import Metrics
from ageflax.errors import RunError
from ageflax.training.log import MetricsLog

# Steps dispatched before the oldest is waited for: enough to keep any device busy, few enough that
# batches do not pile up in its memory. Of dispatches of more steps it is two: who tells a run to stop
# waits for them.
_IN_FLIGHT = 8


def means(
    fetched: dict[str, np.ndarray], first_step: int, *, tasks: Collection[str], batch_size: int
) -> dict[str, float]:
    """What a log line says of its steps.

    Args:
      fetched: every metric, float[steps].
      first_step: the number of the first of them.
      tasks: those with losses of their own.
      batch_size: faces a step was given; those it could not count are reported.

    Raises:
      RunError: a loss or an update is not finite; names the first step at which it was not.
    """
    count = len(fetched["loss"])
    finite = np.isfinite(fetched["loss"]) & np.isfinite(fetched["update_norm"])
    if not finite.all():
        worst = int(finite.argmin())
        name = "update_norm" if math.isfinite(fetched["loss"][worst]) else "loss"
        words = {"loss": "loss", "update_norm": "update of the weights"}[name]
        raise RunError(
            f"the {words} is {fetched[name][worst]} at step {first_step + worst}; checkpoints from"
            " before it are kept. A lower optim.learning_rate usually helps"
        )
    sums = {name: float(values.sum(dtype=np.float64)) for name, values in fetched.items()}
    record = {name: sums[name] / count for name in ("loss", "update_norm")}
    for task in tasks:
        record[f"{task}_loss"] = sums[f"{task}_loss"] / count
        labelled = sums[f"{task}_labelled"]
        for name, total in (("exact", "correct"), ("mae", "error")):
            if labelled and f"{task}_{total}" in sums:
                record[f"{task}_{name}"] = sums[f"{task}_{total}"] / labelled
        if f"{task}_log_variance" in fetched:
            record[f"{task}_log_variance"] = float(fetched[f"{task}_log_variance"][-1])
    unreadable = count * batch_size - sums["faces"]
    if unreadable:
        record["unreadable"] = unreadable
    return record


@dataclasses.dataclass(frozen=True)
class _Line:
    """Steps whose metrics are still on the devices, up to and with `step`.

    Attributes:
      step: the last of them.
      metrics: one entry a dispatch.
      computed: when the devices had done them.
    """

    step: int
    metrics: list[Metrics]
    computed: Future[float]


def _when_computed(metrics: Metrics) -> float:
    jax.block_until_ready(metrics)
    return time.monotonic()


class Records:
    """The log lines of a fold's training.

    A line is held back until the dispatch after it was made, so that the devices never wait for the
    host to write; `finish` writes at once, before weights are validated or saved.

    Args:
      log: takes the lines.
      start: steps done before.
      tasks: those with losses of their own.
      batch_size: faces a step.
      training_faces: faces an epoch.
      schedule: learning rate by step.
      unwritten: what `unwritten` gave when an earlier process stopped at `start`.
    """

    def __init__(
        self,
        log: MetricsLog,
        start: int,
        *,
        tasks: Collection[str],
        batch_size: int,
        training_faces: int,
        schedule: optax.Schedule,
        unwritten: dict[str, list[float]] | None = None,
    ):
        self._log, self._tasks, self._batch_size = log, tasks, batch_size
        self._training_faces, self._schedule = training_faces, schedule
        self._pending: list[Metrics] = []
        self._earlier = {k: np.array(v, np.float32) for k, v in (unwritten or {}).items()}
        self._held: _Line | None = None
        # A clock that waits beside the loop: neither when a dispatch returns nor when its metrics are
        # fetched tells when the devices were done with it.
        self._clock = ThreadPoolExecutor(1, thread_name_prefix="computed")
        self._since, self._logged = time.monotonic(), start - len(self._earlier.get("loss", ()))

    def add(self, metrics: Metrics) -> dict[str, Any]:
        """Takes a dispatch's metrics; writes the line held back, and gives what it says.

        Raises:
          RunError: as `means`.
        """
        self._pending.append(metrics)
        most = max(_IN_FLIGHT // metrics["loss"].size, 2)
        if len(self._pending) > most:
            jax.block_until_ready(self._pending[-most]["loss"])
        return self._write_held()

    def _write_held(self) -> dict[str, Any]:
        line, self._held = self._held, None
        if line is None:
            return {}
        record = self._fetch(line)
        self._log.write(record)
        return record

    def unwritten(self) -> dict[str, list[float]]:
        """The metrics of the steps since the last line, which a later process goes on with.

        Raises:
          RunError: as `means`; before the weights could be saved.
        """
        self._write_held()
        columns = self._columns(self._pending)
        if columns:
            first = self._logged + 1
            means(columns, first, tasks=self._tasks, batch_size=self._batch_size)
        return {name: values.tolist() for name, values in columns.items()}

    def hold(self, step: int) -> None:
        """Ends a line at `step`, to be written after the next dispatch."""
        self._held = self._line(step)

    def finish(self, step: int) -> dict[str, Any]:
        """Ends a line at `step` and fetches it; `write` is to follow.

        Raises:
          RunError: as `means`; before the weights could be saved.
        """
        return self._fetch(self._line(step))

    def write(self, record: dict[str, Any], validation: dict[str, float]) -> None:
        """Writes what `finish` gave, with validation figures; the time they took does not count."""
        self._log.write({**record, **validation})
        self._since = time.monotonic()

    def close(self) -> None:
        """Lets the clock go."""
        self._clock.shutdown(wait=False, cancel_futures=True)

    def _line(self, step: int) -> _Line:
        metrics, self._pending = self._pending, []
        return _Line(step, metrics, self._clock.submit(_when_computed, metrics[-1]))

    def _columns(self, metrics: list[Metrics]) -> dict[str, np.ndarray]:
        """Every metric of all steps since the last line, float[steps]."""
        parts = [self._earlier] if self._earlier else []
        parts += jax.device_get(metrics)
        if not parts:
            return {}
        return {
            name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]
        }

    def _fetch(self, line: _Line) -> dict[str, Any]:
        columns = self._columns(line.metrics)
        taken = len(columns["loss"]) - len(self._earlier.get("loss", ()))
        self._earlier = {}
        found = means(columns, self._logged + 1, tasks=self._tasks, batch_size=self._batch_size)
        now = line.computed.result()
        rate = taken * self._batch_size / max(now - self._since, 1e-9)
        self._since, self._logged = now, line.step
        return {
            "step": line.step,
            "epoch": line.step * self._batch_size / self._training_faces,
            "learning_rate": float(np.asarray(self._schedule(line.step - 1))),
            "images_per_second": rate,
            **found,
        }
