"""What a fold logs while it trains."""

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

_EVENTS: Any = event_pb2  # generated, without static types

# Seconds after which TensorBoard's events, which are a copy, are forced to disk.
_FLUSH = 60.0


def _record(line: str) -> dict[str, Any] | None:
    """A line's content; None where it is none of a log."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and isinstance(record.get("step"), int | float)
    return record if whole else None


class MetricsLog:
    """metrics.jsonl and TensorBoard events, cut back to the step a run goes on from.

    Args:
      directory: of the fold.
      step: what was written of later ones is dropped.
      silent: write nothing: another process of the run does.

    Raises:
      OSError: the disk does not take it; names the file. So do both methods.
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
                    break  # a line cut short by a kill; what followed is lost with it
                if record["step"] <= step:
                    kept.append(line + "\n")
        with files.replacing(self._path) as temporary:
            temporary.write_text("".join(kept))
        folder = directory / "tensorboard"
        folder.mkdir(exist_ok=True)
        with self._told():
            self._file = self._path.open("a", buffering=1)
            # Not SummaryWriter: its thread dies of a full disk, and then it waits for it forever.
            name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}"
            self._events = RecordWriter(str(folder / name))
            self._event(file_version="brain.Event:2")
            if step:
                # TensorBoard drops what an earlier file has of later steps.
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

    def write(self, record: dict[str, Any]) -> None:
        """Adds a line; `record` has its `step`."""
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
        """Closes both."""
        if self._silent:
            return
        with self._told(), contextlib.closing(self._file):
            self._events.close()


def images_per_second(directory: Path) -> float | None:
    """Median over a fold's log lines, so that a pause or a restart does not count."""
    lines = (directory / "metrics.jsonl").read_text(errors="replace").splitlines()
    rates = [(_record(line) or {}).get("images_per_second") for line in lines]
    found = [rate for rate in rates if isinstance(rate, int | float)]
    return float(statistics.median(found)) if found else None
