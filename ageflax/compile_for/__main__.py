"""Compiles a recipe for absent accelerators: memory, communication and a bound on its speed."""

import argparse
import sys
from collections.abc import Sequence

from ageflax.runtime import command_line

_EPILOG = """\
TOPOLOGY is one or more slices, separated by commas, such as v5e:2x4, v5p:4x4x4 or v6e:4x4. They are
compiled by the TPU's own compiler, which the extra `tpu` installs and which needs no TPU. `cuda` is
lowered through jax.export for NVIDIA GPUs, but not compiled.
Any key of the config can be set by --config.KEY=VALUE, such as --config.model.dtype=bfloat16; python -m
ageflax.main --help lists them.
A step that does not fit, calls the host, moves more than gradients between the chips, or multiplies in
float32 under a bfloat16 config is reported at the end, and the exit code is 1.
Exit codes: 0 sound, 2 bad input, 1 not sound, 130 interrupted."""


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"{text}: expected a number of faces, 1 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.compile_for", __doc__, _EPILOG)
    parser.add_argument("--topology", metavar="TOPOLOGY", required=True, help="v5e:2x4, cuda, ...")
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=command_line.name_or_path,
        required=True,
        help="configs/levi.py, ...",
    )
    parser.add_argument(
        "--steps",
        metavar="STEP,..",
        default="train,evaluate",
        help="steps to compile, of train, resident (many steps over faces on the chips) and evaluate"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--per_chip",
        metavar="N",
        type=_count,
        help="faces per chip in a batch (default: the config's batch over all chips)",
    )
    parser.add_argument(
        "--largest",
        action="store_true",
        help="search for the largest power of two of faces per chip that trains; compiles more often",
    )
    parser.add_argument(
        "--faces",
        metavar="N",
        type=_count,
        default=19_370,
        help="number of resident faces (default: Adience's %(default)s)",
    )
    parser.add_argument(
        "--output", metavar="FILE.json", type=command_line.path, help="file for the figures"
    )
    return parser


def _run(options: argparse.Namespace, overrides: Sequence[str]) -> None:
    # Imported late: --help, and a misspelt key, should not wait for JAX.
    from ageflax import config as configuration

    config = configuration.load(options.config, overrides)
    from ageflax.compile_for import report

    report.run(
        config,
        topologies=options.topology.split(","),
        steps=options.steps.split(","),
        per_chip=options.per_chip,
        largest=options.largest,
        faces=options.faces,
        output=options.output,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options, overrides = _parser().parse_known_args(arguments)
    return command_line.run("ageflax.compile_for", lambda: _run(options, overrides))


if __name__ == "__main__":
    sys.exit(main())
