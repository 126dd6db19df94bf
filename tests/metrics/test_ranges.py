import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ageflax import metrics

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("low", "high", "estimated", "off"),
    [
        (20, 29, 25, 0), (20, 29, 20, 0), (20, 29, 29, 0), (20, 29, 29.5, 0.5), (20, 29, 12.5, -7.5),
        (70, INF, 130, 0), (70, INF, 64, -6), (0, 2, 0, 0), (31, 31, 29, -2), (31, 31, 31, 0),
        (NAN, NAN, 30, NAN),
    ],
)  # fmt: skip
def test_the_distance_from_a_range_is_signed(low, high, estimated, off):
    found = metrics.off_range(np.array([low]), np.array([high]), np.array([estimated]))
    np.testing.assert_array_equal(found, [float(off)])


AGES = st.floats(0, 130)


@given(AGES, AGES, AGES)
def test_it_is_the_least_error_that_an_age_in_the_range_allows(one, other, estimated):
    low, high = min(one, other), max(one, other)
    found = metrics.off_range(np.array([low]), np.array([high]), np.array([estimated]))[0]
    inside = min(max(estimated, low), high)
    assert found == estimated - inside
