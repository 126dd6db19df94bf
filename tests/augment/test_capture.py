"""Blur, resolution and noise beside OpenCV's and Pillow's, and what a camera draws."""

import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ageflax.augment import capture
from ageflax.augment.capture import Camera

captured = jax.jit(capture.captured, static_argnames="camera")
RANDOM = np.random.default_rng(0).uniform(0, 255, (32, 32, 3)).astype(np.float32)


def filtered(image, matrix):
    """One image through a matrix, as numpy."""
    planes = jnp.asarray(image)[None].swapaxes(2, 3)
    return np.asarray(capture.filtered(planes, matrix).swapaxes(2, 3)[0])


def ints(*values):
    return jnp.asarray(values, jnp.int32)


def test_nothing_drawn_is_the_identity_bit_for_bit():
    identity = np.eye(32, dtype=np.float32)
    np.testing.assert_array_equal(capture.gaussian(jnp.zeros(1), 32)[0], identity)
    for matrix in (capture.shrinking, capture.enlarging):
        np.testing.assert_array_equal(matrix(ints(32), ints(0), 32)[0], identity)
    np.testing.assert_array_equal(filtered(RANDOM, jnp.asarray(identity)[None]), RANDOM)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.5])
def test_blur_is_opencvs(sigma):
    found = filtered(RANDOM, capture.gaussian(jnp.full(1, sigma), 32))
    expected = cv2.GaussianBlur(RANDOM, (31, 31), sigma, borderType=cv2.BORDER_REFLECT)
    inner = slice(12, 20)
    np.testing.assert_allclose(found[inner, inner], expected[inner, inner], atol=0.01)


def resized(image, side):
    """Pillow's bilinear resizing of each channel, in floats."""
    bands = [Image.fromarray(image[..., k]) for k in range(3)]
    small = [band.resize((side, side), Image.Resampling.BILINEAR) for band in bands]
    return np.stack([np.asarray(band) for band in small], -1)


@pytest.mark.parametrize(("side", "start"), [(31, 0), (20, 3), (16, 15), (5, 7), (1, 0)])
def test_resolution_is_lost_as_by_pillow_and_edges_repeat(side, start):
    small = filtered(RANDOM, capture.shrinking(ints(side), ints(start), 32))
    expected = resized(RANDOM, side)
    inner = slice(start, start + side)
    np.testing.assert_allclose(small[inner, inner], expected, atol=0.01)
    around = ((start, 32 - side - start), (start, 32 - side - start), (0, 0))
    np.testing.assert_allclose(small, np.pad(expected, around, mode="edge"), atol=0.01)
    again = filtered(small, capture.enlarging(ints(side), ints(start), 32))
    np.testing.assert_allclose(again, resized(expected, 32), atol=0.01)


def test_noise_is_normal_and_of_each_image_and_pixel():
    found = np.asarray(capture.noise(jax.random.key(0), (4, 64, 3, 64)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.mean((1, 2, 3)), 0, atol=0.03)
    np.testing.assert_allclose(found.std((1, 2, 3)), 1, atol=0.02)
    shares = [(np.abs(found) < limit).mean() for limit in (0.5, 1.0, 2.0)]
    np.testing.assert_allclose(shares, [0.383, 0.683, 0.954], atol=0.02)
    assert np.abs(found).max() < 3.5
    flat = found.reshape(4, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(4)).max() < 0.04
    for axis in (1, 2, 3):
        first, second = np.split(found, [1], axis)[1], np.roll(found, 1, axis)
        second = np.split(second, [1], axis)[1]
        assert abs((first * second).mean()) < 0.03


def drawn(name, value, image, count=64):
    images = jnp.asarray(np.broadcast_to(image, (count, *image.shape)))
    return np.asarray(captured(jax.random.key(1), images, Camera(**{name: value})))


def test_a_perfect_camera():
    np.testing.assert_array_equal(drawn("blur", 0.0, RANDOM, count=1)[0], RANDOM)


def test_losses_spread_from_hardly_any_to_the_most():
    y, x = np.mgrid[:64, :64] / 5
    image = np.stack([np.sin(x + k) * np.cos(y) * 100 + 128 for k in range(3)], -1)
    image = image.astype(np.float32)
    for name, value, least, most in (
        ("blur", 2.0, 0.1, 4), ("downscale", 4.0, 0.8, 4), ("noise", 20.0, 0.7, 14), ("jpeg", 10, 3, 6),
    ):  # fmt: skip
        losses = np.abs(drawn(name, value, image) - image).mean((1, 2, 3))
        assert losses.min() < least
        assert most < losses.max() < 2.5 * most
        assert len(np.unique(losses)) > 25


def test_views_stay_within_the_range_of_pixels():
    rough = Camera(blur=1.0, downscale=3.0, noise=50.0, jpeg=5)
    images = jnp.asarray(np.broadcast_to(np.round(RANDOM / 255) * 255, (16, 32, 32, 3)))
    found = captured(jax.random.key(0), images, rough)
    assert float(found.min()) > -1e-3
    assert float(found.max()) < 255 + 1e-3


def test_draws_are_of_key_and_place():
    rough = Camera(blur=1.0, downscale=3.0, noise=5.0, jpeg=30)
    images = np.stack([RANDOM, RANDOM[::-1], RANDOM[:, ::-1]])
    others = images[::-1].copy()  # the second row is the same
    take = functools.partial(captured, camera=rough)
    one, again, other = (take(jax.random.key(3), jnp.asarray(f)) for f in (images, images, others))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(one, take(jax.random.key(4), jnp.asarray(images)))
