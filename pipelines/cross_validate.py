"""Cross-validates configs, N folds at a time, and resumes wherever and however it was stopped.

A failed fold is retried and does not stop the others; a fold that is done, with the same code, config
and data, is never done twice.
"""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
    from pipelines.plan import runs as plan

    made = command_line.parser(f"pipelines.{name}", description, _EPILOG)
    plan.add_arguments(made)
    made.add_argument("--jobs", metavar="N", default="1", help="concurrent folds (default: 1)")
    made.add_argument(
        "--retries", metavar="N", default="1", help="retries of a failed fold (default: 1)"
    )
    made.add_argument(
        "--gpus", metavar="K,...", default="", help="GPUs to run on, one per fold at a time"
    )
    made.add_argument(
        "--collect", action="store_true", help="collect the finished folds' figures; train nothing"
    )
    made.add_argument(
        "--slurm", action="store_true", help="print the array job that runs the folds, and exit"
    )
    cluster = made.add_argument_group("on a Flyte cluster (pip install 'ageflax[pipelines]')")
    cluster.add_argument(
        "--engine",
        choices=("local", "flyte"),
        default="local",
        help="where folds run (default: local)",
    )
    cluster.add_argument(
        "--endpoint", metavar="ADDRESS", default="", help="such as dns:///flyte.example.org"
    )
    cluster.add_argument(
        "--project", metavar="NAME", default="ageflax", help="project (default: ageflax)"
    )
    cluster.add_argument(
        "--domain", metavar="NAME", default="development", help="domain (default: development)"
    )
    cluster.add_argument("--image", metavar="URI", default="", help="ready container image")
    cluster.add_argument(
        "--archives", metavar="URI", default="", help="raw archives, s3:// or gs://"
    )
    cluster.add_argument(
        "--device",
        metavar="NAME",
        default="cpu",
        help="device of each fold: cpu, gpu, A100, tpu-v5e-8, ... (default: cpu)",
    )
    cluster.add_argument(
        "--shared",
        metavar="DIR",
        type=command_line.name_or_path,
        default="",
        help="folder that all hosts of a slice see",
    )
    cluster.add_argument("--dry_run", action="store_true", help="compile the tasks; submit nothing")
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
    from pipelines.plan import folders
    from pipelines.plan import runs as planning
    from pipelines.workflow import steps

    at_once = _whole("jobs", words.jobs, 1)
    retries = _whole("retries", words.retries, 0)
    plan = planning.make(words.configs, common, words.own)
    if words.engine == "flyte":
        from pipelines.cluster import launch

        asked: dict[str, Any] = vars(words) | {"at_once": at_once, "retries": retries}
        request = launch.Launch(
            **{f.name: asked[f.name] for f in dataclasses.fields(launch.Launch)}
        )
        launch.submit(plan, common, words.own, request)
        return
    gpus = tuple(filter(None, words.gpus.split(",")))
    options = steps.Options(words.workdir, at_once, retries, gpus, tuple(command))
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    known, common = parser("cross_validate", __doc__).parse_known_args(words)
    return command_line.run(
        "pipelines.cross_validate",
        lambda: run(
            known, common, ["python", "-m", "pipelines.cross_validate", *words], compare=False
        ),
        interrupted="interrupted, no process is left; the same command resumes",
    )


if __name__ == "__main__":
    sys.exit(main())
