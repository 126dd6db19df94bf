"""Cross-validates configs, N folds at a time; goes on where it was stopped, however it was stopped.

A fold that failed is tried again and does not stop the others; a fold that is done, with the same code,
config and data, is never done twice.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ageflax.errors import InputError, RunError

_EPILOG = """\
DIR/NAME-FINGERPRINT/ is a run as ageflax.main leaves it; a change of code, config or data is another
folder. DIR/pipeline.json tells where each fold stands, DIR/logs/ what it printed. Datasets are built in
DIR/datasets, unless --config.data.dir or TFDS_DATA_DIR names a folder. Nothing outlives the pipeline.
Exit codes: 0 all folds are done, 1 some are missing (the same command goes on with them), 2 bad input,
130 interrupted."""


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The arguments that every workflow over configs has."""
    from pipelines.plan import runs as plan

    made = argparse.ArgumentParser(
        prog=f"python -m pipelines.{name}",
        description=description,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    plan.add_arguments(made)
    made.add_argument("--jobs", metavar="N", default="1", help="folds at a time (default: 1)")
    made.add_argument(
        "--retries",
        metavar="N",
        default="1",
        help="times a failed fold is tried again (default: 1)",
    )
    made.add_argument(
        "--gpus", metavar="K,...", default="", help="give each fold one of these GPUs for itself"
    )
    made.add_argument(
        "--collect", action="store_true", help="train nothing: figures of the folds that are done"
    )
    made.add_argument(
        "--slurm", action="store_true", help="print the array job that runs the folds, and end"
    )
    cluster = made.add_argument_group("on a Flyte cluster (pip install 'ageflax[pipelines]')")
    cluster.add_argument("--engine", choices=("local", "flyte"), default="local")
    cluster.add_argument(
        "--endpoint", metavar="ADDRESS", default="", help="dns:///flyte.example.org"
    )
    cluster.add_argument("--project", metavar="NAME", default="ageflax")
    cluster.add_argument("--domain", metavar="NAME", default="development")
    cluster.add_argument("--image", metavar="URI", default="", help="a ready container image")
    cluster.add_argument(
        "--archives", metavar="URI", default="", help="s3://, gs://: the raw archives"
    )
    cluster.add_argument(
        "--device",
        metavar="NAME",
        default="cpu",
        help="cpu, gpu, A100, tpu-v5e-8, ... for each fold",
    )
    cluster.add_argument(
        "--shared", metavar="DIR", default="", help="a folder that all hosts of a slice see"
    )
    cluster.add_argument("--dry-run", action="store_true", help="compile the tasks, submit nothing")
    return made


def _whole(option: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        raise InputError(f"--{option}={text}: expected a whole number, {least} or more")
    return int(text)


def _finish(
    placed: Sequence, statuses: Mapping, refused: Mapping[str, str], workdir: Path, pages: list[str]
) -> None:
    """Prints the table and what is missing.

    Raises:
      RunError: something is.
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
            f"{workdir} is not complete, see above; the same command goes on with what is missing and"
            " redoes nothing"
        )


def run(words: argparse.Namespace, common: Sequence[str], command: Sequence[str], *, compare: bool):
    """What the two commands do.

    Args:
      words: parsed.
      common: the words for all configs.
      command: all words.
      compare: whether a quality report comes before the folds, and a page over the runs after them.
    """
    from ageflax.runtime import command_line as command_line
    from pipelines.cluster import slurm
    from pipelines.plan import folders
    from pipelines.plan import runs as planning
    from pipelines.workflow import steps

    at_once = _whole("jobs", words.jobs, 1)
    retries = _whole("retries", words.retries, 0)
    plan = planning.make(words.configs, common, words.own)
    if words.engine == "flyte":
        from pipelines.cluster import launch

        request = launch.Launch(
            workdir=words.workdir,
            device=words.device,
            endpoint=words.endpoint,
            project=words.project,
            domain=words.domain,
            image=words.image,
            archives=words.archives,
            shared=words.shared,
            dry_run=words.dry_run,
            at_once=at_once,
            retries=retries,
        )
        launch.submit(plan, common, words.own, request)
        return
    gpus = tuple(filter(None, words.gpus.split(",")))
    options = steps.Options(words.workdir, at_once, retries, gpus, tuple(command))
    with steps.engine(options, {run.name: run for run in plan.runs}) as engine:
        for name, reason in plan.refused.items():
            engine.shown.say(f"{name} cannot be run, the others are: {reason}")
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
    from ageflax.runtime import command_line as command

    words = sys.argv[1:] if arguments is None else list(arguments)
    known, common = parser("cross_validate", __doc__).parse_known_args(words)
    return command.run(
        "pipelines.cross_validate",
        lambda: run(
            known, common, ["python", "-m", "pipelines.cross_validate", *words], compare=False
        ),
        interrupted="interrupted, nothing runs on; the same command goes on",
    )


if __name__ == "__main__":
    sys.exit(main())
