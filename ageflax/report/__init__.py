"""Self-contained HTML pages: report.html of one run, and comparisons of several."""

from ageflax.report.comparison.page import write as write_comparison
from ageflax.report.run_page import write

__all__ = ["write", "write_comparison"]
