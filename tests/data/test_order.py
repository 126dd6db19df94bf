import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ageflax.data.order import ShuffledRows

ROWS = np.arange(100, 137)


@given(size=st.integers(1, 90), steps=st.integers(1, 12))
def test_each_pass_holds_every_row_once_whatever_the_batch(size, steps):
    order = ShuffledRows(ROWS, (3, 1))
    seen = np.concatenate([order.batch(step, size) for step in range(steps)])
    for start in range(0, len(seen) - len(ROWS) + 1, len(ROWS)):
        assert sorted(seen[start : start + len(ROWS)]) == ROWS.tolist()


@given(steps=st.lists(st.integers(0, 10**6), min_size=1, max_size=10))
def test_a_batch_depends_on_its_step_alone(steps):
    used = ShuffledRows(ROWS, (3, 1))
    for step in steps:
        fresh = ShuffledRows(ROWS, (3, 1))
        np.testing.assert_array_equal(used.batch(step, 8), fresh.batch(step, 8))


def test_passes_seeds_and_folds_differ():
    first = ShuffledRows(ROWS, (3, 1)).batch(0, 37).tolist()
    assert first != ShuffledRows(ROWS, (3, 1)).batch(1, 37).tolist()
    assert first != ShuffledRows(ROWS, (4, 1)).batch(0, 37).tolist()
    assert first != ShuffledRows(ROWS, (3, 2)).batch(0, 37).tolist()


def test_it_survives_pickling():
    order = pickle.loads(pickle.dumps(ShuffledRows(ROWS, (0, 0))))  # noqa: S301
    np.testing.assert_array_equal(order.batch(5, 9), ShuffledRows(ROWS, (0, 0)).batch(5, 9))
