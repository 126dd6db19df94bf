"""A fold's log: metrics.jsonl, and TensorBoard events with the same values."""

import contextlib
import json
import os
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar

from ageflax.runtime import files
from ageflax.runtime.files import Json

_EVENTS: Any = event_pb2  # generated, without static types

# Seconds between flushes of TensorBoard's events, which are only a copy.
_FLUSH = 60.0


def _record(line: str) -> Json | None:
    """Content of a log line; None if it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("step"), int | float)
    return record if whole else None


class MetricsLog:
    """Writer of metrics.jsonl and TensorBoard events.

    Args:
      directory: folder of the fold.
      step: step that training resumes from; lines of later steps are dropped.
      silent: True to write nothing, as another process of the run does.

    Raises:
      OSError: the disk refuses the file, which the error names; likewise both methods.
    """

    def __init__(self, directory: Path, step: int, *, silent: bool = False):
        self._silent = silent
        if silent:
            return
        self._path = directory / "metrics.jsonl"
        kept = []
        if self._path.is_file():
            for line in self._path.read_text(errors="replace").splitlines():
                record = _record(line)
                if record is None:
                    break  # cut short by a kill
                if record["step"] <= step:
                    kept.append(line + "\n")
        with files.replacing(self._path) as temporary:
            temporary.write_text("".join(kept))
        folder = directory / "tensorboard"
        folder.mkdir(exist_ok=True)
        with self._told():
            self._file = self._path.open("a", buffering=1)
            # Not SummaryWriter: its thread dies on a full disk, and it waits for the thread forever.
            name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}"
            self._events = RecordWriter(str(folder / name))
            self._event(file_version="brain.Event:2")
            if step:
                # Makes TensorBoard drop later steps of earlier files.
                self._event(
                    step=step + 1, session_log=_EVENTS.SessionLog(status=_EVENTS.SessionLog.START)
                )
        self._flushed = time.monotonic()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def _event(self, **fields: Any) -> None:
        self._events.write(_EVENTS.Event(wall_time=time.time(), **fields).SerializeToString())

    def write(self, record: Json) -> None:
        """Adds a line; `record` contains its `step`."""
        if self._silent:
            return
        with self._told():
            self._file.write(json.dumps(record) + "\n")
            for key, value in record.items():
                if key not in ("step", "epoch") and isinstance(value, int | float):
                    self._event(step=record["step"], summary=scalar(key, value))
            if time.monotonic() - self._flushed > _FLUSH:
                self._events.flush()
                self._flushed = time.monotonic()

    def close(self) -> None:
        """Closes both files."""
        if self._silent:
            return
        with self._told(), contextlib.closing(self._file):
            self._events.close()


def images_per_second(directory: Path) -> float | None:
    """Median training rate over a fold's log lines, unaffected by pauses and restarts."""
    lines = (directory / "metrics.jsonl").read_text(errors="replace").splitlines()
    rates = [(_record(line) or {}).get("images_per_second") for line in lines]
    found = [rate for rate in rates if isinstance(rate, int | float)]
    return float(statistics.median(found)) if found else None
