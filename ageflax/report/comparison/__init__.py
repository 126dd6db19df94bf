"""Several runs over the same faces: their figures side by side, and whether one is better."""

from ageflax.report.comparison.differences import compare
from ageflax.report.comparison.pairs import holm
from ageflax.report.comparison.text import text

__all__ = ["compare", "holm", "text"]
