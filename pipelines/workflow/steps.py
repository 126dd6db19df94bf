"""Steps of the workflows on this machine: datasets, folds, figures."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ageflax.errors import InputError
from ageflax.runtime import files
from pipelines import dataset, python
from pipelines.cluster.devices import Cluster
from pipelines.dataset import Source
from pipelines.local import leash, runner, state, view
from pipelines.local.process import Here, environment
from pipelines.local.runner import Job, Place, Runner
from pipelines.local.state import DONE, Record, Status
from pipelines.plan.folders import Placed, data_key, description_of, source_of
from pipelines.plan.runs import Plan, Run


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a workflow.

    Attributes:
      workdir: folder for all output.
      at_once: maximum number of concurrent jobs.
      retries: maximum number of restarts of a failed job.
      gpus: GPU numbers, one per concurrent job; () leaves devices to JAX.
      command: the user's command line, for records.
      cluster: Ray cluster that jobs run on; None for this machine.
    """

    workdir: Path
    at_once: int
    retries: int
    gpus: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    cluster: Cluster | None = None


def data_job(source: Source, workdir: Path) -> Job:
    """The job that builds a dataset if it is absent, compares it with its source and describes it."""
    output = description_of(source, workdir)
    known = dataset.described(output)  # None if absent, or if the dataset's files have changed
    if known is None or known.get("source") or source.rebuild:
        output.unlink(missing_ok=True)
    return Job(
        key=data_key(source),
        command=dataset.command(source, output),
        log=workdir / "logs" / f"data-{output.stem}.log",
        done=output,
    )


def fold_key(name: str, fold: int) -> str:
    """Key of a fold's job."""
    return f"{name} fold {fold}"


