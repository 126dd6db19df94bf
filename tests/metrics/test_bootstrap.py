import numpy as np
import pytest

from ageflax import metrics
from ageflax.metrics import bootstrap


def clustered(rng: np.random.Generator, subjects: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Subjects of 1 to 15 faces, right or wrong much alike within a subject. The true mean is 1/2."""
    faces = rng.integers(1, 16, subjects)
    ease = rng.beta(0.8, 0.8, subjects)
    subject = np.repeat(np.arange(subjects), faces)
    return subject, (rng.random(len(subject)) < ease[subject]).astype(float)


def coverage(simulations: int, *, by_face: bool) -> float:
    rng, covered = np.random.default_rng(0), []
    for seed in range(simulations):
        subject, right = clustered(rng)
        drawn = np.arange(len(subject)) if by_face else subject
        low, high = metrics.intervals(drawn, {"exact": right}, resamples=400, seed=seed)["exact"]
        covered.append(low <= 0.5 <= high)
    return float(np.mean(covered))


def test_95_per_cent_of_intervals_by_subject_hold_the_true_mean():
    assert 0.93 <= coverage(300, by_face=False) <= 0.97


def test_intervals_that_take_faces_for_independent_are_too_narrow():
    assert coverage(60, by_face=True) < 0.75


def test_the_order_of_faces_changes_nothing_and_the_seed_does():
    rng = np.random.default_rng(0)
    subject, right = clustered(rng)
    names = np.array([f"subject {k}" for k in subject], object)
    error = rng.exponential(size=len(subject))
    error[rng.random(len(subject)) < 0.2] = np.nan
    values = {"exact": right, "mae": error}
    figures = metrics.intervals(names, values)
    for _ in range(3):
        order = rng.permutation(len(subject))
        shuffled = {name: value[order] for name, value in values.items()}
        assert metrics.intervals(names[order], shuffled) == figures
    assert metrics.intervals(names, values, seed=1)["mae"] != figures["mae"]
    assert figures["persons"] == 100
    assert (figures["level"], figures["resamples"], figures["seed"]) == (0.95, 2000, 0)


def test_the_size_of_a_block_changes_nothing(monkeypatch):
    subject, right = clustered(np.random.default_rng(1))
    whole = metrics.intervals(subject, {"exact": right}, resamples=101)
    monkeypatch.setattr(bootstrap, "_BLOCK", 700)
    assert metrics.intervals(subject, {"exact": right}, resamples=101) == whole


def test_two_subjects_one_always_right_give_the_three_possible_means():
    # Both drawn: 1/2; the one twice (a quarter each): 0 or 1.
    figures = metrics.intervals(np.array(["a", "b"]), {"exact": np.array([1.0, 0.0])}, level=0.4)
    assert figures["exact"] == [0.5, 0.5]
    figures = metrics.intervals(np.array(["a", "b"]), {"exact": np.array([1.0, 0.0])}, level=0.9)
    assert figures["exact"] == [0.0, 1.0]


def test_a_subject_brings_all_their_faces():
    # Ten faces of one, one of the other: the mean is 10/11, and a resample of the other alone is 0.
    subjects = np.array(["a"] * 10 + ["b"])
    right = np.array([1.0] * 10 + [0.0])
    totals = bootstrap._resampled(bootstrap._sums_by_subject(subjects, right[:, None]), 50, 0)
    assert set(totals[:, 0]) == {0.0, 10.0, 20.0}


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_fewer_than_two_subjects_have_no_interval(faces):
    figures = metrics.intervals(np.zeros(faces), {"exact": np.ones(faces), "mae": np.ones(faces)})
    assert figures["exact"] == figures["mae"] == [None, None]
    assert figures["persons"] == min(faces, 1)


def test_a_figure_of_one_subjects_faces_is_null_beside_one_of_many():
    subjects = np.array(["a", "b", "c", "d"])
    values = {
        "exact": np.array([1.0, 1.0, 0.0, np.nan]),
        "mae": np.array([2.0, np.nan, np.nan, np.nan]),
        "cs5": np.full(4, np.nan),
    }
    figures = metrics.intervals(subjects, values)
    assert figures["persons"] == 3  # d counts for nothing
    assert figures["exact"] == [0.0, 1.0]
    assert figures["mae"] == figures["cs5"] == [None, None]


def test_what_few_subjects_have_is_judged_from_the_resamples_that_hold_one_of_them():
    subjects = np.arange(50)
    mae = np.full(50, np.nan)
    mae[:2] = 3.0, 7.0
    low, high = metrics.intervals(subjects, {"exact": np.ones(50), "mae": mae})["mae"]
    assert (low, high) == (3.0, 7.0)
