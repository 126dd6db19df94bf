"""The steps that the workflows are made of: dataset, folds, figures, on this machine."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ageflax import files
from ageflax.errors import InputError
from pipelines import dataset, fingerprint, leash, runner, state, view
from pipelines.dataset import Source
from pipelines.plan import Plan, Run
from pipelines.runner import Job, Runner
from pipelines.state import DONE, Record, Status


@dataclasses.dataclass(frozen=True)
class Options:
    """How a workflow is to run.

    Attributes:
      workdir: where everything goes.
      at_once: jobs at the same time.
      retries: how often a failed job is started again.
      gpus: their numbers, where each job is to have one for itself; () leaves devices alone.
      command: the words of the command, for records.
    """

    workdir: Path
    at_once: int
    retries: int
    gpus: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


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


def data_job(source: Source, workdir: Path) -> Job:
    """Builds a dataset if need be, and describes it."""
    output = description_of(source, workdir)
    if dataset.told(output) is None:  # absent, or of other files
        output.unlink(missing_ok=True)
    return Job(
        key=data_key(source),
        command=dataset.command(source, output),
        log=workdir / "logs" / f"data-{output.stem}.log",
        done=output,
    )


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


def fold_key(name: str, fold: int) -> str:
    """Names the job of a fold."""
    return f"{name} fold {fold}"


def fold_jobs(placed: Sequence[Placed], workdir: Path) -> list[Job]:
    """One for each fold of each run, the first folds of all runs first.

    A comparison that is looked at early, or never ends, has the same folds of each.
    """
    jobs = []
    for entry in placed:
        for fold in entry.run.folds:
            needs = ()
            if entry.run.start is not None:
                number = fold if entry.run.start.fold is None else entry.run.start.fold
                needs = (fold_key(entry.run.start.name, number),)
            jobs.append(
                Job(
                    key=fold_key(entry.run.name, fold),
                    command=entry.command([fold]),
                    log=workdir / "logs" / f"{entry.workdir.name}-fold_{fold}.log",
                    done=entry.result(fold),
                    failure=entry.workdir / f"fold_{fold}" / "failure.json",
                    needs=needs,
                    run=entry.run.name,
                    fold=fold,
                )
            )
    known = {job.key for job in jobs}
    for job in jobs:
        if lacking := set(job.needs) - known:
            raise InputError(f"{job.key} starts from {lacking.pop()}, which is not among the folds")
    return sorted(jobs, key=lambda job: job.fold or 0)


@dataclasses.dataclass
class Engine:
    """Runs jobs in one workdir, with its record and its view.

    Attributes:
      options: how.
      record: pipeline.json.
      shown: what the user sees.
      runner: does the work.
    """

    options: Options
    record: Record
    shown: view.Lines | view.LiveTable
    runner: Runner

    def run(self, jobs: Sequence[Job]) -> dict[str, Status]:
        """As `Runner.run`."""
        return self.runner.run(jobs)

    def find_data(self, plan: Plan) -> tuple[dict[str, Source], dict[str, Status]]:
        """Builds what the runs need, once; gives each run's dataset, and how the jobs ended."""
        workdir = self.options.workdir
        sources = {}
        for run in plan.runs:
            data = run.config.data
            sources[run.name] = source_of(data.name, data.dir, data.manual_dir, workdir)
        unique = {description_of(s, workdir): s for s in sources.values()}
        return sources, self.run([data_job(source, workdir) for source in unique.values()])

    def collect(self, placed: Sequence[Placed]) -> None:
        """summary.json and report.html of each run, from all its finished folds at once.

        Folds that end at the same moment each write them from what they see; here they are made anew,
        and config.json names this pipeline's command.
        """
        jobs = []
        for entry in placed:
            done = entry.done()
            if not done or self.record.run(entry.run.name).get("collected") == [
                entry.workdir.name,
                done,
            ]:
                continue
            _name_command(entry, self.options.command)
            jobs.append(
                Job(
                    key=f"{entry.run.name} report",
                    command=entry.command(done),
                    log=self.options.workdir / "logs" / f"{entry.workdir.name}-report.log",
                    run=entry.run.name,
                )
            )
        statuses = self.run(jobs)
        for entry in placed:
            status = statuses.get(f"{entry.run.name} report")
            if status is not None and status.state == DONE:
                note = [entry.workdir.name, entry.done()]
                self.record.set_run(entry.run.name, collected=note)

    def compare(self, placed: Sequence[Placed]) -> list[str]:
        """compare.html over the runs that have a finished fold; lines that say where it is."""
        workdir = self.options.workdir
        runs = [entry for entry in placed if entry.done()]
        if not runs:
            return []
        page = workdir / "compare.html"
        names = ",".join(entry.run.name for entry in runs)
        words = (sys.executable, "-m", "ageflax.compare", *(str(e.workdir) for e in runs))
        job = Job(
            key="comparison",
            command=(*words, f"--names={names}", f"--output={page}"),
            log=workdir / "logs" / "comparison.log",
        )
        status = self.run([job])[job.key]
        return [f"comparison: {page}"] if status.state == DONE else []


def _name_command(entry: Placed, command: Sequence[str]) -> None:
    """Has a run's config.json name the pipeline's command, which its report shows.

    What it starts from may have been elsewhere when it was trained, in a container; the fingerprint
    says that it is the same.
    """
    path = entry.workdir / "config.json"
    record = files.read_json(path)
    if record is None:
        return
    record["command"] = list(command)
    if entry.weights:
        record["config"]["transfer"]["weights"] = entry.weights.partition("=")[2]
    files.write_json(path, record)


def environment(workdir: Path) -> dict[str, str]:
    """Of the children: what libraries would keep in the home directory goes into the workdir.

    The compiled steps are kept there too: five folds of one config run the same program.
    """
    cache = workdir.absolute() / ".cache"
    kept = {
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "PYTHONUNBUFFERED": "1",
    }
    return {**kept, **os.environ}


@contextlib.contextmanager
def engine(options: Options, runs: Mapping[str, Run]) -> Iterator[Engine]:
    """Takes hold of a workdir; lets go of it, with nothing running, however the block ends.

    Raises:
      InputError: another pipeline is at work there.
    """
    shown = view.make(options.retries, runs)
    leash.adopt()
    with state.locked(options.workdir) as lock, runner.interruptible():
        record = Record(options.workdir, list(options.command), shown.say)
        per_slot = [
            {"CUDA_VISIBLE_DEVICES": options.gpus[slot % len(options.gpus)]}
            for slot in range(options.at_once)
            if options.gpus
        ]
        try:
            yield Engine(
                options,
                record,
                shown,
                Runner(
                    options.workdir,
                    options.at_once,
                    options.retries,
                    record,
                    shown,
                    environment(options.workdir),
                    lock,
                    per_slot,
                ),
            )
        finally:
            shown.close()
