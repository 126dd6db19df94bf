"""report.html: what a run found, on one page that needs nothing else."""

from ageflax.report._page import write

__all__ = ["write"]
