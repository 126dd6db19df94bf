"""The compared runs: their files, missing folds and answers."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from ageflax import metrics
from ageflax.errors import InputError
from ageflax.evaluation.predictions_csv import read_predictions
from ageflax.report import run_folder
from ageflax.report.run_folder import Run
from ageflax.runtime import files
from ageflax.runtime.files import Json

_FOLDS = range(5)


@dataclasses.dataclass(frozen=True)
class Compared:
    """One of the runs.

    Attributes:
      name: its name in the comparison.
      workdir: its folder.
      run: its parsed files; None if no fold is finished.
      config: config.json; {} if absent.
      missing: reason by fold, for each fold that is missing.
      answers: cache of `answers_of`, by task and fold.
    """

    name: str
    workdir: Path
    run: Run | None
    config: Json
    missing: dict[int, str]
    answers: dict[tuple[str, int], metrics.Answers] = dataclasses.field(default_factory=dict)

    @property
    def tasks(self) -> Json:
        """Figures per task; {} if no fold is finished."""
        return self.run.summary["tasks"] if self.run else {}

    @property
    def comparable_folds(self) -> list[int]:
        """Finished folds with predictions."""
        return [k for k in self.run.folds if k not in self.missing] if self.run else []

    def answers_of(self, task: str, folds: Sequence[int]) -> metrics.Answers:
        """Reads one task's answers on the test faces of these folds.

        Raises:
          RunError: a predictions.csv is damaged.
        """
        for fold in folds:
            if (task, fold) not in self.answers:
                path = self.workdir / f"fold_{fold}" / "predictions.csv"
                self.answers[task, fold] = read_predictions(path, task)
        return metrics.joined([self.answers[task, fold] for fold in folds])


def read(workdirs: Sequence[Path], names: Sequence[str] | None) -> list[Compared]:
    """Reads the runs' files.

    Raises:
      InputError: a folder holds no run, a file is damaged, or the names do not match the runs.
    """
    if len(workdirs) < 2:
        raise InputError("RUN: need at least two runs to compare")
    names = list(names) if names else _names(workdirs)
    if len(names) != len(workdirs):
        raise InputError(f"--names: {len(names)} names for {len(workdirs)} runs; give one per run")
    for name in names:
        if not name or names.count(name) > 1:
            raise InputError(
                f"--names: {name!r}: expected a different, non-empty name for each run"
            )
    found = [_read(path, name) for path, name in zip(workdirs, names, strict=True)]
    if not any(entry.run for entry in found):
        raise InputError(f"no finished fold in any of {', '.join(map(str, workdirs))}")
    return found


def _names(workdirs: Sequence[Path]) -> list[str]:
    """The folders' last components, as many as tell them apart."""
    if len({path.resolve() for path in workdirs}) < len(workdirs):
        raise InputError("RUN: the same run is given twice")
    parts = [path.resolve().parts for path in workdirs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different paths differ")


def _read(workdir: Path, name: str) -> Compared:
    config = files.read_json(workdir / "config.json")
    failures = list(workdir.glob("fold_*/failure.json"))
    summary = files.read_json(workdir / "summary.json")
    if config is None and summary is None and not failures:
        raise InputError(
            f"{workdir}: not a run; a workdir of ageflax.main holds config.json, and summary.json once"
            " a fold is finished"
        )
    run = run_folder.read(workdir) if summary and summary["folds"] else None
    config = config or {}
    return Compared(name, workdir, run, config, _missing(workdir, run, config))


def _missing(workdir: Path, run: Run | None, config: Json) -> dict[int, str]:
    finished = run.folds if run else []
    settings = config.get("config", {})
    hold_out = run is not None and run.hold_out
    due = [4] if hold_out else settings.get("folds") or list(_FOLDS)
    missing = {}
    for fold in _FOLDS:
        directory = workdir / f"fold_{fold}"
        if fold in finished:
            if not (directory / "predictions.csv").is_file():
                missing[fold] = "finished, but predictions.csv is missing"
            continue
        failure = files.read_json_or(directory / "failure.json", None)
        if isinstance(failure, dict) and failure.get("error"):
            missing[fold] = str(failure["error"]).strip().splitlines()[0]
        elif fold not in due:
            if not hold_out:
                missing[fold] = "not among the folds of this run's config"
        elif directory.is_dir():
            missing[fold] = "started but not finished"
        else:
            missing[fold] = "not started"
    return missing


def parameters(entry: Compared) -> int | None:
    """Number of parameters in the run's first readable bundle; None without one."""
    from safetensors import SafetensorError, safe_open

    for fold in entry.run.folds if entry.run else []:
        path = entry.workdir / f"fold_{fold}" / "bundle" / "model.safetensors"
        try:
            with safe_open(path, "numpy") as tensors:
                names = [name for name in tensors.keys() if name.startswith("params/")]  # noqa: SIM118
                return sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
        except (OSError, SafetensorError):
            continue
    return None


def described(entry: Compared) -> Json:
    """A run's part of the comparison's JSON."""
    found: Json = {
        "name": entry.name,
        "model": entry.config.get("config", {}).get("model", {}).get("name"),
        "folds": entry.run.folds if entry.run else [],
        "missing": {str(fold): why for fold, why in entry.missing.items()},
        "devices": entry.config.get("devices", {}),
        "versions": entry.config.get("versions", {}),
        "weights": (entry.config.get("weights") or {}).get("source"),
        "parameters": parameters(entry),
        "tasks": entry.tasks,
    }
    if entry.run is None:
        return found
    rates = [r["images_per_second"] for r in entry.run.results if r["images_per_second"]]
    return found | {
        "protocol": entry.run.summary["protocol"],
        "data": entry.run.summary["data"],
        "steps": sorted({result["steps"] for result in entry.run.results}),
        "seconds": entry.run.summary["seconds"],
        "images_per_second": sum(rates) / len(rates) if rates else None,
        "leaks": sum(
            result["protocol"]["validation_persons_in_training"] for result in entry.run.results
        ),
    }
