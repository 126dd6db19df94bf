"""What a run left in its workdir."""

import dataclasses
from pathlib import Path
from typing import Any

from ageflax import files
from ageflax.errors import InputError


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


def read(workdir: Path) -> Run:
    """Reads the record of a run.

    Raises:
      InputError: no fold is finished.
    """
    summary = files.read_json(workdir / "summary.json")
    if summary is None or not summary["folds"]:
        raise InputError(f"{workdir}: no finished fold to report")
    results = [files.read_json(workdir / f"fold_{k}" / "result.json") for k in summary["folds"]]
    return Run(
        workdir=workdir,
        config=files.read_json(workdir / "config.json") or {},
        summary=summary,
        results=[result for result in results if result is not None],
    )
