"""Order in which training visits faces: a function of the seed and the position alone."""

import numpy as np

from ageflax.data.balance import ONE, Draws


class ShuffledRows:
    """Endless passes over some rows, each pass shuffled anew.

    Position p of the run is draw p mod n of pass p div n, whatever was asked before: a run resumed at
    step s sees the same faces and needs nothing but s.

    Each pass holds every row once; or, with `draws`, as often as they say: by systematic sampling, so
    that in every pass the number of draws of each row, of each stratum, and of each range of ages within
    a gender differs from its expectation by less than one.

    Args:
      rows: int[n], rows to visit.
      seed: two integers below 2^64, such as (seed, fold).
      draws: expected draws of each row in a pass; None for one.
    """

    def __init__(self, rows: np.ndarray, seed: tuple[int, int], draws: Draws | None = None):
        self._rows = rows
        self._seed = seed
        self._draws = draws
        self._latest = (-1, rows)

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        """Positions of a pass, int[n]: in strata, within one at random, a tick every ONE units."""
        if self._draws is None:
            return np.arange(len(self._rows))
        by_chance = rng.permutation(len(self._rows))
        order = by_chance[np.argsort(self._draws.place[by_chance], kind="stable")]
        ends = np.cumsum(self._draws.expected[order]) + rng.integers(ONE)
        return np.repeat(order, np.diff(ends // ONE, prepend=0))

    def _passed(self, number: int) -> np.ndarray:
        latest, shuffled = self._latest
        if number != latest:
            key = np.array(self._seed, np.uint64)
            rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number]))
            drawn = self._drawn(rng)
            shuffled = self._rows[drawn[rng.permutation(len(drawn))]]
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
