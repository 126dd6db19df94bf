"""The files of a run's workdir that pages are made from."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ageflax.errors import InputError, RunError, one_line, shown
from ageflax.runtime import files
from ageflax.runtime.files import Json


@dataclasses.dataclass(frozen=True)
class Run:
    """Parsed files of a workdir; `results` are in the order of `folds`."""

    workdir: Path
    config: Json
    summary: Json
    results: list[Json]

    @property
    def folds(self) -> list[int]:
        """Finished folds, in order."""
        return self.summary["folds"]

    @property
    def settings(self) -> Json:
        """The resolved config; empty if config.json is absent."""
        return self.config.get("config", {})

    @property
    def hold_out(self) -> bool:
        """True if only fold 4 is tested."""
        return self.summary["protocol"]["name"] == "hold_out"


@contextlib.contextmanager
def damage_reported(where: object) -> Iterator[None]:
    """Turns any error in the block, which reads untrusted or damaged files of a run, into InputError.

    Args:
      where: the run or runs, for the message.

    Raises:
      InputError: a file of the run has an unexpected shape.
    """
    try:
        yield
    except (InputError, RunError, OSError, MemoryError):
        raise
    except Exception as error:
        why = one_line(f"{type(error).__name__}: {error}", 200)
        raise InputError(
            f"{where}: config.json, summary.json, or a fold's result.json or metrics.jsonl is damaged or"
            f" from another version ({why})"
        ) from error


def read(workdir: Path) -> Run:
    """Reads the files of a run.

    Raises:
      InputError: no fold is finished, or a file is damaged.
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


def flat(values: Mapping[str, Any], prefix: str = "") -> Json:
    """Values of nested settings by dotted key, as on the command line."""
    found: Json = {}
    for key, value in values.items():
        found |= (
            flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return found
