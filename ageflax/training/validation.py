"""What validation decides: which checkpoint is the best, and when to stop."""

import dataclasses
import math
from typing import Any

import numpy as np


def ranking(figures: dict[str, dict[str, Any]], chosen: str) -> float | None:
    """The figure that ranks checkpoints, larger is better; None where there is none.

    `exact` and `one_off` are means over the tasks that have them; `mae` is that of the years' head, or
    of the age groups', and negative.
    """
    if chosen == "auto":
        chosen = "mae" if "years" in figures else "exact"
    if chosen == "mae":
        aged = figures.get("years") or figures.get("age") or {}
        mae = aged.get("years", {}).get("mae")
        return None if mae is None else -mae
    found = [f[chosen] for f in figures.values() if f.get(chosen) is not None]
    return float(np.mean(found)) if found else None


@dataclasses.dataclass
class Patience:
    """How long validation has not improved; saved with each checkpoint, so a resumed run knows."""

    limit: int
    best: float = -math.inf
    waited: int = 0

    def see(self, figure: float) -> bool:
        """Takes a validation's figure; True when it is time to stop."""
        improved = figure > self.best
        self.best, self.waited = max(figure, self.best), 0 if improved else self.waited + 1
        return bool(self.limit) and self.waited >= self.limit
