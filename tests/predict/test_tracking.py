"""Track IDs stay with faces, and predictions are averaged along tracks."""

import dataclasses

import numpy as np
import pytest

from ageflax.predict.face import Answer, Face
from ageflax.predict.frames import Frame, Seen
from ageflax.predict.tracking import Tracker, followed


def face(x, y=0.0, *, side=40.0, female=0.5, age=30.0):
    gender = Answer.of({"female": female, "male": 1 - female})
    groups = Answer.of({"0-9": 0.5 * female, "10-99": 1 - 0.5 * female})
    box = (float(x), float(y), float(side), float(side))
    return Face("clip", 0, 0, box, 0.9, groups, age, 2.0, gender, under={18: female / 2})


def seen(number, *faces, light=100.0, place=0):
    frame = Frame("clip", place, number, b"")
    return Seen(frame, faces, thumbnail=np.full((9, 16, 3), light, np.float32))


def share_of(answer, name):
    return answer.probabilities[name]


def tracks(frame):
    return [one.track for one in frame.faces]


def test_people_keep_their_numbers_while_they_move_whatever_their_order():
    tracker = Tracker(0.0)
    assert tracks(tracker(seen(0, face(0), face(100)))) == [1, 2]
    for k in range(1, 20):
        # One moves down by a third of a face per frame, the other stays; listed in reverse order.
        assert tracks(tracker(seen(k, face(100), face(0, 13.0 * k)))) == [2, 1]


def test_who_is_gone_for_a_moment_comes_back_with_the_same_number_and_later_with_another():
    tracker = Tracker(0.0)
    assert tracks(tracker(seen(0, face(0)))) == [1]
    for k in range(1, 11):
        tracker(seen(k))
    assert tracks(tracker(seen(11, face(5)))) == [1]
    for k in range(12, 40):
        tracker(seen(k))
    assert tracks(tracker(seen(40, face(5)))) == [2]


def test_a_jump_or_another_size_is_another_person():
    tracker = Tracker(0.0)
    tracker(seen(0, face(0), face(300)))
    assert tracks(tracker(seen(1, face(60), face(300, side=100)))) == [3, 4]


def test_a_fast_head_that_no_longer_overlaps_itself_is_still_the_same():
    tracker = Tracker(0.0)
    tracker(seen(0, face(0)))
    assert tracks(tracker(seen(1, face(24)))) == [1]


def test_a_cut_ends_all_tracks_and_a_change_of_light_does_not():
    tracker = Tracker(0.8)
    tracker(seen(0, face(0), light=100))
    assert tracks(tracker(seen(1, face(0), light=130))) == [1]
    after = tracker(seen(2, face(0), light=20))
    assert tracks(after) == [2]
    assert after.faces[0].to_dict()["smoothing"]["frames"] == 1


def test_the_average_is_the_exponential_one_and_said_so():
    tracker, share = Tracker(0.5), 0.5
    values, labels = [(0.9, 20.0), (0.1, 30.0), (0.3, 70.0)], []
    for k, (female, age) in enumerate(values):
        (found,) = tracker(seen(k, face(0, female=female, age=age))).faces
        weights = np.array([share ** (k - j) for j in range(k + 1)])
        expected = np.average(values[: k + 1], axis=0, weights=weights)
        assert share_of(found.gender, "female") == pytest.approx(expected[0])
        assert share_of(found.gender, "female") + share_of(found.gender, "male") == pytest.approx(1)
        assert share_of(found.age_group, "0-9") == pytest.approx(0.5 * expected[0])
        assert found.age == pytest.approx(expected[1])
        assert found.under == {18: pytest.approx(expected[0] / 2)}
        assert found.to_dict()["smoothing"] == {
            "kind": "exponential", "share": 0.5, "frames": k + 1
        }  # fmt: skip
        labels.append(found.to_dict()["gender"]["label"])
    assert labels == ["female", "male", "male"]


def test_without_smoothing_answers_stay_and_nothing_is_said():
    (found,) = Tracker(0.0)(seen(0, face(0, female=0.7))).faces
    assert share_of(found.gender, "female") == 0.7
    assert "smoothing" not in found.to_dict()


def test_a_model_without_ages_is_followed_too():
    bare = dataclasses.replace(face(0), age_group=None, age=None, age_deviation=None)
    tracker = Tracker(0.8)
    tracker(seen(0, bare))
    (found,) = tracker(seen(1, bare)).faces
    assert found.age is None and found.age_group is None
    assert share_of(found.gender, "female") == pytest.approx(0.5)


def test_videos_are_followed_each_for_itself_and_photographs_stay_as_they_are():
    photograph = Seen(Frame("a.jpg", 1, None, b""), (face(0),))
    frames = [seen(0, face(0)), seen(1, face(0)), photograph, seen(0, face(0), place=2)]
    found = list(followed(frames, 0.8))
    assert [tracks(one) for one in found] == [[1], [1], [None], [1]]
    assert found[3].faces[0].to_dict()["smoothing"]["frames"] == 1
    assert found[2] is photograph
