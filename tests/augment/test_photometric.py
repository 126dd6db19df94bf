"""Light and colour at literal values."""

import jax.numpy as jnp
import numpy as np

from ageflax.augment import photometric

# Two pixels: red-ish and grey; their lumas are 0.299 * 200 + 0.587 * 100 = 118.5 and 50.
IMAGE = jnp.asarray([[[[200.0, 100.0, 0.0], [50.0, 50.0, 50.0]]]])


def factor(value):
    return jnp.full((1, 1, 1, 1), value, jnp.float32)


def test_luma():
    np.testing.assert_allclose(photometric.luma(IMAGE)[0, 0, :, 0], [118.5, 50.0], rtol=1e-6)


def test_brightness_multiplies_and_cuts():
    found = photometric.brightened(IMAGE, factor(1.5))
    np.testing.assert_allclose(found[0, 0], [[255, 150, 0], [75, 75, 75]], rtol=1e-6)


def test_contrast_is_about_the_mean_luma():
    found = photometric.contrasted(IMAGE, factor(0.5))  # about 84.25
    np.testing.assert_allclose(
        found[0, 0], [[142.125, 92.125, 42.125], [67.125, 67.125, 67.125]], rtol=1e-6
    )
    np.testing.assert_allclose(photometric.contrasted(IMAGE, factor(0.0)), 84.25, rtol=1e-6)
    more = photometric.contrasted(IMAGE, factor(2.0))
    np.testing.assert_allclose(more[0, 0, 0], [255, 115.75, 0], rtol=1e-6)


def test_saturation_is_about_each_pixels_luma():
    found = photometric.saturated(IMAGE, factor(0.5))
    np.testing.assert_allclose(found[0, 0], [[159.25, 109.25, 59.25], [50, 50, 50]], rtol=1e-5)
    none = photometric.saturated(IMAGE, factor(0.0))
    np.testing.assert_allclose(none[0, 0], [[118.5] * 3, [50] * 3], rtol=1e-6)


def test_a_factor_of_one_changes_nothing_to_speak_of():
    for change in (photometric.brightened, photometric.contrasted, photometric.saturated):
        np.testing.assert_allclose(change(IMAGE, factor(1.0)), IMAGE, atol=1e-4)


def test_each_image_has_its_own_factor():
    both = jnp.concatenate([IMAGE, IMAGE])
    factors = jnp.asarray([0.5, 1.5], jnp.float32).reshape(2, 1, 1, 1)
    for change in (photometric.brightened, photometric.contrasted, photometric.saturated):
        found = change(both, factors)
        for row in (0, 1):
            np.testing.assert_array_equal(found[row], change(IMAGE, factors[row : row + 1])[0])


def test_gamma_at_known_points():
    image = jnp.asarray([[[[0.0, 63.75, 255.0], [127.5, 1.0, 254.0]]]])
    found = photometric.curved(image, factor(2.0))
    expected = [[0, 15.9375, 255], [63.75, 1 / 255, 254**2 / 255]]
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-5, atol=1e-6)
    roots = photometric.curved(image, factor(0.5))
    np.testing.assert_allclose(roots[0, 0, :, 1], [127.5, 255**0.5], rtol=1e-5)
    assert float(roots[0, 0, 0, 0]) < 0.02
    np.testing.assert_allclose(photometric.curved(image, factor(1.0)), image, rtol=1e-5, atol=1e-5)


def test_a_cast_multiplies_each_channel():
    gains = jnp.asarray([0.5, 1.0, 2.0], jnp.float32).reshape(1, 1, 1, 3)
    found = photometric.brightened(IMAGE, gains)
    np.testing.assert_allclose(found[0, 0], [[100, 100, 0], [25, 50, 100]], rtol=1e-6)


def test_ramps_rise_towards_the_light():
    angles = jnp.asarray([0.0, np.pi / 2, np.pi], jnp.float32)
    slopes = jnp.asarray([0.5, 0.5, 0.0], jnp.float32)
    right, below, even = photometric.ramps(angles, slopes, 3, 5)[..., 0]
    np.testing.assert_allclose(right, np.tile([0.5, 0.75, 1, 1.25, 1.5], (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(below, np.tile([[0.5], [1], [1.5]], (1, 5)), rtol=1e-6)
    np.testing.assert_array_equal(even, np.ones((3, 5)))


def test_chosen_images_turn_grey():
    both = jnp.concatenate([IMAGE, IMAGE])
    found = photometric.greyed(both, jnp.asarray([True, False]).reshape(2, 1, 1, 1))
    np.testing.assert_allclose(found[0, 0], [[118.5] * 3, [50] * 3], rtol=1e-6)
    np.testing.assert_array_equal(found[1], IMAGE[0])
