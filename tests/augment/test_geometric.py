"""Rotations, scales, shifts and stretches with a known outcome."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax.augment.geometric import affine_views


def views(image, *, angle=0.0, scale=1.0, offset=(0, 0), size=None, stretch=None):
    """One image's view, as numpy."""
    offset = np.asarray(offset)
    found = affine_views(
        jnp.asarray(image, jnp.float32)[None],
        jnp.asarray([np.radians(angle)], jnp.float32),
        jnp.asarray([scale], jnp.float32),
        jnp.asarray([offset], jnp.int32 if offset.dtype.kind == "i" else jnp.float32),
        size or len(image),
        stretches=None if stretch is None else jnp.asarray([stretch], jnp.float32),
    )
    return np.asarray(found)[0]


RANDOM = np.random.default_rng(0).uniform(-100, 100, (9, 9, 3)).astype(np.float32)
EVEN = RANDOM[:8, :8]


@pytest.mark.parametrize("image", [RANDOM, EVEN])
@pytest.mark.parametrize("turns", [1, 2, 3, -1])
def test_quarter_turns_are_rot90s(image, turns):
    np.testing.assert_allclose(views(image, angle=90 * turns), np.rot90(image, turns), atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(y=st.integers(0, 4), x=st.integers(0, 3))
def test_without_turn_and_scale_a_view_is_the_crop_bit_for_bit(y, x):
    found = views(RANDOM[:, :8], offset=(y, x), size=5)
    np.testing.assert_array_equal(found, RANDOM[y : y + 5, x : x + 5])


def test_each_image_has_its_own_turn_scale_and_offset():
    images = np.stack([RANDOM, RANDOM[::-1], RANDOM[:, ::-1]])
    angles, scales = [0.3, -0.2, 1.0], [1.1, 0.9, 1.3]
    offsets = [[0, 2], [1, 1], [3, 0]]
    found = affine_views(
        jnp.asarray(images),
        jnp.asarray(angles, jnp.float32),
        jnp.asarray(scales, jnp.float32),
        jnp.asarray(offsets, jnp.int32),
        6,
    )
    for view, image, angle, scale, offset in zip(
        found, images, angles, scales, offsets, strict=True
    ):
        alone = views(image, angle=np.degrees(angle), scale=scale, offset=offset, size=6)
        np.testing.assert_allclose(view, alone, atol=1e-3)


@pytest.mark.parametrize("scale", [2.0, 1.25, 1.0])
def test_an_enlarged_ramp_is_a_gentler_ramp_about_the_same_middle(scale):
    ramp = np.broadcast_to(np.arange(9.0)[None, :, None], (9, 9, 1))
    expected = 4 + (np.arange(9.0) - 4) / scale
    np.testing.assert_allclose(
        views(ramp, scale=scale)[..., 0], np.tile(expected, (9, 1)), rtol=1e-6
    )


def test_a_turned_plane_is_a_plane():
    y, x = np.mgrid[:21, :21] - 10.0
    plane = (3 * y - 2 * x)[..., None]
    found = views(plane, angle=30, offset=(6, 6), size=9)[..., 0]
    dy, dx = np.mgrid[:9, :9] - 4.0
    cosine, sine = np.cos(np.pi / 6), np.sin(np.pi / 6)
    expected = 3 * (cosine * dy + sine * dx) - 2 * (cosine * dx - sine * dy)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_outside_the_edge_repeats():
    ramp = np.broadcast_to(np.arange(9.0)[:, None, None], (9, 9, 1))
    expected = np.clip(4 + (np.arange(9.0) - 4) / 0.5, 0, 8)
    np.testing.assert_allclose(views(ramp, scale=0.5)[:, 3, 0], expected, rtol=1e-6)


@settings(deadline=None, max_examples=20)
@given(angle=st.floats(-180, 180), scale=st.floats(0.5, 2.0))
def test_a_view_lies_within_what_the_image_holds(angle, scale):
    found = views(EVEN, angle=angle, scale=scale, offset=(1, 0), size=7)
    assert found.min() >= EVEN.min() - 1e-3
    assert found.max() <= EVEN.max() + 1e-3


def test_one_pixel_is_itself_however_turned():
    pixel = np.full((1, 1, 3), 7.0)
    np.testing.assert_array_equal(views(pixel, angle=33, scale=1.7), pixel)


@pytest.mark.parametrize("offset", [(2.0, 0.0), (-3.0, 4.0), (0.0, -9.0), (30.0, 1.0)])
def test_a_shift_by_whole_pixels_is_a_roll_whose_edge_repeats(offset):
    places = [np.clip(np.arange(9) + int(move), 0, 8) for move in offset]
    expected = RANDOM[places[0]][:, places[1]]
    np.testing.assert_array_equal(views(RANDOM, offset=offset), expected)


def test_half_a_pixel_is_the_mean_of_two():
    found = views(RANDOM, offset=(0.0, 0.5))
    np.testing.assert_allclose(found[:, :8], (RANDOM[:, :8] + RANDOM[:, 1:]) / 2, atol=1e-4)


def test_a_stretch_widens_as_it_flattens_about_the_middle():
    y, x = np.mgrid[:9, :9] - 4.0
    plane = (10 * y + x)[..., None]
    expected = 10 * np.clip(y * 1.1, -4, 4) + x / 1.1
    np.testing.assert_allclose(views(plane, stretch=1.21)[..., 0], expected, atol=1e-4)
    np.testing.assert_array_equal(views(RANDOM, stretch=1.0), RANDOM)
