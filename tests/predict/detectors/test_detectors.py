"""Detectors find faces, locate eyes, and refuse files that are not detectors."""

import importlib.metadata
import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from ageflax.data import images
from ageflax.errors import InputError
from ageflax.predict.detectors import (
    Detection,
    Haar,
    Whole,
    YuNet,
    forget,
    open_detector,
    overlap,
    weights,
)
from ageflax.predict.detectors.detection import Spares
from ageflax.weights import hub

REAL = os.environ.get("AGEFLAX_REAL_DATA", "")
real = pytest.mark.skipif(not REAL, reason="AGEFLAX_REAL_DATA is not set")


def silent(line):
    raise AssertionError(line)


def photograph(name):
    return images.decode(Path(REAL, "photos", name).read_bytes())


@pytest.fixture(scope="module")
def yunet():
    path = Path(REAL, "detector", "face_detection_yunet_2023mar.onnx")
    return open_detector(str(path), say=silent)


def eyes_of(found):
    return np.asarray(found.eyes)


def agree(found, expected):
    """True if each detection mostly overlaps an expected box."""
    return all(max(overlap(one.box, other) for other in expected) > 0.75 for one in found)


@real
@pytest.mark.parametrize(("name", "people"), [("group_of_19.jpg", 19), ("two_people.jpg", 2)])
def test_yunet_finds_who_opencvs_own_sample_finds(yunet, name, people):
    image = photograph(name)
    path = str(Path(REAL, "detector", "face_detection_yunet_2023mar.onnx"))
    # As samples/dnn/face_detect.py has it.
    sample = cv2.FaceDetectorYN.create(path, "", (320, 320), 0.9, 0.3, 5000)
    sample.setInputSize((image.shape[1], image.shape[0]))
    _, rows = sample.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    found = yunet(image)
    assert len(found) == len(rows) == people
    assert agree(found, rows[:, :4].tolist())
    assert [one.box[0] for one in found] == sorted(one.box[0] for one in found)


@real
def test_small_and_large_faces_are_found_in_one_photograph(yunet):
    crowd, two = photograph("group_of_19.jpg"), photograph("two_people.jpg")
    # The crowd as a strip of faces of 15 to 20 pixels, and one person of about 700 in 3000.
    large = cv2.resize(two[:, :560], None, fx=4.5, fy=4.5, interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(crowd, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    canvas = np.full((large.shape[0] + small.shape[0], large.shape[1], 3), 127, np.uint8)
    canvas[: large.shape[0]] = large
    canvas[large.shape[0] :, : small.shape[1]] = small
    found = [one for one in yunet(canvas) if one.score > 0.8]
    assert len(found) == 20
    assert max(one.box[2] for one in found) > 600
    assert min(one.box[2] for one in found) < 40


@real
@pytest.mark.parametrize("degrees", [0, 15, 30, -30])
def test_a_tilted_head_has_its_eyes_where_they_are(yunet, degrees):
    image = photograph("astronaut.png")
    matrix = cv2.getRotationMatrix2D((224, 118), degrees, 1.0)
    turned = cv2.warpAffine(image, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    straight, tilted = yunet(image), yunet(turned)
    assert len(straight) == len(tilted) == 1
    for before, after in zip(eyes_of(straight[0]), eyes_of(tilted[0]), strict=True):
        np.testing.assert_allclose(after, matrix @ (*before, 1), atol=6)  # of 112 pixels


@real
def test_haar_agrees_with_yunet_on_frame_and_eyes(yunet):
    image = photograph("two_people.jpg")
    for one, other in zip(Haar()(image), yunet(image), strict=True):
        assert overlap(one.box, other.box) > 0.7
        for here, there in zip(eyes_of(one), eyes_of(other), strict=True):
            np.testing.assert_allclose(here, there, atol=0.12 * other.box[3])


@real
def test_auto_takes_the_file_that_the_environment_names(monkeypatch):
    path = Path(REAL, "detector", "face_detection_yunet_2023mar.onnx")
    monkeypatch.setenv(weights.VARIABLE, str(path))
    assert open_detector("auto", say=silent).name == "yunet"


def test_haar_finds_a_drawn_face_in_a_larger_scene_where_it_is(photo):
    scene = np.full((600, 800, 3), 128, np.uint8)
    scene[300:556, 400:656] = photo
    (alone,), (found,) = Haar()(photo), Haar()(scene)
    assert overlap(found.box, (alone.box[0] + 400, alone.box[1] + 300, *alone.box[2:])) > 0.8
    assert found.score is not None and found.eyes is not None
    assert found.eyes[0][0] < found.eyes[1][0]


def test_nothing_is_found_where_nobody_is():
    assert Haar()(np.full((300, 300, 3), 90, np.uint8)) == []
    assert Haar()(np.zeros((1, 1, 3), np.uint8)) == []


def test_none_takes_images_whole():
    assert Whole()(np.zeros((30, 20, 3), np.uint8)) == [Detection((0.0, 0.0, 20.0, 30.0))]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 0, 2, 2), 1 / 3),
        ((0, 0, 2, 2), (2, 2, 2, 2), 0.0),
        ((0, 0, 4, 4), (1, 1, 2, 2), 0.25),
    ],
)
def test_overlap_is_intersection_over_union(one, other, expected):
    assert overlap(one, other) == pytest.approx(expected)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x08\x07" * 500, bytes(64)])
