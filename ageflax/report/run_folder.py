"""What a run left in its workdir."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ageflax.errors import InputError, RunError, one_line, shown
from ageflax.runtime import files


@dataclasses.dataclass(frozen=True)
class Run:
    """What lies in a workdir; `results` are in the order of summary["folds"]."""

    workdir: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    results: list[dict[str, Any]]

    @property
    def folds(self) -> list[int]:
        """The finished ones, in order."""
        return self.summary["folds"]

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved config; empty where config.json is gone."""
        return self.config.get("config", {})

    @property
    def hold_out(self) -> bool:
        """Whether fold 4 alone is tested."""
        return self.summary["protocol"]["name"] == "hold_out"


@contextlib.contextmanager
def believed(where: object) -> Iterator[None]:
    """Around whatever looks into a record, which anybody may have written or an editor damaged.

    Args:
      where: the run or runs, for the message.

    Raises:
      InputError: the record was of another shape than was believed, wherever that came up.
    """
    try:
        yield
    except (InputError, RunError, OSError, MemoryError):
        raise
    except Exception as error:
        what = one_line(f"{type(error).__name__}: {error}", 200)
        raise InputError(
            f"{where}: config.json, summary.json, or a fold's result.json or metrics.jsonl is damaged or"
            f" of another version ({what})"
        ) from error


def read(workdir: Path) -> Run:
    """Reads the record of a run.

    Raises:
      InputError: no fold is finished.
    """
    summary = files.read_json(workdir / "summary.json")
    if summary is None or not summary["folds"]:
        raise InputError(f"{workdir}: no finished fold to report")
    if unknown := [fold for fold in summary["folds"] if fold not in range(5)]:
        raise InputError(f"{workdir}: summary.json is damaged (fold {shown(unknown[0])})")
    results = [files.read_json(workdir / f"fold_{k}" / "result.json") for k in summary["folds"]]
    return Run(
        workdir=workdir,
        config=files.read_json(workdir / "config.json") or {},
        summary=summary,
        results=[result for result in results if result is not None],
    )
