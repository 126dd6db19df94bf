"""Compares runs over the same test faces on one page: is one better, or is the difference chance?

Shows figures with their intervals, differences between pairs of runs with a paired bootstrap over
subjects and McNemar's test, learning curves, groups of people side by side, and the keys in which the
recipes differ.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ageflax.runtime import command_line

_EPILOG = """\
A RUN is a workdir of ageflax.main. Unfinished runs are compared over the folds that both have. FILE.json
is written beside FILE.html with the same figures.
Exit codes: 0 done, 2 bad input, 1 failed, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.compare", __doc__, _EPILOG)
    parser.add_argument(
        "runs", metavar="RUN", type=command_line.path, nargs="+", help="two or more workdirs"
    )
    parser.add_argument(
        "--names", metavar="A,B", help="names of the runs on the page (default: their folders')"
    )
    parser.add_argument(
        "--output", metavar="FILE.html", type=command_line.path, required=True, help="page to write"
    )
    parser.add_argument(
        "--common",
        action="store_true",
        help="compare the faces that both runs have if their faces or label policies differ",
    )
    return parser


def write(
    runs: Sequence[Path], output: Path, *, names: Sequence[str] | None = None, common: bool = False
) -> dict[str, Any]:
    """Writes the page and, beside it, the JSON.

    Args:
      runs: two or more workdirs.
      output: page to write, ending in .html; its folder is made if absent.
      names: names of the runs; by default those of their folders.
      common: see ageflax.report.comparison.compare.

    Returns:
      The JSON's content.

    Raises:
      InputError: the runs are not comparable, or the page cannot be written there.
      RunError: a predictions.csv is damaged.
    """
    from ageflax import report
    from ageflax.errors import InputError
    from ageflax.report import comparison
    from ageflax.runtime import files

    if output.suffix not in (".html", ".htm"):
        raise InputError(f"--output={output}: expected a name that ends in .html")
    found = comparison.compare(runs, names=names, common=common)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output={output}: cannot be written: {error.strerror}") from error
    files.write_json(output.with_suffix(".json"), found)
    report.write_comparison(found, runs, output)
    return found


def _run(runs: Sequence[Path], names: str | None, output: Path, *, common: bool) -> None:
    from ageflax.report import comparison
    from ageflax.runtime.progress import say

    found = write(runs, output, names=names.split(",") if names else None, common=common)
    print(comparison.text(found))
    say(f"page: {output}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    return command_line.run(
        "ageflax.compare",
        lambda: _run(options.runs, options.names, options.output, common=options.common),
    )


if __name__ == "__main__":
    sys.exit(main())
