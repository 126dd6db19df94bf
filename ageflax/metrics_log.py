"""What a fold logs while it trains."""

import json
import statistics
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter


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
        temporary = self._path.with_name("metrics.jsonl.partial")
        temporary.write_text("".join(kept))
        temporary.replace(self._path)
        self._file = self._path.open("a", buffering=1)
        self._events = SummaryWriter(
            str(directory / "tensorboard"), purge_step=step + 1 if step else None
        )

    def write(self, record: dict[str, Any]) -> None:
        """Adds a line; `record` has its `step`."""
        if self._silent:
            return
        self._file.write(json.dumps(record) + "\n")
        for key, value in record.items():
            if key not in ("step", "epoch") and isinstance(value, int | float):
                self._events.add_scalar(key, value, record["step"])

    def close(self) -> None:
        """Closes both."""
        if self._silent:
            return
        self._file.close()
        self._events.close()


def images_per_second(directory: Path) -> float | None:
    """Median over a fold's log lines, so that a pause or a restart does not count."""
    lines = (directory / "metrics.jsonl").read_text(errors="replace").splitlines()
    rates = [(_record(line) or {}).get("images_per_second") for line in lines]
    found = [rate for rate in rates if isinstance(rate, int | float)]
    return float(statistics.median(found)) if found else None
