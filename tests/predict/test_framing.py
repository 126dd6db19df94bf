"""A dataset's framing is measured."""

import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from ageflax import config as configuration
from ageflax.errors import InputError
from ageflax.predict import framing
from tests.conftest import SMALL_FACES

REAL = os.environ.get("AGEFLAX_REAL_DATA", "")
real = pytest.mark.skipif(not REAL, reason="AGEFLAX_REAL_DATA is not set")
YUNET = str(Path(REAL, "detector", "face_detection_yunet_2023mar.onnx"))


def crops(sides):
    """The astronaut's face cut out with borders of different widths."""
    image = cv2.imread(str(Path(REAL, "photos", "astronaut.png")))
    assert image is not None
    for side in sides:
        top, left = 118 - side // 2, 224 - side // 2
        yield cv2.imencode(".png", image[top : top + side, left : left + side])[1].tobytes()


@real
def test_margin_and_eyes_are_those_of_the_middle_image():
    found = framing.measure([*crops((150, 170, 200)), b"no image"], detector=YUNET)
    (alone,) = [framing.measure(crops((170,)), detector=YUNET)]
    assert (found.images, found.faces) == (3, 3)
    assert found.margin == pytest.approx(alone.margin, abs=0.03)
    np.testing.assert_allclose(found.eyes, alone.eyes, atol=0.03)
    assert found.margin_spread > 0.02


@real
def test_mtcnn_measures_as_yunet_does():
    one, other = (framing.measure(crops((150, 170)), detector=name) for name in ("mtcnn", YUNET))
    assert one.faces == other.faces == 2
    assert one.margin == pytest.approx(other.margin, abs=0.05)
    np.testing.assert_allclose(one.eyes, other.eyes, atol=0.05)


@real
def test_what_is_printed_is_what_a_run_takes():
    first = framing.measure(crops((160, 170)), detector=YUNET).lines()[0]
    words = re.findall(r'--config\.\S+?=(?:"[^"]*"|\S+)', first)
    config = configuration.load("configs/quickstart.py", [word.replace('"', "") for word in words])
    assert 0.1 < config.data.crop_margin < 0.5
    assert len(config.data.eyes) == 2


@real
def test_the_command_looks_at_a_built_dataset(small_faces, data_dir, capfd):
    words = [f"--data.name={SMALL_FACES}", f"--data.dir={data_dir}", "--faces=20"]
    assert framing.main([*words, f"--detector={YUNET}"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("--config.data.crop_margin=0.")
    assert "faces in 20 images; margin +- " in err


def test_haar_sees_no_eyes_and_is_refused():
    with pytest.raises(InputError, match="--detector=haar: does not locate eyes"):
        framing.measure([], detector="haar")


@real
def test_where_there_is_no_face_there_is_nothing_to_measure():
    wall = cv2.imencode(".png", np.full((64, 64, 3), 90, np.uint8))[1].tobytes()
    with pytest.raises(InputError, match="no face found in 1 images"):
        framing.measure([wall], detector=YUNET)


@pytest.mark.parametrize(
    "word",
    [
        "eyes=(0.3, 0.4)",
        "eyes=((0.3, 0.4),)",
        "eyes=((0.3, 0.4), (0.3, 0.4))",
        "eyes=((0.7, 0.4), (0.3, 0.4))",
        "eyes=((30, 40), (70, 40))",
        "eyes=((0.3, 0.4, 0.5), (0.7,))",
        "eyes=(('a', 0.4), (0.7, 0.4))",
        "eyes=((0.3, 0.4), (0.7, 0.4), (0.5, 0.5))",
        "eyes=0.3",
        "crop_margin=-0.5",
        "crop_margin=40.0",
        "crop_margin=wide",
    ],
)
def test_a_config_that_frames_no_face_is_refused(word):
    with pytest.raises(InputError, match=r"data\.(eyes|crop_margin)"):
        configuration.load("configs/quickstart.py", [f"--config.data.{word}"])


def test_framing_may_change_when_a_run_goes_on():
    old = configuration.load("configs/quickstart.py").to_dict()
    del old["data"]["eyes"], old["data"]["crop_margin"]
    assert configuration.differing_keys(old, configuration.load("configs/quickstart.py")) == []
