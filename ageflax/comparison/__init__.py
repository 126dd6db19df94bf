"""Several runs over the same faces: their figures side by side, and whether one is better."""

from ageflax.comparison._compare import compare
from ageflax.comparison._pairs import holm
from ageflax.comparison._text import text

__all__ = ["compare", "holm", "text"]
