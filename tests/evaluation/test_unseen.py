"""Folds that a model may be tested on: none with faces that it was trained on."""

import dataclasses

import pytest

from ageflax.bundle import Description
from ageflax.errors import InputError
from ageflax.evaluation import unseen
from tests.support import small_bundle

DESCRIPTION = Description.of_run(small_bundle.config_of(), small_bundle.RESULT)


def described(data, source):
    return dataclasses.replace(DESCRIPTION, data=data, source=source)


def config(fingerprint, fold, *, name="adience/aligned/1.0.0", before=None):
    weights = {"source": "x", "trained_on": before} if before else None
    return described({"name": name, "fingerprint": fingerprint}, {"fold": fold, "weights": weights})


def plan(configs, asked=None, *, name="adience/aligned/1.0.0", fingerprint="here"):
    return unseen.plan(configs, name, fingerprint, asked)


def parts(found):
    return [(part.members, part.folds) for part in found.parts]


def test_on_its_own_data_a_model_is_tested_on_the_fold_that_was_kept_from_it():
    found = plan([config("here", 3)])
    assert parts(found) == [((0,), (3,))]
    assert found.own
    assert found.folds == (3,)
    assert found.notices == (
        "the model was trained on adience/aligned/1.0.0 itself: tested on fold 3, held out from it",
    )
    assert plan([config("here", 3)], [3]) == found


def test_of_a_run_each_model_answers_for_its_own_fold():
    found = plan([config("here", fold) for fold in (0, 1, 4)])
    assert parts(found) == [((0,), (0,)), ((1,), (1,)), ((2,), (4,))]
    assert "on folds 0, 1, 4, each by the model that it was held out from" in found.notices[0]
    assert parts(plan([config("here", fold) for fold in (0, 1, 4)], [1])) == [((1,), (1,))]


@pytest.mark.parametrize(
    ("folds", "asked", "named"),
    [
        ((3,), (0,), "fold 0 included"),
        ((3,), (3, 1), "fold 1 included"),
        ((0, 1), (0, 1, 2), "fold 2 included"),
        ((None,), None, "all of its folds included"),
    ],
)
def test_folds_that_were_trained_on_are_refused(folds, asked, named):
    with pytest.raises(InputError, match=f"was trained on adience/aligned/1.0.0 itself, {named}"):
        plan([config("here", fold) for fold in folds], asked)


def test_on_other_data_all_models_answer_for_every_fold_together():
    found = plan([config("there", fold) for fold in range(5)], name="imdb_wiki/wiki/1.0.0")
    assert parts(found) == [((0, 1, 2, 3, 4), (0, 1, 2, 3, 4))]
    assert not found.own
    assert found.notices == ("the probabilities of 5 folds' models are averaged",)
    one = plan([config("there", 2)], [4, 1], name="imdb_wiki/wiki/1.0.0")
    assert (parts(one), one.notices) == ([((0,), (1, 4))], ())


def test_data_that_the_weights_came_from_count_as_seen_however_far_back():
    first = {"fingerprint": "here", "fold": 2, "before": None}
    second = {"fingerprint": "between", "fold": 0, "before": first}
    for before in (first, second):
        configs = [config("there", fold, before=before) for fold in range(5)]
        found = plan(configs)
        # All five started from the same weights, which fold 2 was held out from.
        assert parts(found) == [((0, 1, 2, 3, 4), (2,))]
        assert not found.own
        assert found.notices[0] == (
            "the model's initial weights were trained on adience/aligned/1.0.0: tested on fold 2, held"
            " out from it"
        )
        with pytest.raises(InputError, match=r"initial weights .* fold 1 included"):
            plan(configs, [1])


def test_weights_of_another_fold_of_the_same_data_leave_nothing_to_test():
    before = {"fingerprint": "here", "fold": 2}
    with pytest.raises(InputError, match=r"all of its folds included.* held-out folds: none"):
        plan([config("here", 3, before=before)])


@pytest.mark.parametrize(
    ("trained", "notice"),
    [
        ("adience/aligned/1.0.0", "on another state of this dataset, adience/aligned/1.0.0"),
        ("adience/aligned/0.9.0", "on another state of this dataset, adience/aligned/0.9.0"),
        ("adience/faces/1.0.0", "on adience/faces, from the same builder"),
        (None, "does not say what it was trained on: it may have seen these faces"),
    ],
)
def test_where_faces_may_have_been_seen_it_is_said(trained, notice):
    (told,) = plan([config("there", 0, name=trained)]).notices
    assert notice in told


@pytest.mark.parametrize(("data", "source"), [({}, {}), ({"fingerprint": 7}, {"weights": 7})])
def test_descriptions_by_others_may_lack_anything(data, source):
    found = plan([described(data, source)])
    assert found.folds == (0, 1, 2, 3, 4)
    assert "does not say what it was trained on" in found.notices[0]
