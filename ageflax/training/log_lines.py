"""Log lines of a fold, fetched from the devices without stalling them."""

import dataclasses
import math
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np
import optax

from ageflax.arrays import Metrics
from ageflax.errors import RunError
from ageflax.runtime.files import Json
from ageflax.training.log import MetricsLog

# Steps in flight before the host waits for the oldest: enough to keep any device busy, few enough that
# batches do not pile up in its memory. Of dispatches with more steps, two: a stop waits for them.
_IN_FLIGHT = 8


def means(
    fetched: dict[str, np.ndarray], first_step: int, *, tasks: Collection[str], batch_size: int
) -> dict[str, float]:
    """Means over the steps of a log line.

    Args:
      fetched: every metric, float[steps].
      first_step: number of the first step.
      tasks: tasks with a loss of their own.
      batch_size: faces per step; unreadable ones among them are reported.

    Raises:
      RunError: a loss or an update is not finite; names the first such step.
    """
    count = len(fetched["loss"])
    finite = np.isfinite(fetched["loss"]) & np.isfinite(fetched["update_norm"])
    if not finite.all():
        worst = int(finite.argmin())
        name = "update_norm" if math.isfinite(fetched["loss"][worst]) else "loss"
        words = {"loss": "loss", "update_norm": "update of the weights"}[name]
        raise RunError(
            f"the {words} is {fetched[name][worst]} at step {first_step + worst}; earlier checkpoints"
            " are kept; a lower optim.learning_rate usually helps"
        )
    sums = {name: float(values.sum(dtype=np.float64)) for name, values in fetched.items()}
    record = {name: sums[name] / count for name in ("loss", "update_norm")}
    for task in tasks:
        record[f"{task}_loss"] = sums[f"{task}_loss"] / count
        if f"{task}_distilled" in sums:
            record[f"{task}_distilled"] = sums[f"{task}_distilled"] / count
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
    """Steps whose metrics are still on the devices.

    Attributes:
      step: last of the steps.
      metrics: one entry per dispatch.
      computed: time at which the devices finish them.
    """

    step: int
    metrics: list[Metrics]
    computed: Future[float]


def _when_computed(metrics: Metrics) -> float:
    jax.block_until_ready(metrics)
    return time.monotonic()


class Records:
    """Log lines of a fold's training.

    A line is held back until the next dispatch is made, as the devices would otherwise wait for the
    host; `finish` fetches at once, before weights are validated or saved.

    Args:
      log: writer of the lines.
      start: number of steps already done.
      tasks: tasks with a loss of their own.
      batch_size: faces per step.
      training_faces: faces per epoch.
      schedule: learning rate by step.
      unwritten: result of `unwritten` in the process that stopped at `start`.
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
        # Notes when the devices finish a dispatch, which the loop itself cannot tell.
        self._clock = ThreadPoolExecutor(1, thread_name_prefix="computed")
        self._since, self._logged = time.monotonic(), start - len(self._earlier.get("loss", ()))

    def add(self, metrics: Metrics) -> Json:
        """Adds a dispatch's metrics; writes the line held back, if any, and returns it.

        Raises:
          RunError: see `means`.
        """
        self._pending.append(metrics)
        most = max(_IN_FLIGHT // metrics["loss"].size, 2)
        if len(self._pending) > most:
            jax.block_until_ready(self._pending[-most]["loss"])
        return self._write_held()

    def _write_held(self) -> Json:
        line, self._held = self._held, None
        if line is None:
            return {}
        record = self._fetch(line)
        self._log.write(record)
        return record

    def unwritten(self) -> dict[str, list[float]]:
        """Metrics of the steps since the last line, for the process that resumes.

        Raises:
          RunError: see `means`.
        """
        self._write_held()
        columns = self._columns(self._pending)
        if columns:
            first = self._logged + 1
            means(columns, first, tasks=self._tasks, batch_size=self._batch_size)
        return {name: values.tolist() for name, values in columns.items()}

    def hold(self, step: int) -> None:
        """Ends a line at `step`; it is written after the next dispatch."""
        self._held = self._line(step)

    def finish(self, step: int) -> Json:
        """Ends a line at `step` and fetches it, for `write`.

        Raises:
          RunError: see `means`.
        """
        return self._fetch(self._line(step))

    def write(self, record: Json, validation: dict[str, float]) -> None:
        """Writes a line from `finish` with validation figures; rates exclude the time they took."""
        self._log.write({**record, **validation})
        self._since = time.monotonic()

    def close(self) -> None:
        """Ends the clock's thread."""
        self._clock.shutdown(wait=False, cancel_futures=True)

    def _line(self, step: int) -> _Line:
        metrics, self._pending = self._pending, []
        return _Line(step, metrics, self._clock.submit(_when_computed, metrics[-1]))

    def _columns(self, metrics: list[Metrics]) -> dict[str, np.ndarray]:
        """Every metric since the last line, float[steps]."""
        parts = [self._earlier] if self._earlier else []
        parts += jax.device_get(metrics)
        if not parts:
            return {}
        return {
            name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]
        }

    def _fetch(self, line: _Line) -> Json:
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
