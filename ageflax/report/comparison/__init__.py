"""Comparisons of several runs over the same faces."""

from ageflax.report.comparison.differences import compare
from ageflax.report.comparison.pairs import holm
from ageflax.report.comparison.text import text

__all__ = ["compare", "holm", "text"]
