"""Trains and tests every fold of a config: python -m ageflax.main --config=configs/levi.py."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

_EPILOG = """\
Any key of the config can be set: --config.KEY=VALUE, such as --config.data.batch_size=64 or
--config.fold=3; ageflax/config/_keys.py lists them all. The same command again continues where it
stopped; a finished fold is not redone.
Exit codes: 0 done, 2 bad input, 1 failed run, 130 interrupted."""


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
    return parser


def _run(
    config_path: str, workdir: Path | None, overrides: Sequence[str], words: Sequence[str]
) -> None:
    # Imported late: --help, and a misspelt key, should not wait for JAX.
    from ageflax import config as configuration

    config = configuration.load(config_path, overrides)
    workdir = workdir or Path("runs") / Path(config_path).stem

    from ageflax import compilation_cache, cross_validation, report, table
    from ageflax.progress import say

    compilation_cache.enable()
    outcome = cross_validation.run(
        config, workdir, say=say, command=["python", "-m", "ageflax.main", *words]
    )
    report.write(workdir, thumbnails=outcome.images)
    print(table.text(outcome.summary))
    say(f"report: {workdir / 'report.html'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from ageflax import command

    words = sys.argv[1:] if arguments is None else list(arguments)
    known, overrides = _parser().parse_known_args(words)
    return command.run(
        "ageflax.main",
        lambda: _run(known.config, known.workdir, overrides, words),
        interrupted="interrupted; the same command goes on from the last checkpoint",
    )


if __name__ == "__main__":
    sys.exit(main())
