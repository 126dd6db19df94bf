import dataclasses

import numpy as np
import pytest

from ageflax import metrics
from ageflax.errors import InputError
from ageflax.metrics import Answers


def answers(right: list[bool], **more) -> Answers:
    """Faces of class 1, one per subject, right or two classes off."""
    count = len(right)
    given = {
        "keys": np.array([f"face {k}" for k in range(count)], object),
        "subjects": np.array([f"subject {k}" for k in range(count)], object),
        "true": np.ones(count, int),
        "predicted": np.where(right, 1, 3),
    }
    return Answers(**given | more)


def discordant(only_first: int, only_second: int, *, both: int = 7) -> tuple[Answers, Answers]:
    first = [True] * only_first + [False] * only_second + [True] * both
    second = [False] * only_first + [True] * only_second + [True] * both
    return answers(first), answers(second)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (1, 9, 2 * 11 / 2**10),
        (0, 5, 2 / 2**5),
        (5, 5, 1.0),
        (6, 16, 2 * 110056 / 2**22),  # McNemar's test in Fagerland, Lydersen and Laake, 2013
        (0, 0, None),
    ],
)
def test_mcnemar_is_the_exact_binomial(only_first, only_second, p):
    exact = metrics.paired(*discordant(only_first, only_second), resamples=10)["exact"]
    assert (exact["only_first"], exact["only_second"]) == (only_first, only_second)
    assert exact["mcnemar_p"] == (None if p is None else pytest.approx(p))
    swapped = metrics.paired(*discordant(only_second, only_first), resamples=10)["exact"]
    assert swapped["mcnemar_p"] == exact["mcnemar_p"]


def test_literal_differences():
    first, second = answers([True, True, False, False]), answers([True, False, True, True])
    ages = np.array([20.0, 30.0, np.nan, 50.0])
    first = dataclasses.replace(
        first, years_true=ages, years_predicted=np.array([21.0, 33.0, 9.0, 50.0])
    )
    second = dataclasses.replace(
        second, years_true=ages, years_predicted=np.array([25.0, 30.0, 1.0, 48.0])
    )
    found = metrics.paired(first, second)
    assert (found["faces"], found["persons"]) == (4, 4)
    assert found["exact"].keys() == found["one_off"].keys() == {
        "first", "second", "difference", "interval", "only_first", "only_second", "mcnemar_p",
    }  # fmt: skip
    assert [found["exact"][key] for key in ("first", "second", "difference")] == [0.5, 0.75, 0.25]
    assert found["mae"]["first"] == pytest.approx(4 / 3)
    assert found["mae"]["second"] == pytest.approx(7 / 3)
    assert found["mae"]["difference"] == pytest.approx(1.0)
    assert found["mae"].keys() == {"first", "second", "difference", "interval"}
    low, high = found["exact"]["interval"]
    assert -1.0 <= low <= 0.25 <= high <= 1.0
    assert "left_out" not in found


def test_a_difference_is_surer_than_its_parts_where_faces_are_hard_for_both():
    rng = np.random.default_rng(0)
    first = rng.random(400) < 0.5
    second = first.copy()
    second[np.flatnonzero(~first)[:20]] = True
    found = metrics.paired(answers(first.tolist()), answers(second.tolist()))["exact"]
    assert found["difference"] == pytest.approx(0.05)
    assert 0.0 < found["interval"][0] < 0.05 < found["interval"][1] < 0.08
    alone = metrics.intervals(np.arange(400), {"exact": first.astype(float)})["exact"]
    assert alone[1] - alone[0] > 2 * (found["interval"][1] - found["interval"][0])


def test_one_subjects_many_faces_are_no_evidence():
    first, second = discordant(0, 30, both=0)
    one = np.array(["a"] * 30)
    found = metrics.paired(
        dataclasses.replace(first, subjects=one), dataclasses.replace(second, subjects=one)
    )
    assert found["persons"] == 1
    assert found["exact"]["interval"] == [None, None]
    assert found["exact"]["difference"] == 1.0


def test_the_order_of_either_changes_nothing():
    rng = np.random.default_rng(1)
    first = answers((rng.random(60) < 0.5).tolist(), subjects=np.arange(60) // 3)
    second = answers((rng.random(60) < 0.6).tolist(), subjects=np.arange(60) // 3)
    found = metrics.paired(first, second)
    shuffled = (part.at(rng.permutation(60)) for part in (first, second))
    assert metrics.paired(*shuffled) == found


def test_gender_has_no_neighbours():
    first, second = (dataclasses.replace(a, ordered=False) for a in discordant(1, 2))
    found = metrics.paired(first, second)
    assert "one_off" not in found
    assert "mae" not in found


def test_faces_of_unknown_class_count_for_nothing():
    first, second = discordant(2, 3, both=0)
    unknown = np.array([1, -1, 1, 1, -1])
    found = metrics.paired(
        dataclasses.replace(first, true=unknown), dataclasses.replace(second, true=unknown)
    )
    assert found["faces"] == found["persons"] == 3
    assert (found["exact"]["only_first"], found["exact"]["only_second"]) == (1, 2)
    nobody = np.full(5, -1)
    found = metrics.paired(
        dataclasses.replace(first, true=nobody), dataclasses.replace(second, true=nobody)
    )
    assert found["faces"] == 0
    assert found["exact"]["difference"] is None
    assert found["exact"]["interval"] == [None, None]
    assert found["exact"]["mcnemar_p"] is None


def test_other_faces_are_refused_or_counted_where_the_common_ones_will_do():
    first, second = discordant(2, 3)
    second = second.at(np.arange(1, 12))
    first = first.at(np.arange(10))
    with pytest.raises(
        InputError,
        match="1 are only in the first, 2 only in the second, such as 'face 0'; 9 are in both",
    ):
        metrics.paired(first, second)
    found = metrics.paired(first, second, common=True)
    assert found["faces"] == 9
    assert found["left_out"] == {"first": 1, "second": 2}
    assert (found["exact"]["only_first"], found["exact"]["only_second"]) == (1, 3)
    with pytest.raises(InputError, match="no face in common"):
        metrics.paired(first.at(np.arange(1)), second, common=True)


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"true": np.array([1, 1, 0, 1])}, "true class"),
        ({"subjects": np.array(["subject 0", "subject 1", "x", "subject 3"], object)}, "subject"),
        ({"years_true": np.array([1.0, np.nan, 2.0, 4.0])}, "age"),
        ({"years_true": np.array([1.0, np.nan, np.nan, 4.0])}, "age"),
    ],
)
def test_other_labels_are_refused(change, label):
    years = {
        "years_true": np.array([1.0, np.nan, 3.0, 4.0]),
        "years_predicted": np.zeros(4),
    }
    first = answers([True] * 4, **years)
    message = (
        f"1 of 4 faces have a different {label} in the second than in the first, such as 'face 2'"
    )
    with pytest.raises(InputError, match=message):
        metrics.paired(first, dataclasses.replace(first, **change))
    assert metrics.paired(first, first)["exact"]["difference"] == 0.0


def test_a_key_that_occurs_twice_is_refused():
    first = answers([True, True, True], keys=np.array(["a", "b", "a"], object))
    with pytest.raises(InputError, match="1 keys are repeated in the first, such as 'a'"):
        metrics.paired(first, first)
