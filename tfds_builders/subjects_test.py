import collections
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ageflax.errors import InputError
from tfds_builders.subjects import Groups, divide


@given(st.lists(st.integers(0, 60), min_size=1, max_size=400))
def test_each_subject_is_in_one_fold_and_the_same_in_any_order(numbers: list[int]):
    images = [f"s{number}" for number in numbers]
    if len(set(images)) < 5:
        with pytest.raises(InputError, match=r"is empty: .* need at least five subjects"):
            divide(collections.Counter(images))
        return
    folds = divide(collections.Counter(images))
    assert folds.keys() == set(images)
    assert set(folds.values()) == set(range(5))
    shuffled = random.Random(0).sample(images, len(images))
    assert divide(collections.Counter(shuffled)) == folds


def test_folds_are_of_equal_size_if_subjects_differ_a_lot():
    # As in imdb: hundreds of images of a star, one of most.
    counts = {f"s{k}": max(1, 800 // (k + 1)) for k in range(20_000)}
    sizes = collections.Counter()
    for subject, fold in divide(counts).items():
        sizes[fold] += counts[subject]
    assert max(sizes.values()) - min(sizes.values()) <= 1


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20))))
def test_groups_are_the_connected_members_under_their_smallest(pairs: list[tuple[int, int]]):
    groups, expected = Groups[int](key=lambda k: k), list(range(21))
    for one, other in pairs:
        groups.join(one, other)
        low, high = sorted((expected[one], expected[other]))
        expected = [low if group == high else group for group in expected]
    assert [groups.find(k) for k in range(21)] == expected