def test_a_file_that_is_no_detector_is_refused_in_a_line(content, tmp_path):
    path = tmp_path / "detector.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a YuNet model that OpenCV can use") as caught:
        open_detector(str(path), say=silent)
    assert "\n" not in str(caught.value)
    cascade = tmp_path / "cascade.xml"
    cascade.write_bytes(content)
    with pytest.raises(InputError, match="not a Haar cascade"):
        open_detector(str(cascade), say=silent)


def test_a_cascade_may_be_named(photo):
    path = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"
    found = open_detector(str(path), say=silent)
    assert found(photo) == Haar()(photo)


def test_a_name_that_is_nothing_is_refused():
    with pytest.raises(
        InputError,
        match="--detector=yunett: no such file; expected auto, yunet, mtcnn, haar, none or a file",
    ):
        open_detector("yunett", say=silent)


def test_networks_are_kept_for_the_threads_to_come():
    made = []

    def make():
        made.append(threading.Event())
        return made[-1]

    spares = Spares(make)
    with spares.one() as first:
        thread = threading.Thread(target=lambda: spares.one().__enter__().set())
        thread.start()
        thread.join()
    assert [one.is_set() for one in made] == [False, True]  # two at once
    for _ in range(3):
        with spares.one() as again:
            assert again is first
    with pytest.raises(ZeroDivisionError), spares.one():
        raise ZeroDivisionError
    with spares.one() as third:
        assert third not in made[:2]


@pytest.fixture
def without_a_hub(monkeypatch):
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    monkeypatch.setattr(weights, "_cached", lambda: None)

    def fetch(name, **_):
        # The reason is `why`, whatever words the message has.
        raise hub.UnavailableError(name, "no cable", message="this and that, and more\nand so on")

    monkeypatch.setattr(hub, "fetch", fetch)
    forget()
    yield
    forget()


def test_auto_says_in_a_line_that_it_takes_mtcnn_and_how_to_have_yunet(without_a_hub):
    said = []
    assert open_detector("auto", say=said.append).name == "mtcnn"
    (line,) = said
    assert line == (
        "YuNet is unavailable: no cable; using mtcnn, which finds 89 % of YuNet's faces (to have YuNet,"
        f" set {weights.VARIABLE}=FILE: {weights.ADDRESS})"
    )
    assert open_detector("auto", say=silent) is open_detector(say=silent)  # said once a process


def test_auto_takes_haar_where_there_is_no_package_either(without_a_hub, monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    said = []
    assert open_detector("auto", say=said.append).name == "haar"
    assert said[0].startswith(
        "YuNet is unavailable: no cable; --detector=mtcnn: the package is not installed; pip install"
        " mtcnn; using haar, which finds 54 % of YuNet's faces (to have YuNet, set "
    )


@pytest.mark.parametrize(("min_score", "people"), [(0.5, 1), (0.99, 0)])
def test_mtcnn_keeps_what_the_score_asks(without_a_hub, photo, min_score, people):
    for name in ("mtcnn", "auto"):
        found = open_detector(name, min_score=min_score, say=lambda line: None)(photo)
        assert len(found) == people


def test_yunet_itself_is_not_replaced(without_a_hub):
    with pytest.raises(InputError, match=r"^YuNet is unavailable: no cable\n") as caught:
        open_detector("yunet", say=silent)
    assert f"{weights.REPOSITORY}/resolve/main/{weights.FILE}" in str(caught.value)
    assert "--detector=mtcnn, which needs no download" in str(caught.value)


def test_a_hub_that_does_not_answer_is_named_as_the_reason(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    library = pytest.importorskip("huggingface_hub")
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    monkeypatch.setattr(weights, "_cached", lambda: None)
    monkeypatch.setattr(library, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(library, "hf_hub_download", unreachable)
    forget()
    with pytest.raises(InputError, match=r"YuNet is unavailable: .*no route to host"):
        open_detector("yunet", say=silent)


def test_another_file_than_the_pinned_one_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "yunet.onnx"
    path.write_bytes(b"something else")
    monkeypatch.setenv(weights.VARIABLE, str(path))
    for name in ("yunet", "auto"):
        with pytest.raises(InputError, match="sha256 is "):
            open_detector(name, say=silent)
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "absent.onnx"))
    with pytest.raises(InputError, match="cannot be read"):
        open_detector("auto", say=silent)


def test_one_detector_serves_several_threads(portraits):
    from concurrent.futures import ThreadPoolExecutor

    from tests.predict.conftest import decoded

    haar, scenes = Haar(), [decoded(content) for content in portraits] * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(haar, scenes)) == [haar(scene) for scene in scenes]


def test_a_model_is_checked_when_it_is_opened_and_not_at_the_first_face():
    with pytest.raises(InputError):
        YuNet(b"nothing", name="nothing")


@real
def test_boxes_do_not_depend_on_how_closely_eyes_are_looked_at(yunet):
    image = photograph("two_people.jpg")
    closely, at_once = yunet(image), yunet(image, closely=False)
    assert [one.box for one in closely] == [one.box for one in at_once]
    assert [one.eyes for one in closely] != [one.eyes for one in at_once]
