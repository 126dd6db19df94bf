"""Faces carry the quality of their picture and its reason; those below a limit are left out and counted."""

import csv
import dataclasses
import json

import cv2
import numpy as np
import pytest

from ageflax.bundle.loading import open_model
from ageflax.bundle.model import Member, Model
from ageflax.bundle.quality import Line, Quality
from ageflax.errors import InputError
from ageflax.predict import Predictor, framing_check
from ageflax.predict.alignment import Framing, is_turned
from ageflax.predict.detectors import Detection
from tests.predict import drawn_models

# Usual spreads so wide that no answer is unusual; errors double where less than an eighth is left of white.
USUAL = Line((0.0,), (1e3,))
QUALITY = Quality(
    99, USUAL, {"dark": Line((1.0, 2.0), (1.0, 2.0)), "unusual": Line((0.0, 1.0), (1.0, 3.0))}
)


@pytest.fixture(scope="module")
def judging(tmp_path_factory):
    """A fold whose bundle tells quality."""
    directory = tmp_path_factory.mktemp("judging") / "fold_0"
    drawn_models.write(directory / "bundle")
    config = directory / "bundle" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quality": QUALITY.to_json()}))
    return directory


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    monkeypatch.setattr(framing_check, "check", lambda images, description: "framing")


def dark(photo):
    return photo // 20


def test_a_face_has_the_quality_of_its_picture_and_the_reason(judging, photo):
    good, bad = Predictor(judging, detector="none")([photo, dark(photo)])
    assert (good.quality, good.quality_reason) == (1.0, None)
    assert (bad.quality, bad.quality_reason) == (pytest.approx(0.5), "dark")
    assert good.age == pytest.approx(Predictor(judging, detector="none")(photo)[0].age)


def test_an_unusual_answer_is_one_spread_more_than_usual(judging, photo):
    model = open_model(judging)
    (member,) = model.members
    assert isinstance(member, Member)
    narrow = dataclasses.replace(QUALITY, usual=Line((0.0,), (1e-3,)))
    description = dataclasses.replace(model.description, quality=narrow)
    strict = Model([dataclasses.replace(member, description=description)], "strict")
    (face,) = Predictor(strict, detector="none")(photo)
    assert (face.quality, face.quality_reason) == (pytest.approx(1 / 3), "unusual")


def test_small_is_told_by_the_side_that_is_cut_out_of_the_photograph():
    framing = Framing(0.25, None, 32, "bilinear")
    image = np.zeros((50, 80, 3), np.uint8)
    assert framing.side(image, Detection((0.0, 0.0, 80.0, 50.0))) == 50.0
    assert framing.side(image, Detection((0.0, 0.0, 20.0, 40.0), 0.9)) == 60.0


@pytest.mark.parametrize(
    ("eyes", "turned"),
    [(None, False), (((30.0, 40.0), (63.0, 40.0)), False), (((30.0, 40.0), (45.0, 38.0)), True)],
)
def test_heads_whose_eyes_are_close_are_turned(eyes, turned):
    assert is_turned(Detection((0.0, 0.0, 90.0, 100.0), 0.9, eyes)) == turned


def test_faces_below_the_limit_are_left_out_counted_and_told(judging, photo):
    said = []
    predictor = Predictor(judging, detector="none", min_quality=0.6, say=said.append)
    assert len(predictor([photo, photo])) == 2
    assert len(predictor([photo, dark(photo), dark(photo)])) == 1
    assert said == ["framing", "2 faces left out, of less than --min_quality=0.6: 2 dark"]


def test_the_command_prints_it_and_leaves_out(predict, judging, portraits, photo, tmp_path):
    (tmp_path / "a.jpg").write_bytes(portraits[0])
    cv2.imwrite(str(tmp_path / "b.png"), dark(photo)[..., ::-1])
    table = tmp_path / "out" / "faces.csv"
    table.parent.mkdir()
    paths = [tmp_path / "a.jpg", tmp_path / "b.png", f"--csv={table}"]
    code, faces, _ = predict(*paths, model=judging, detector="none")
    assert code == 0
    assert [(one["quality"], one["quality_reason"]) for one in faces] == [
        (1.0, None),
        (0.5, "dark"),
    ]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["quality"], row["quality_reason"]) for row in rows] == [
        ("1.0", ""),
        ("0.5", "dark"),
    ]
    code, faces, lines = predict(*paths, "--min_quality=0.6", model=judging, detector="none")
    assert (code, len(faces)) == (0, 1)
    assert "1 face left out, of less than --min_quality=0.6: 1 dark" in lines
    assert any(line.startswith("2 images, 1 face;") for line in lines)


def test_a_model_without_a_measure_has_no_quality_and_refuses_a_limit(fold, judging, photo):
    predictor = Predictor(fold, detector="none")
    (face,) = predictor(photo)
    assert face.quality is face.quality_reason is None
    assert "quality" not in face.to_dict()
    with pytest.raises(InputError, match=r"--min_quality=0.5: .* carries no measure of quality"):
        Predictor(fold, detector="none", min_quality=0.5)
    # Measures of several models are none of their mean.
    (member,) = open_model(judging).members
    with pytest.raises(InputError, match="carries no measure"):
        Predictor(Model([member, member], "runs/x"), detector="none", min_quality=0.5)
    with pytest.raises(InputError, match="--min_quality=2: expected a share"):
        Predictor(judging, detector="none", min_quality=2.0)
