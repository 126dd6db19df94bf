"""Images that are faces already: their framing is measured, and compared with the model's."""

import dataclasses
import os

import numpy as np
import pytest

from ageflax.bundle.framing_errors import FramingErrors, Offset
from ageflax.bundle.loading import open_model
from ageflax.errors import InputError
from ageflax.predict import Predictor, framing_check
from ageflax.predict.detectors import weights
from ageflax.predict.framing import Measured
from tests.predict.test_framing import YUNET, crops, real

EYES = ((0.3, 0.4), (0.7, 0.4))
CURVE = FramingErrors(9, (0.4, 0.5, 1.0), (0.0,), {"years": ((9.0,), (6.0,), (4.0,))})


@pytest.fixture(scope="module")
def described(fold):
    return dataclasses.replace(open_model(fold).description, crop_margin=0.0, eyes=EYES)


def measured(*, margin=0.0, eyes=EYES, centre=(0.5, 0.5), faces=32) -> Measured:
    points = np.ravel(eyes)
    return Measured(32, faces, margin, 0.0, points, np.zeros(4), np.array(centre))


def test_offset_is_that_of_the_eyes_after_the_zoom(described):
    assert framing_check.offset(measured(), described) == Offset()
    # Half as large around the middle: the eyes come nearer to it, and nothing has moved.
    halved = measured(margin=0.5, eyes=((0.4, 0.45), (0.6, 0.45)))
    assert vars(framing_check.offset(halved, described)) == pytest.approx(vars(Offset(zoom=0.5)))
    moved = measured(eyes=((0.2, 0.45), (0.6, 0.45)))
    expected = vars(Offset(right=-0.1, down=0.05))
    assert vars(framing_check.offset(moved, described)) == pytest.approx(expected)


def test_without_alignment_the_box_is_expected_in_the_middle(described):
    found = framing_check.offset(
        measured(centre=(0.5, 0.6), eyes=((0, 0), (1, 0))),
        dataclasses.replace(described, eyes=None),
    )
    assert vars(found) == pytest.approx(vars(Offset(down=0.1)))


def test_one_line_says_how_far_it_is_off_and_the_cost(described):
    off = measured(margin=0.5, eyes=((0.4, 0.45), (0.6, 0.45)), faces=30)
    assert framing_check.line(off, dataclasses.replace(described, framing_errors=CURVE)) == (
        "framing: faces 50 % too small (30 of 32 images measured); by this model's own curve that costs"
        " about 2.0 years; run with a detector, or cut the images to crop_margin=0 and the eyes at"
        " (0.3, 0.4), (0.7, 0.4)"
    )
    unaligned = dataclasses.replace(described, eyes=None)
    assert framing_check.line(measured(centre=(0.5, 0.3)), unaligned) == (
        "framing: faces 20 % too high (32 of 32 images measured); run with a detector, or cut the images"
        " to crop_margin=0"
    )


def test_a_single_face_must_be_further_off_than_many(described):
    slightly = measured(margin=0.1, eyes=((1 / 3, 5 / 12), (2 / 3, 5 / 12)))
    assert "too small" in framing_check.line(slightly, described)
    one = dataclasses.replace(slightly, images=1, faces=1)
    expected = "framing: as in the model's training (1 of 1 images measured)"
    assert framing_check.line(one, described) == expected


def test_some_of_the_images_are_measured_spread_over_all(described, monkeypatch):
    seen = []

    def measure(contents, *, detector):
        seen.extend(content[0] for content in contents)
        raise InputError("no face found in 32 images\nmore")

    monkeypatch.setattr(framing_check.framing, "measure", measure)
    line = framing_check.check([bytes([k % 251]) for k in range(1000)], described)
    assert line == "framing: not checked: no face found in 32 images"
    assert (len(seen), seen[0], seen[-1]) == (framing_check.MOST, 0, 999 % 251)


def test_it_is_said_once_and_only_without_a_detector(fold, photo, monkeypatch):
    said = []
    monkeypatch.setattr(framing_check, "check", lambda images, _: f"framing of {len(images)}")
    predictor = Predictor(fold, detector="none", say=said.append)
    for _ in range(2):
        predictor([photo, photo])
    Predictor(fold, detector="haar", say=said.append)(photo)
    assert said == ["framing of 2"]


def test_the_command_says_it(predict, tmp_path, portraits, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(portraits[0])
    monkeypatch.setattr(framing_check, "check", lambda images, _: f"framing of {images}")
    code, faces, lines = predict(tmp_path, detector="none")
    assert (code, len(faces)) == (0, 1)
    assert f"framing of ['{tmp_path / 'a.jpg'}']" in lines


@real
@pytest.mark.skipif(bool(os.environ.get(weights.VARIABLE)), reason="another YuNet is named")
def test_faces_cut_too_widely_are_told_from_those_cut_as_in_training(described, monkeypatch):
    monkeypatch.setenv(weights.VARIABLE, YUNET)
    close, wide = list(crops((130, 230)))
    found = framing_check.framing.measure([close], detector=YUNET)
    own = dataclasses.replace(
        described, crop_margin=found.margin, eyes=tuple(map(tuple, found.eyes.reshape(2, 2)))
    )
    assert "as in the model's training" in framing_check.check([close], own)
    assert "% too small (1 of 1 images measured)" in framing_check.check([wide], own)
    assert framing_check.check([b"no image"], own) == (
        "framing: not checked: no face found in 0 images"
    )
