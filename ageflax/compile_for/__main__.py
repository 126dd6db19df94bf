"""Compiles a recipe for TPU slices that are not there: does it fit, what moves, how fast at most."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

_EPILOG = """\
TOPOLOGY is a slice such as v5e:2x4, v5p:4x4x4 or v6e:4x4, or several with commas between; they are
compiled by the TPU's own compiler, which the extra `tpu` installs and which needs no TPU. `cuda` is
lowered through jax.export for NVIDIA GPUs, and not compiled.
Any key of the config can be set: --config.KEY=VALUE, such as --config.model.dtype=bfloat16.
A step that does not fit, calls the host, moves more than gradients between the chips, or multiplies in
float32 where the config says bfloat16, is said at the end, and the exit code is 1.
Exit codes: 0 sound, 2 bad input, 1 not sound, 130 interrupted."""


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is no count of faces, 1 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ageflax.compile_for",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--topology", metavar="TOPOLOGY", required=True, help="v5e:2x4, cuda, ...")
    parser.add_argument("--config", metavar="FILE", required=True, help="configs/levi.py, ...")
    parser.add_argument(
        "--steps",
        metavar="STEP,..",
        default="train,evaluate",
        help="of train, resident (many steps over faces on the chips), evaluate; default: %(default)s",
    )
    parser.add_argument(
        "--per_chip",
        metavar="N",
        type=_count,
        help="faces of a batch on each chip (default: the config's batches over all chips)",
    )
    parser.add_argument(
        "--largest",
        action="store_true",
        help="also find the largest power of two of faces a chip that trains; some compilations more",
    )
    parser.add_argument(
        "--faces",
        metavar="N",
        type=_count,
        default=19_370,
        help="that are resident (default: Adience's %(default)s)",
    )
    parser.add_argument("--output", metavar="FILE.json", type=Path, help="the figures, to keep")
    return parser


def _run(known: argparse.Namespace, overrides: Sequence[str]) -> None:
    # Imported late: --help, and a misspelt key, should not wait for JAX.
    from ageflax import config as configuration

    config = configuration.load(known.config, overrides)
    from ageflax.compile_for import report

    report.run(
        config,
        topologies=known.topology.split(","),
        steps=known.steps.split(","),
        per_chip=known.per_chip,
        largest=known.largest,
        faces=known.faces,
        output=known.output,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from ageflax.runtime import command_line

    words = sys.argv[1:] if arguments is None else list(arguments)
    known, overrides = _parser().parse_known_args(words)
    return command_line.run("ageflax.compile_for", lambda: _run(known, overrides))


if __name__ == "__main__":
    sys.exit(main())
