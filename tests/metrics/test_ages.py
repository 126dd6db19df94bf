import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax import losses, metrics
from ageflax.labels import Classes

MEAN, MEDIAN = (Classes.of("years", reading=reading) for reading in ("mean", "median"))


def rows(*shares: dict[int, float]) -> np.ndarray:
    """Distributions over 0 to 100 years."""
    found = np.zeros((len(shares), 101), np.float32)
    for row, share_of in zip(found, shares, strict=True):
        for year, share in share_of.items():
            row[year] = share
    return found


@pytest.mark.parametrize(
    ("shares", "mean", "median"),
    [
        ({30: 1.0}, 30.0, 30.0),
        ({0: 1.0}, 0.0, 0.0),
        ({100: 1.0}, 100.0, 100.0),
        ({20: 0.5, 21: 0.5}, 20.5, 20.5),
        ({20: 0.75, 60: 0.25}, 30.0, 20 - 0.5 + 0.5 / 0.75),
        ({2: 0.25, 3: 0.5, 80: 0.25}, 22.0, 3.0),
        # Half below, half above: the end of the lower half.
        ({10: 0.5, 50: 0.5}, 30.0, 10.5),
        # Sums that are not quite one are no shift.
        ({30: 0.4, 31: 0.4}, 24.4, 30.5),
    ],
)
def test_mean_and_median(shares, mean, median):
    probabilities = rows(shares)
    assert metrics.ages(probabilities, MEAN).years[0] == pytest.approx(mean, abs=1e-5)
    assert metrics.ages(probabilities, MEDIAN).years[0] == pytest.approx(median, abs=1e-5)
    assert losses.median(jnp.asarray(probabilities))[0] == pytest.approx(median, abs=1e-4)


@settings(deadline=None)  # compiles
@given(
    st.lists(st.tuples(st.integers(0, 100), st.floats(0.01, 1.0)), min_size=1, max_size=30),
)
def test_half_of_the_distribution_lies_below_the_median(weights):
    shares = np.zeros((1, 101))
    for year, weight in weights:
        shares[0, year] += weight
    shares /= shares.sum()
    found = metrics.ages(shares, MEDIAN).years[0]
    # The distribution spread over k - 1/2 to k + 1/2.
    edges = np.arange(-0.5, 101)
    below = np.interp(found, edges, np.append(0.0, np.cumsum(shares[0])))
    assert below == pytest.approx(0.5, abs=1e-9)
    assert losses.median(jnp.asarray(shares, jnp.float32))[0] == pytest.approx(found, abs=1e-3)


def test_deviation_and_groups_do_not_depend_on_the_reading():
    probabilities = rows({20: 0.75, 60: 0.25}, {5: 1.0})
    by_mean, by_median = (metrics.ages(probabilities, classes) for classes in (MEAN, MEDIAN))
    np.testing.assert_array_equal(by_mean.std, by_median.std)
    np.testing.assert_array_equal(by_mean.groups, by_median.groups)


def test_a_head_without_a_distribution_and_age_groups_have_one_reading():
    estimates = np.array([[31.5], [4.0]], np.float32)
    np.testing.assert_array_equal(metrics.ages(estimates, MEDIAN).years, estimates[:, 0])
    assert Classes.of("age", reading="median") == Classes.of("age")
    assert Classes.of("gender", reading="median") == Classes.of("gender")
