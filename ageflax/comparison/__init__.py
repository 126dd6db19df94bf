"""Several runs over the same faces: their figures side by side, and whether one is better."""

from ageflax.comparison._compare import compare
from ageflax.comparison._pairs import holm

__all__ = ["compare", "holm"]
