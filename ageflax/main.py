"""Trains and tests every fold of a config: python -m ageflax.main --config=configs/levi.py."""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from ageflax.runtime import command_line, memory, preemption

_EPILOG = """\
The same command again resumes where it stopped; a finished fold is not redone. SIGTERM, and SIGHUP of a
lost terminal, save and end within 30 seconds. On several hosts start the same command on each, on a
workdir that all of them see, with --distributed or with the three options that place the process; if one
dies, the others end within two minutes.
Exit codes: 0 done, 2 bad input, 1 failed run, 130 interrupted, 143 stopped by SIGTERM or SIGHUP (the
same command resumes)."""


def _epilog() -> str:
    from ageflax import config

    return f"{_EPILOG}\n\n{config.help_text()}"


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.main", __doc__, _epilog)
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=command_line.name_or_path,
        required=True,
        help="configs/quickstart.py, ...",
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        type=command_line.path,
        help="folder of results (default: runs/CONFIG)",
    )
    several = parser.add_argument_group("one process of several, one per host")
    several.add_argument(
        "--distributed",
        action="store_true",
        help="detect the processes from the cluster environment: TPU pod, Slurm, Kubernetes, Open MPI",
    )
    several.add_argument("--coordinator_address", metavar="HOST:PORT", help="address of process 0")
    several.add_argument("--num_processes", metavar="N", type=int, help="number of processes")
    several.add_argument(
        "--process_id", metavar="K", type=int, help="number of this process, from 0"
    )
    return parser


def _run(options: argparse.Namespace, overrides: Sequence[str], command: Sequence[str]) -> None:
    # Imported late: --help, and a misspelt key, should not wait for JAX.
    from ageflax import config as configuration

    config = configuration.load(options.config, overrides)
    workdir = options.workdir or Path("runs") / Path(options.config).stem

    from ageflax import report
    from ageflax.report import table
    from ageflax.runtime import compilation_cache, hosts, progress
    from ageflax.training import checkpoints, cross_validation

    compilation_cache.enable()
    checkpoints.skip_byte_counts()
    place = hosts.placing(
        options.coordinator_address,
        options.num_processes,
        options.process_id,
        distributed=options.distributed,
    )
    with hosts.joined(place):
        if not hosts.writer():
            progress.silence()
        outcome = cross_validation.run(config, workdir, say=progress.say, command=command)
        if hosts.writer():
            report.write(workdir, thumbnails=outcome.images)
            print(table.text(outcome.summary))
            progress.say(f"report: {workdir / 'report.html'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options, overrides = _parser().parse_known_args(words)

    def listening() -> None:
        with preemption.listening():
            _run(options, overrides, ["python", "-m", "ageflax.main", *words])

    code = command_line.FAILED
    try:
        code = command_line.run(
            "ageflax.main",
            listening,
            interrupted="interrupted; the same command resumes from the last checkpoint",
        )
    except Exception:
        traceback.print_exc()  # a bug; the other processes of the run must not wait for this one
    if code and "jax" in sys.modules:
        from ageflax.runtime import hosts

        hosts.leave(code)
    return code


if __name__ == "__main__":
    memory.restart_with_huge_pages()
    sys.exit(main())
