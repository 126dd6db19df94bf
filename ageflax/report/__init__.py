"""report.html, what a run found, and a page that compares runs: each needs nothing else."""

from ageflax.report.comparison.page import write as write_comparison
from ageflax.report.run_page import write

__all__ = ["write", "write_comparison"]
