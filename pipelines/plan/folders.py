"""Paths in a workdir: each dataset's description, each run's folder."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines import dataset, python
from pipelines.dataset import Source
from pipelines.local.state import Status
from pipelines.plan import fingerprint
from pipelines.plan.runs import Plan, Run


@dataclasses.dataclass(frozen=True)
class Placed:
    """A run and its folder, which is named after its code, config and data.

    Attributes:
      run: the run.
      source: its dataset.
      fingerprint: hash of code, config, data and weights.
      workdir: DIR/NAME-FINGERPRINT.
      weights: argument that names the initial weights; "" if the config names them.
    """

    run: Run
    source: Source
    fingerprint: str
    workdir: Path
    weights: str = ""

    def result(self, fold: int) -> Path:
        """The file whose presence means that the fold is done."""
        return self.workdir / f"fold_{fold}" / "result.json"

    def done(self) -> list[int]:
        """Finished folds."""
        return [fold for fold in self.run.folds if self.result(fold).exists()]

    def command(self, folds: Sequence[int]) -> tuple[str, ...]:
        """The command that trains and tests some of its folds."""
        wanted = (
            f"--config.fold={folds[0]}" if len(folds) == 1 else f"--config.folds={tuple(folds)}"
        )
        return python(
            "ageflax.main",
            f"--config={self.run.file}",
            f"--workdir={self.workdir}",
            *self.run.overrides,
            f"--config.data.dir={self.source.directory}",
            *([self.weights] if self.weights else []),
            wanted.replace(" ", ""),
        )


def source_of(
    name: str, directory: str, manual_dir: str, workdir: Path, *, rebuild: bool = False
) -> Source:
    """Where a dataset is or will be built: in the workdir unless `directory` or TFDS_DATA_DIR is set.

    TFDS's folder in the home directory is only read: for datasets built there and for archives.
    """
    home = Path(os.path.expanduser("~/tensorflow_datasets"))  # noqa: PTH111  a user may have no home
    pattern = f"{name}/{'*.*.*' if '/' in name else '*/*.*.*'}/dataset_info.json"
    if not directory:
        if "TFDS_DATA_DIR" in os.environ:
            directory = os.environ["TFDS_DATA_DIR"]
        elif any(home.glob(pattern)):
            directory = str(home)
        else:
            directory = str(workdir / "datasets")
            manual = home / "downloads" / "manual"
            built = any(Path(directory).glob(pattern))  # perhaps from another folder
            if not manual_dir and manual.is_dir() and not built:
                manual_dir = str(manual)
    return Source(name, directory, manual_dir, rebuild)


def description_of(source: Source, workdir: Path) -> Path:
    """The JSON file that describes a dataset."""
    where = fingerprint.digest([source.directory.encode()])[:8]
    return workdir / "data" / f"{source.name.replace('/', '-')}-{where}.json"


def data_key(source: Source) -> str:
    """Key of the job that builds a dataset."""
    return f"data {source.name}"


def fingerprints(plan: Plan, data: Mapping[str, str]) -> dict[str, str]:
    """Fingerprints by name, of runs whose dataset is known and whose starting run has a fingerprint.

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
    """Assigns folders to runs, once their datasets are built.

    Args:
      plan: the runs.
      sources: dataset of each run, by the run's name.
      workdir: the pipeline's folder.
      statuses: results of the datasets' jobs, by key.

    Returns:
      The runs; and an error by name for each run without a dataset.
    """
    described = {
        name: dataset.described(description_of(source, workdir)) for name, source in sources.items()
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
            without[run.name] = "the run it starts from has no dataset"
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
