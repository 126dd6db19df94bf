"""Order in which training visits faces: a function of the seed and the position alone."""

import numpy as np


class ShuffledRows:
    """Endless passes over some rows, each pass shuffled anew.

    Position p of the run is face p mod n of pass p div n, whatever was asked before: a run resumed at
    step s sees the same faces and needs nothing but s.

    Args:
      rows: int[n], rows to visit.
      seed: two integers below 2^64, such as (seed, fold).
    """

    def __init__(self, rows: np.ndarray, seed: tuple[int, int]):
        self._rows = rows
        self._seed = seed
        self._latest = (-1, rows)

    def _passed(self, number: int) -> np.ndarray:
        latest, shuffled = self._latest
        if number != latest:
            key = np.array(self._seed, np.uint64)
            rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number]))
            shuffled = self._rows[rng.permutation(len(self._rows))]
            # One assignment: threads on either side of a pass's end must not mix the two.
            self._latest = (number, shuffled)
        return shuffled

    def batch(self, step: int, size: int) -> np.ndarray:
        """Gives int[size], the rows of one step's batch; a batch may span two passes."""
        position, parts = step * size, []
        while size:
            number, offset = divmod(position, len(self._rows))
            part = self._passed(number)[offset : offset + size]
            parts.append(part)
            position, size = position + len(part), size - len(part)
        return np.concatenate(parts)
