"""From archives to a page that compares configs: dataset, quality report, folds, tables, one page.

The same as pipelines.cross_validate, with a quality report of each dataset before the folds and
DIR/compare.html after them.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from ageflax.runtime import command_line
    from pipelines import cross_validate

    words = sys.argv[1:] if arguments is None else list(arguments)
    known, common = cross_validate.parser("compare", __doc__).parse_known_args(words)
    return command_line.run(
        "pipelines.compare",
        lambda: cross_validate.run(
            known, common, ["python", "-m", "pipelines.compare", *words], compare=True
        ),
        interrupted="interrupted, nothing runs on; the same command goes on",
    )


if __name__ == "__main__":
    sys.exit(main())
