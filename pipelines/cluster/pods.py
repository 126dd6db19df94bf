"""Work of a task inside its container, independent of the engine: folders in, a folder out."""

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ageflax import config as configuration
from ageflax.errors import RunError
from pipelines import dataset, python
from pipelines.dataset import Source
from pipelines.plan.folders import Placed
from pipelines.plan.runs import Plan, Run
from pipelines.workflow.steps import environment

_DESCRIPTION = "dataset.json"


@dataclasses.dataclass(frozen=True)
class Request:
    """Runs as text to send to a cluster; a config is sent as a file of its values.

    Attributes:
      configs: content of each config file, by name.
      common: "--config.KEY=VALUE" arguments for all configs.
      own: "NAME:KEY=VALUE" arguments.
    """

    configs: dict[str, str]
    common: tuple[str, ...]
    own: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan, common: Sequence[str], own: Sequence[str]) -> "Request":
        """Makes a request from a plan's valid configs."""
        names = {run.name for run in plan.runs}
        kept = tuple(word for word in own if word.partition(":")[0] in names)
        configs = {run.name: configuration.standalone(run.file) for run in plan.runs}
        return cls(configs, tuple(common), kept)

    def to_text(self) -> str:
        """The request as JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> "Request":
        """Reads the result of `to_text`."""
        fields = json.loads(text)
        return cls(fields["configs"], tuple(fields["common"]), tuple(fields["own"]))

    def words(self, folder: Path) -> tuple[str, list[str], list[str]]:
        """Writes the config files; returns the arguments of `plan.runs.make`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.configs.items():
            (folder / f"{name}.py").write_text(content)
        configs = ",".join(f"{name}={folder / name}.py" for name in self.configs)
        return configs, list(self.common), list(self.own)


def _call(command: Sequence[str], scratch: Path) -> None:
    """Runs a command and prints its output.

    Raises:
      RunError: the command failed; the message is its last line.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(scratch),
    )
    last = ""
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    if process.wait():
        raise RunError(last or f"exit code {process.returncode}")


def build(source: Source) -> str:
    """Builds a dataset in `source.directory`, beside its description; returns its fingerprint."""
    output = Path(source.directory) / _DESCRIPTION
    _call(dataset.command(source, output), Path(source.directory))
    return json.loads(output.read_text())["fingerprint"]


def train(
    run: Run,
    fold: int,
    *,
    data: Path,
    start: Path | None,
    workdir: Path,
    held: Path | None = None,
    place: Sequence[str] = (),
) -> Path:
    """Trains and tests one fold; returns the folder that holds config.json and fold_K.

    Args:
      run: run with its config file on this disk.
      fold: test fold.
      data: folder of built datasets.
      start: folder of another run's fold, with the initial weights.
      workdir: folder of the run, empty or left by an earlier attempt; shared if there are several hosts.
      held: folder for a copy of `start`, the same path on every host; by default in the workdir.
      place: arguments that identify this host among several.
    """
    # Named as in `folders.place`, so that all folds of a run have the same config.
    weights = ""
    if start is not None:
        assert run.start is not None
        number = "{fold}" if run.start.fold is None else run.start.fold
        held = (held or workdir / "start") / run.start.name
        link = held / f"fold_{fold if run.start.fold is None else run.start.fold}"
        held.mkdir(parents=True, exist_ok=True)
        shutil.copytree(start, link, dirs_exist_ok=True)
        weights = f"--config.transfer.weights={held}/fold_{number}"
    source = Source(run.config.data.name, str(data), "")
    placed = Placed(run, source, "", workdir / run.name, weights)
    _call((*placed.command([fold]), *place), workdir)
    return placed.workdir


def assemble(
    folds: Mapping[tuple[str, int], Path],
    runs: Mapping[str, Path],
    errors: Mapping[tuple[str, int], str],
) -> None:
    """Copies folds that were trained separately into their runs' folders.

    Args:
      folds: folder returned by `train`, by run name and fold.
      runs: folder of each run, by name.
      errors: error of each missing fold, by run name and fold.
    """
    for (name, fold), folder in folds.items():
        runs[name].mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "config.json", runs[name] / "config.json")
        shutil.copytree(folder / f"fold_{fold}", runs[name] / f"fold_{fold}", dirs_exist_ok=True)
    for (name, fold), error in errors.items():
        target = runs[name] / f"fold_{fold}" / "failure.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps({"error": error}))


def compare(request: Request, *, data: Path, workdir: Path, files: Path) -> None:
    """Writes tables, reports and the comparison of assembled runs; missing folds are no error."""
    configs, common, own = request.words(files)
    words = [f"--configs={configs}", "--collect", *(f"--set={word}" for word in own), *common]
    words += [f"--config.data.dir={data}", f"--workdir={workdir}"]
    command = python("pipelines.compare", *words)
    code = subprocess.run(command, check=False, env=environment(workdir)).returncode
    if code not in (0, 1):  # 1: some folds are missing, which the pages say
        raise RunError(f"pipelines.compare: exit code {code}; see its output above")
