import numpy as np
import pytest

from ageflax import metrics
from ageflax.metrics import Answers

UNKNOWN = np.nan


def answers() -> Answers:
    return Answers(
        keys=np.array(list("abcdef"), object),
        subjects=np.array(list("uuvwxy"), object),
        true=np.array([0, 1, 2, 3, -1, 3]),
        predicted=np.array([0, 2, 2, 0, 1, 3]),
        years_true=np.array([1.0, 5.0, 10.0, UNKNOWN, 20.0, UNKNOWN]),
        years_predicted=np.array([2.0, 15.0, 8.0, 9.0, 21.0, 30.0]),
    )


def test_what_each_face_adds():
    values = answers().per_face()
    np.testing.assert_array_equal(values["exact"], [1, 0, 1, 0, UNKNOWN, 1])
    np.testing.assert_array_equal(values["one_off"], [1, 1, 1, 0, UNKNOWN, 1])
    np.testing.assert_array_equal(values["mae_classes"], [0, 1, 0, 3, UNKNOWN, 0])
    np.testing.assert_array_equal(values["bias"], [1, 10, -2, UNKNOWN, 1, UNKNOWN])
    np.testing.assert_array_equal(values["mae"], [1, 10, 2, UNKNOWN, 1, UNKNOWN])
    np.testing.assert_array_equal(values["cs5"], [1, 0, 1, UNKNOWN, 1, UNKNOWN])


def test_literal_figures_of_two_groups_and_an_empty_one():
    grouping = {"gender": (np.array([0, 0, 1, 1, 1, -1]), ("female", "male", "other"))}
    figures = metrics.groups(answers().per_face(), grouping)["gender"]
    assert figures["female"] == {
        "faces": 2, "exact": 0.5, "one_off": 1.0, "aged": 2, "mae": 5.5, "cs5": 0.5, "bias": 5.5,
    }  # fmt: skip
    assert figures["male"] == {
        "faces": 2, "exact": 0.5, "one_off": 0.5, "aged": 2, "mae": 1.5, "cs5": 1.0, "bias": -0.5,
    }  # fmt: skip
    assert figures["other"] == {
        "faces": 0, "exact": None, "one_off": None, "aged": 0, "mae": None, "cs5": None, "bias": None,
    }  # fmt: skip


def test_a_grouping_that_is_unknown_of_all_faces_is_left_out():
    values = answers().per_face()
    nobody = {"gender": (np.full(6, -1), ("female", "male"))}
    assert metrics.groups(values, nobody) == {}
    assert metrics.groups(values, {}) == {}


def test_without_ages_and_order_there_are_neither_errors_nor_neighbours():
    plain = Answers(
        keys=np.array(["a"]), subjects=np.array(["u"]), true=np.array([1]), predicted=np.array([0]),
        ordered=False,
    )  # fmt: skip
    grouping = {"age": (np.array([0]), ("0-2",))}
    assert metrics.groups(plain.per_face(), grouping) == {
        "age": {"0-2": {"faces": 1, "exact": 0.0}}
    }


@pytest.mark.parametrize("cut", [0, 1, 3, 6])
def test_folds_pooled_are_all_faces_at_once(cut):
    rng = np.random.default_rng(cut)
    group = rng.integers(-1, 3, 40)
    everyone = Answers(
        keys=np.arange(40).astype(str), subjects=np.arange(40), true=rng.integers(-1, 4, 40),
        predicted=rng.integers(0, 4, 40),
        years_true=np.where(rng.random(40) < 0.7, rng.integers(0, 90, 40), UNKNOWN),
        years_predicted=rng.uniform(0, 90, 40),
    )  # fmt: skip
    names = ("a", "b", "c")

    def of(rows: slice) -> dict:
        values = {name: value[rows] for name, value in everyone.per_face().items()}
        return metrics.groups(values, {"gender": (group[rows], names)})

    pooled = metrics.pooled_groups([of(slice(0, cut)), of(slice(cut, 20)), of(slice(20, 40))])
    whole = of(slice(0, 40))
    assert pooled.keys() == whole.keys()
    for name, figures in whole["gender"].items():
        assert pooled["gender"][name] == pytest.approx(figures)


def test_pooling_nothing_gives_nothing():
    assert metrics.pooled_groups([{}, {}]) == {}


def test_answers_of_a_fold_without_ages_join_as_unknown():
    known = answers()
    unknown = Answers(
        keys=np.array(["z"], object), subjects=np.array(["t"], object), true=np.array([1]),
        predicted=np.array([1]),
    )  # fmt: skip
    both = metrics.joined([known, unknown])
    assert len(both) == 7
    assert both.years_true is not None
    np.testing.assert_array_equal(both.years_true[-2:], [UNKNOWN, UNKNOWN])
    assert metrics.joined([unknown, unknown]).years_true is None
    assert both.per_face()["mae"][:3].tolist() == [1.0, 10.0, 2.0]