def fold_jobs(placed: Sequence[Placed], workdir: Path) -> list[Job]:
    """A job for each fold, the first folds of all runs first: an early comparison has equal folds.

    Raises:
      InputError: a run starts from a fold that is not among the folds.
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
                    reads=(Path(entry.source.directory),),
                    needs=needs,
                    run=entry.run.name,
                    fold=fold,
                )
            )
    known = {job.key for job in jobs}
    for job in jobs:
        if lacking := set(job.needs) - known:
            raise InputError(
                f"{job.key}: starts from {lacking.pop()}, which is not among the folds; add that fold"
            )
    return sorted(jobs, key=lambda job: job.fold or 0)


@dataclasses.dataclass
class Engine:
    """Runs jobs in one workdir.

    Attributes:
      options: options of the workflow.
      record: pipeline.json.
      shown: progress shown to the user.
      runner: runner of the jobs.
    """

    options: Options
    record: Record
    shown: view.Lines | view.LiveTable
    runner: Runner

    def run(self, jobs: Sequence[Job]) -> dict[str, Status]:
        """See `Runner.run`."""
        return self.runner.run(jobs)

    def find_data(self, plan: Plan) -> tuple[dict[str, Source], dict[str, Status]]:
        """Builds each dataset once; returns datasets by run and results of the jobs by key."""
        workdir = self.options.workdir
        sources = {}
        for run in plan.runs:
            data = run.config.data
            sources[run.name] = source_of(
                data.name, data.dir, data.manual_dir, workdir, rebuild=data.rebuild
            )
        unique = {
            description_of(s, workdir): s
            for s in sorted(sources.values(), key=lambda s: s.rebuild)  # true if it is for any run
        }
        return sources, self.run([data_job(source, workdir) for source in unique.values()])

    def collect(self, placed: Sequence[Placed]) -> None:
        """Writes summary.json and report.html of each run from all its finished folds.

        Folds that end at the same moment may each have written them without the other. config.json gets
        this pipeline's command.
        """
        jobs, notes = [], {}
        for entry in placed:
            name, done = entry.run.name, entry.done()
            note = [entry.workdir.name, done]
            if not done or self.record.run(name).get("collected") == note:
                continue
            _name_command(entry, self.options.command)
            log = self.options.workdir / "logs" / f"{entry.workdir.name}-report.log"
            jobs.append(Job(f"{name} report", entry.command(done), log, run=name))
            notes[f"{name} report"] = (name, note)
        for key, status in self.run(jobs).items():
            if status.state == DONE:
                name, note = notes[key]
                self.record.set_run(name, collected=note)

    def compare(self, placed: Sequence[Placed]) -> list[str]:
        """Writes compare.html over the runs with finished folds; returns lines for the user.

        Only runs on the same data in the same classes are comparable. Other groups of runs get a page
        each; a group of one run, such as a run that others start from, is only named.
        """
        groups: dict[tuple[Any, ...], list[Placed]] = {}
        for entry in placed:
            if entry.done():
                groups.setdefault(_measure(entry), []).append(entry)
        lines = []
        ordered = sorted(groups.values(), key=len, reverse=True)
        for number, runs in enumerate(ordered, 1):
            names = ",".join(entry.run.name for entry in runs)
            if number > 1 and len(runs) < 2:
                lines.append(f"not compared (other data or classes): {names}")
                continue
            tail = f"_{number}" if number > 1 else ""
            page = self.options.workdir / f"compare{tail}.html"
            folders = [str(entry.workdir) for entry in runs]
            job = Job(
                key=f"comparison{tail}",
                command=python("ageflax.compare", *folders, f"--names={names}", f"--output={page}"),
                log=self.options.workdir / "logs" / f"comparison{tail}.log",
            )
            if self.run([job])[job.key].state == DONE:
                lines.append(f"comparison: {page}")
        return lines


def _measure(entry: Placed) -> tuple[Any, ...]:
    """Settings that runs must share for their figures to be comparable."""
    config = entry.run.config
    return config.data.name, config.data.label_policy, tuple(config.data.intervals)


def _name_command(entry: Placed, command: Sequence[str]) -> None:
    """Writes the pipeline's command into a run's config.json; the report shows it.

    The path of the initial weights is updated too: the run may have been trained in a container, where
    the same weights were elsewhere.
    """
    path = entry.workdir / "config.json"
    record = files.read_json(path)
    if record is None:
        return
    record["command"] = list(command)
    if entry.weights:
        record["config"]["transfer"]["weights"] = entry.weights.partition("=")[2]
    files.write_json(path, record)


@contextlib.contextmanager
def _place(options: Options, lock: int, say: Callable[[str], None]) -> Iterator[Place]:
    """Machines for the jobs: the cluster's, or this one."""
    if options.cluster is None:
        leash.adopt()
        per_slot = [
            {"CUDA_VISIBLE_DEVICES": options.gpus[slot % len(options.gpus)]}
            for slot in range(options.at_once)
            if options.gpus
        ]
        yield Here(environment(options.workdir), lock, per_slot)
        return
    # Under `uv run`, Ray would start workers by it in a copy of the folder; nodes have the code.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        from pipelines.cluster import nodes
    except ModuleNotFoundError as error:
        raise InputError("--engine=ray: needs Ray; pip install 'ageflax[ray]'") from error
    with nodes.connected(options.cluster, options.workdir, say) as place:
        yield place


@contextlib.contextmanager
def engine(options: Options, runs: Mapping[str, Run]) -> Iterator[Engine]:
    """Locks a workdir; however the block ends, unlocks it with no job running.

    Raises:
      InputError: another pipeline uses the workdir; or the cluster cannot be used.
    """
    shown = view.make(options.retries, runs)
    with (
        state.locked(options.workdir) as lock,
        _place(options, lock, shown.say) as place,
        runner.interruptible(),
    ):
        record = Record(options.workdir, list(options.command), shown.say)
        made = Runner(options.workdir, options.at_once, options.retries, record, shown, place)
        try:
            yield Engine(options, record, shown, made)
        finally:
            shown.close()
