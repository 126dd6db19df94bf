"""Compares configs, from the archives to one page: dataset, quality report, folds, tables, comparison.

Does what pipelines.cross_validate does, with a quality report of each dataset before the folds and
DIR/compare.html after them.
"""

import sys
from collections.abc import Sequence

from ageflax.runtime import command_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from pipelines import cross_validate

    words = sys.argv[1:] if arguments is None else list(arguments)
    known, common = cross_validate.parser("compare", __doc__).parse_known_args(words)
    return command_line.run(
        "pipelines.compare",
        lambda: cross_validate.run(
            known, common, ["python", "-m", "pipelines.compare", *words], compare=True
        ),
        interrupted="interrupted, no process is left; the same command resumes",
    )


if __name__ == "__main__":
    sys.exit(main())
