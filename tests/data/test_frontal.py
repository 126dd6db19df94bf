import numpy as np
import pytest

from ageflax.data.frontal import most_frontal
from ageflax.errors import InputError

KEYS = np.array(list("hgfedcba"), dtype=object)
SCORES = np.array([1.0, 5.0, np.nan, 3.0, -np.inf, 3.0, np.nan, 3.0], np.float32)


@pytest.mark.parametrize(
    ("keep", "rows"),
    [
        (1, [1]),
        (3, [1, 5, 7]),
        (99, [0, 1, 3, 5, 7]),
    ],  # keys "a" and "c" come first among the three 3.0
)
def test_the_highest_scores_are_kept_ties_by_key(keep, rows):
    assert np.flatnonzero(most_frontal(KEYS, SCORES, keep)).tolist() == rows


def test_without_scores_it_is_refused():
    with pytest.raises(InputError, match="the dataset has no face scores to go by"):
        most_frontal(KEYS, np.full(8, np.nan, np.float32), 5)
