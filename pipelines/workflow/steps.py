"""The steps that the workflows are made of: dataset, folds, figures, on this machine."""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ageflax.errors import InputError
from ageflax.runtime import files
from pipelines import dataset
from pipelines.dataset import Source
from pipelines.local import leash, runner, state, view
from pipelines.local.runner import Job, Runner
from pipelines.local.state import DONE, Record, Status
from pipelines.plan.folders import Placed, data_key, description_of, source_of
from pipelines.plan.runs import Plan, Run


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
        """compare.html over the runs that have a finished fold; lines that say where it is.

        Only runs over the same data in the same classes compare: others, such as one that was trained
        to start from, get a page of their own where they are two or more, and are named.
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
                lines.append(f"not compared, on other data or in other classes: {names}")
                continue
            tail = f"_{number}" if number > 1 else ""
            page = self.options.workdir / f"compare{tail}.html"
            words = (sys.executable, "-m", "ageflax.compare", *(str(e.workdir) for e in runs))
            job = Job(
                key=f"comparison{tail}",
                command=(*words, f"--names={names}", f"--output={page}"),
                log=self.options.workdir / "logs" / f"comparison{tail}.log",
            )
            if self.run([job])[job.key].state == DONE:
                lines.append(f"comparison: {page}")
        return lines


def _measure(entry: Placed) -> tuple[Any, ...]:
    """What two runs must share for their figures to compare."""
    config = entry.run.config
    return config.data.name, config.data.label_policy, tuple(config.data.intervals)


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
