"""Builds datasets from archives, washes them, and writes a page about each.

Steps that are already done for the same faces are not done again.
"""

import argparse
import sys
from collections.abc import Sequence

from ageflax.runtime import command_line

_EPILOG = """\
Several datasets are separated by commas, as in --data.name=adience/aligned,labeled_faces/mine.
DIR/datasets/            the dataset, unless --data.dir or TFDS_DATA_DIR names another folder
DIR/quality/NAME-.../    quality.html, quality.json, and the lists of python -m ageflax.wash
Exit codes: 0 done, with or without findings, 1 a step failed, 2 bad input, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    from pipelines import dataset
    from pipelines.cluster import devices

    parser = command_line.parser("pipelines.prepare", __doc__, _EPILOG)
    dataset.add_arguments(parser)
    parser.add_argument(
        "--workdir", metavar="DIR", type=command_line.path, required=True, help="folder of results"
    )
    devices.add_arguments(parser, folds=False)
    return parser


def _run(words: argparse.Namespace, command: Sequence[str]) -> None:
    from ageflax.errors import InputError, RunError
    from pipelines.cluster.devices import Cluster
    from pipelines.local.state import FAILED
    from pipelines.plan import folders
    from pipelines.workflow import preparation, steps

    names = [name.strip() for name in words.name.split(",")]
    if not all(names):
        raise InputError(f"--data.name={words.name}: expected names such as adience/aligned")
    options = steps.Options(words.workdir, 1, 0, (), tuple(command), Cluster.of(words))
    with steps.engine(options, {}) as engine:
        sources = {
            name: folders.source_of(
                name, words.directory, words.manual_dir, words.workdir, rebuild=words.rebuild
            )
            for name in names
        }
        statuses = engine.run(
            [steps.data_job(source, words.workdir) for source in sources.values()]
        )
        made = preparation.quality_pages(engine, sources)
        statuses |= made.statuses
        engine.record.finish()
        engine.shown.close()
    for page in made.pages:
        print(page)
    failed = {key: status for key, status in statuses.items() if status.state == FAILED}
    if failed:
        bad = all(status.exit_code == command_line.INPUT for status in failed.values())
        raise (InputError if bad else RunError)(
            "; ".join(f"{key}: {status.reason}" for key, status in failed.items())
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    known = _parser().parse_args(words)
    return command_line.run(
        "pipelines.prepare",
        lambda: _run(known, ["python", "-m", "pipelines.prepare", *words]),
        interrupted="interrupted, no process is left; the same command resumes",
    )


if __name__ == "__main__":
    sys.exit(main())
