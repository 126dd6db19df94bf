"""Cross-validates configs, N folds at a time, and resumes wherever and however it was stopped.

A failed fold is retried and does not stop the others; a fold that is done, with the same code, config
and data, is never done twice.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ageflax.errors import InputError, RunError
from ageflax.runtime import command_line

_EPILOG = """\
DIR/NAME-FINGERPRINT/ is a run's workdir as ageflax.main leaves it; a change of code, config or data
means another folder. DIR/pipeline.json holds the state of every fold, DIR/logs/ its output. Datasets are
built in DIR/datasets unless --config.data.dir or TFDS_DATA_DIR names a folder. No process outlives the
pipeline.
Exit codes: 0 all folds are done, 1 some are missing (the same command resumes with them), 2 bad input,
130 interrupted."""


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Makes the parser with the options of every workflow over configs."""
    from pipelines.cluster import devices
    from pipelines.plan import runs as plan

    made = command_line.parser(f"pipelines.{name}", description, _EPILOG)
    plan.add_arguments(made)
    add = made.add_argument
    add("--jobs", metavar="N", help="concurrent folds (default: 1; on Ray all that fit)")
    add("--retries", metavar="N", default="1", help="retries of a failed fold (default: 1)")
    add("--gpus", metavar="K,...", default="", help="GPUs to run on, one per fold at a time")
    add("--collect", action="store_true",
        help="collect the finished folds' figures; train nothing")  # fmt: skip
    add("--slurm", action="store_true",
        help="print the array job that runs the folds, and exit")  # fmt: skip
    devices.add_arguments(made, folds=True)
    return made


def _whole(option: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise InputError(f"--{option}={text}: expected a whole number, {least} or more")
    return int(text)


def _finish(
    placed: Sequence, statuses: Mapping, refused: Mapping[str, str], workdir: Path, pages: list[str]
) -> None:
    """Prints the table and the missing folds.

    Raises:
      RunError: a fold is missing.
    """
    from pipelines.workflow import results

    print(results.table(placed))
    lines = results.missing(placed, statuses, refused)
    if lines:
        print("missing:")
        print("\n".join(f"  {line}" for line in lines))
    for page in pages:
        print(page, file=sys.stderr)
    if lines:
        raise RunError(
            f"{workdir}: incomplete, see above; the same command resumes with the missing folds and"
            " redoes nothing"
        )


def run(words: argparse.Namespace, common: Sequence[str], command: Sequence[str], *, compare: bool):
    """Runs either of the two commands.

    Args:
      words: parsed options.
      common: overrides for all configs.
      command: words of the whole command.
      compare: True if a quality report precedes the folds and a page over the runs follows them.
    """
    from pipelines.cluster import slurm
    from pipelines.cluster.devices import Cluster
    from pipelines.plan import folders
    from pipelines.plan import runs as planning
    from pipelines.workflow import steps

    cluster = Cluster.of(words)
    # Ray starts what its nodes have room for.
    at_once = _whole("jobs", words.jobs or ("1" if cluster is None else str(sys.maxsize)), 1)
    retries = _whole("retries", words.retries, 0)
    plan = planning.make(words.configs, common, words.own, words.sweeps)
    gpus = tuple(filter(None, words.gpus.split(",")))
    options = steps.Options(words.workdir, at_once, retries, gpus, tuple(command), cluster)
    with steps.engine(options, {run.name: run for run in plan.runs}) as engine:
        for name, reason in plan.refused.items():
            engine.shown.say(f"{name}: cannot run: {reason}; going on without it")
        sources, found = engine.find_data(plan)
        placed, without = folders.place(plan, sources, words.workdir, found)
        refused = {**plan.refused, **without}
        for entry in placed:
            engine.record.set_run(
                entry.run.name, workdir=entry.workdir.name, fingerprint=entry.fingerprint
            )
        if not placed:
            bad = any(status.exit_code == command_line.INPUT for status in found.values())
            raise (InputError if bad else RunError)(
                "; ".join(f"{name}: {reason}" for name, reason in refused.items())
            )
        jobs = steps.fold_jobs(placed, words.workdir)
        if words.slurm:
            again = shlex.join(word for word in command if word != "--slurm")
            print(slurm.script(jobs, at_once=at_once, workdir=words.workdir, collect=again))
            return
        pages = []
        if compare:
            from pipelines.workflow import preparation

            pages += preparation.quality_pages(engine, sources).pages
        statuses = {} if words.collect else engine.run(jobs)
        engine.collect(placed)
        pages += [f"report: {e.workdir / 'report.html'}" for e in placed if e.done()]
        if compare:
            pages += engine.compare(placed)
        engine.record.finish()
        engine.shown.close()
        _finish(placed, statuses, refused, words.workdir, pages)


def command(
    name: str, description: str | None, arguments: Sequence[str] | None, *, compare: bool
) -> int:
    """Entry point of either of the two commands; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    known, common = parser(name, description).parse_known_args(words)
    whole = ["python", "-m", f"pipelines.{name}", *words]
    return command_line.run(
        f"pipelines.{name}",
        lambda: run(known, common, whole, compare=compare),
        interrupted="interrupted, no process is left; the same command resumes",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return command("cross_validate", __doc__, arguments, compare=False)


if __name__ == "__main__":
    sys.exit(main())
