"""Trains and tests every fold of a config: python -m ageflax.main --config=configs/levi.py."""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from ageflax.runtime import huge_pages

_EPILOG = """\
Any key of the config can be set: --config.KEY=VALUE, such as --config.data.batch_size=64 or
--config.fold=3; ageflax/config/schema.py lists them all. The same command again continues where it
stopped; a finished fold is not redone. SIGTERM saves and ends within 30 seconds.
Of several hosts each starts the same command, on a workdir that all see, with --distributed or with the
three flags that say who it is; one that dies ends the others within two minutes.
Exit codes: 0 done, 2 bad input, 1 failed run, 130 interrupted, 143 told to stop by SIGTERM (go on with
the same command)."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ageflax.main",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", metavar="FILE", required=True, help="configs/quickstart.py, ..."
    )
    parser.add_argument(
        "--workdir", metavar="DIR", type=Path, help="where results go (default: runs/CONFIG)"
    )
    several = parser.add_argument_group("one process of several, one a host")
    several.add_argument(
        "--distributed",
        action="store_true",
        help="ask the cluster who they are: TPU pod, Slurm, Kubernetes, Open MPI",
    )
    several.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0")
    several.add_argument("--num_processes", metavar="N", type=int, help="how many there are")
    several.add_argument("--process_id", metavar="K", type=int, help="which this is, from 0")
    return parser


def _run(words: argparse.Namespace, overrides: Sequence[str], command: Sequence[str]) -> None:
    # Imported late: --help, and a misspelt key, should not wait for JAX.
    from ageflax import config as configuration

    config = configuration.load(words.config, overrides)
    workdir = words.workdir or Path("runs") / Path(words.config).stem

    from ageflax import report
    from ageflax.report import table
    from ageflax.runtime import compilation_cache, hosts, progress
    from ageflax.training import cross_validation

    compilation_cache.enable()
    place = hosts.placing(
        words.coordinator_address,
        words.num_processes,
        words.process_id,
        distributed=words.distributed,
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
    from ageflax.runtime import command_line as command
    from ageflax.runtime import preemption

    words = sys.argv[1:] if arguments is None else list(arguments)
    known, overrides = _parser().parse_known_args(words)

    def listened() -> None:
        with preemption.listening():
            _run(known, overrides, ["python", "-m", "ageflax.main", *words])

    code = command.FAILED
    try:
        code = command.run(
            "ageflax.main",
            listened,
            interrupted="interrupted; the same command goes on from the last checkpoint",
        )
    except Exception:
        traceback.print_exc()  # a mistake of ours; of several processes none is to wait for it
    if code and "jax" in sys.modules:
        from ageflax.runtime import hosts

        hosts.leave(code)
    return code


if __name__ == "__main__":
    huge_pages.restart()
    sys.exit(main())
