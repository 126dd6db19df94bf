"""Brightness, contrast and saturation at literal values."""

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
