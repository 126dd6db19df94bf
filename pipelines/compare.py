"""Compares configs, from the archives to one page: dataset, quality report, folds, tables, comparison.

Does what pipelines.cross_validate does, with a quality report of each dataset before the folds and
DIR/compare.html after them.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from pipelines import cross_validate

    return cross_validate.command("compare", __doc__, arguments, compare=True)


if __name__ == "__main__":
    sys.exit(main())
