"""Faces are cut out as the model's training images frame them."""

import cv2
import numpy as np
import pytest

from ageflax.predict.alignment import Framing
from ageflax.predict.detectors import Detection

EYES = ((0.3, 0.4), (0.7, 0.4))


def detection(*box, eyes=None):
    x, y, width, height = map(float, box)
    return Detection((x, y, width, height), 0.9, eyes)


def framing(margin, eyes=None):
    return Framing(margin, eyes, 40, "bilinear")


def gradient(height=200, width=300):
    """Red is the column and green the row, so pixels tell their origin."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width)[None, :].clip(0, 255)
    image[..., 1] = np.arange(height)[:, None]
    return image


def test_a_crop_is_the_square_on_the_longer_side_with_its_margin():
    framed = framing(0.25)
    # A box of 20 by 40 around (100, 100) with a quarter of 40 on each side: 60 pixels from 70 to 130.
    crop = framed.cut(gradient(), detection(90, 80, 20, 40))
    assert crop.shape == (40, 40, 3)
    expected = cv2.resize(gradient()[70:130, 70:130], (40, 40), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(crop, expected)


def test_beyond_the_image_its_edge_repeats():
    framed = framing(0.0)
    crop = framed.cut(gradient(), detection(-20, 80, 40, 40))
    np.testing.assert_array_equal(crop[:, :20, 0], 0)  # the first column repeats
    np.testing.assert_array_equal(crop[0, 20:, 0], np.arange(20))
    np.testing.assert_array_equal(crop[:, 0, 1], np.arange(80, 120))


@pytest.mark.parametrize(
    "box", [(299.9, 199.9, 1, 1), (-0.5, -0.5, 1, 1), (-900, -900, 2000, 2000)]
)
def test_a_box_at_the_very_border_or_larger_than_the_image_is_cut_too(box):
    crop = framing(0.4).cut(gradient(), detection(*box))
    assert crop.shape == (40, 40, 3)


@pytest.mark.parametrize("degrees", [0, 30, -75])
@pytest.mark.parametrize("apart", [30.0, 80.0])
def test_eyes_come_to_lie_where_training_has_them_however_the_head_is_tilted(degrees, apart):
    angle = np.deg2rad(degrees)
    half = apart / 2 * np.array([np.cos(angle), np.sin(angle)])
    left, right = np.array([150, 100]) - half, np.array([150, 100]) + half
    image = np.zeros((200, 300, 3), np.uint8)
    for place, channel in ((left, 0), (right, 1)):
        rows, columns = np.mgrid[:200, :300]
        spot = np.exp(-((columns - place[0]) ** 2 + (rows - place[1]) ** 2) / 18)
        image[..., channel] = (255 * spot).astype(np.uint8)
    side = apart / 0.4
    # The box's middle is where a frontal face has it, below the eyes.
    x, y = 150 - 0.117 * side * np.sin(angle), 100 + 0.117 * side * np.cos(angle)
    box = (x - side / 2, y - side / 2, side, side)
    found = detection(*box, eyes=(tuple(left.tolist()), tuple(right.tolist())))
    crop = framing(0.0, EYES).cut(image, found)
    for channel, (x, y) in enumerate(EYES):
        weights = crop[..., channel].astype(float)
        rows, columns = np.mgrid[:40, :40] + 0.5
        at = (columns * weights).sum() / weights.sum(), (rows * weights).sum() / weights.sum()
        np.testing.assert_allclose(at, (40 * x, 40 * y), atol=0.7)


@pytest.mark.parametrize("apart", [40.0, 20.0])
def test_eyes_that_a_turned_head_brings_together_change_no_size(apart):
    # A box of 100 whose frontal eyes would be 40 apart, in the middle and 11.7 above it.
    eyes = ((150 - apart / 2, 88.3), (150 + apart / 2, 88.3))
    crop = framing(0.0, EYES).cut(gradient(), detection(100, 50, 100, 100, eyes=eyes))
    # Eyes belong at 0.4 of the height: from 88.3 - 40 down; 100 pixels in 40.
    np.testing.assert_allclose(crop[0, :, 0], 100.75 + 2.5 * np.arange(40), atol=0.75)
    np.testing.assert_allclose(crop[:, 0, 1], 49.05 + 2.5 * np.arange(40), atol=0.75)


def test_the_place_is_half_the_eyes_and_half_the_boxs():
    eyes = ((140.0, 88.3), (180.0, 88.3))  # ten to the right of where the box has them
    crop = framing(0.0, EYES).cut(gradient(), detection(100, 50, 100, 100, eyes=eyes))
    np.testing.assert_allclose(crop[0, :, 0], 105.75 + 2.5 * np.arange(40), atol=0.75)


@pytest.mark.parametrize(
    "eyes", [None, ((149.0, 95.0), (151.0, 95.0)), ((50.0, 9.0), (250.0, 9.0))]
)
def test_unknown_and_unlikely_eyes_are_where_the_box_has_them(eyes):
    likely = detection(100, 50, 100, 100, eyes=((130.0, 88.3), (170.0, 88.3)))
    found = framing(0.0, EYES).cut(gradient(), detection(100, 50, 100, 100, eyes=eyes))
    np.testing.assert_array_equal(found, framing(0.0, EYES).cut(gradient(), likely))


def test_a_face_that_is_the_whole_image_is_stretched_as_in_training():
    framed = framing(0.4, EYES)
    crop = framed.cut(gradient(), Detection((0.0, 0.0, 300.0, 200.0)))
    expected = cv2.resize(gradient(), (40, 40), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(crop, expected)
