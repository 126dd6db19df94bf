"""report.html, what a run found, and a page that compares runs: each needs nothing else."""

from ageflax.report._comparison import write as write_comparison
from ageflax.report._page import write

__all__ = ["write", "write_comparison"]
