"""Where things go in a workdir: each dataset's description, each run's folder."""

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines import dataset
from pipelines.dataset import Source
from pipelines.local.state import Status
from pipelines.plan import fingerprint
from pipelines.plan.runs import Plan, Run


@dataclasses.dataclass(frozen=True)
class Placed:
    """A run and the folder that its code, config and data give it.

    Attributes:
      run: what is to be run.
      source: its dataset.
      fingerprint: of code, config, data and weights.
      workdir: DIR/NAME-FINGERPRINT.
      weights: the word that says what it starts from; "" where the config says it.
    """

    run: Run
    source: Source
    fingerprint: str
    workdir: Path
    weights: str = ""

    def result(self, fold: int) -> Path:
        """Its presence means that the fold is done."""
        return self.workdir / f"fold_{fold}" / "result.json"

    def done(self) -> list[int]:
        """Folds that are done."""
        return [fold for fold in self.run.folds if self.result(fold).exists()]

    def command(self, folds: Sequence[int]) -> tuple[str, ...]:
        """The words that train and test folds of it."""
        wanted = (
            f"--config.fold={folds[0]}" if len(folds) == 1 else f"--config.folds={tuple(folds)}"
        )
        return (
            sys.executable,
            "-m",
            "ageflax.main",
            f"--config={self.run.file}",
            f"--workdir={self.workdir}",
            *self.run.overrides,
            f"--config.data.dir={self.source.directory}",
            *([self.weights] if self.weights else []),
            wanted.replace(" ", ""),
        )


def source_of(name: str, directory: str, manual_dir: str, workdir: Path) -> Source:
    """Where a dataset is, or is to be built: inside the workdir, unless told otherwise.

    TFDS_DATA_DIR counts as being told; TFDS's folder in the home directory is used where the dataset
    is built there already, or its archives lie there, and never written to.
    """
    home = Path("~/tensorflow_datasets").expanduser()
    if not directory:
        pattern = "*.*.*" if "/" in name else "*/*.*.*"
        if "TFDS_DATA_DIR" in os.environ:
            directory = os.environ["TFDS_DATA_DIR"]
        elif any((home / name).glob(f"{pattern}/dataset_info.json")):
            directory = str(home)
        else:
            directory = str(workdir / "datasets")
            manual = home / "downloads" / "manual"
            if not manual_dir and manual.is_dir():
                manual_dir = str(manual)
    return Source(name, directory, manual_dir)


def description_of(source: Source, workdir: Path) -> Path:
    """The JSON file that says what a dataset is."""
    where = fingerprint.digest([source.directory.encode()])[:8]
    return workdir / "data" / f"{source.name.replace('/', '-')}-{where}.json"


def data_key(source: Source) -> str:
    """Names the job of a dataset."""
    return f"data {source.name}"


def fingerprints(plan: Plan, data: Mapping[str, str]) -> dict[str, str]:
    """Of each run whose dataset, and that of what it starts from, is known.

    Args:
      plan: the runs, in order.
      data: fingerprint of each run's dataset, by the run's name.
    """
    found: dict[str, str] = {}
    for run in plan.runs:
        if run.start is None:
            weights = fingerprint.of_weights(run.config.transfer.weights)
        elif run.start.name in found:
            words = (found[run.start.name], str(run.start.fold))
            weights = fingerprint.digest(word.encode() for word in words)
        else:
            continue
        if run.name in data:
            found[run.name] = fingerprint.of_run(run.config, data=data[run.name], weights=weights)
    return found


def place(
    plan: Plan, sources: Mapping[str, Source], workdir: Path, statuses: Mapping[str, Status]
) -> tuple[list[Placed], dict[str, str]]:
    """Gives runs their folders, once their datasets are there.

    Args:
      plan: the runs.
      sources: the dataset of each, by the run's name.
      workdir: of the pipeline.
      statuses: how the jobs of the datasets ended, by key.

    Returns:
      The runs, and name to message of those whose dataset is not to be had.
    """
    described = {
        name: dataset.told(description_of(source, workdir)) for name, source in sources.items()
    }
    totals = fingerprints(plan, {n: d["fingerprint"] for n, d in described.items() if d})
    placed: dict[str, Placed] = {}
    without: dict[str, str] = {}
    for run in plan.runs:
        source = sources[run.name]
        if described[run.name] is None:
            without[run.name] = statuses[data_key(source)].reason
            continue
        if run.name not in totals:
            without[run.name] = "what it starts from has no dataset"
            continue
        word = ""
        if run.start is not None:
            number = "{fold}" if run.start.fold is None else run.start.fold
            before = placed[run.start.name].workdir.absolute()
            word = f"--config.transfer.weights={before}/fold_{number}"
        total = totals[run.name]
        folder = workdir / f"{run.name}-{total[:12]}"
        placed[run.name] = Placed(run, source, total, folder, word)
    return list(placed.values()), without
