"""JPEG on the device beside Pillow's libjpeg."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ageflax.augment import jpeg

compressed = jax.jit(jpeg.compressed)


def ours(image, quality):
    """The image after our compression, uint8[h, w, 3]."""
    planes = jnp.asarray(image, jnp.float32)[None].swapaxes(2, 3)
    found = compressed(planes, jnp.asarray([quality], jnp.int32))
    return np.asarray(found[0].swapaxes(1, 2))


def libjpegs(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file), np.float32)


def drawn(height, width):
    """Smooth colours with edges and some grain, as in a photograph."""
    y, x = np.mgrid[:height, :width] / 16
    waves = [np.sin(x + k) * np.cos(y * (1 + k / 2)) * 60 + 128 for k in range(3)]
    image = np.stack(waves, -1)
    image[height // 3 : height // 2, width // 4 :] += [90, -60, 30]
    grain = np.random.default_rng(0).normal(0, 6, image.shape)
    return np.clip(np.round(image + grain), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("quality", [1, 10, 30, 49, 50, 75, 90, 100])
def test_as_libjpeg(quality):
    image = drawn(64, 96)
    found, expected = ours(image, quality), libjpegs(image, quality)
    far = np.abs(found - expected)
    # A coefficient half-way between two steps may fall to either side.
    assert far.mean() < 0.5
    assert (far <= 2).mean() > 0.97
    assert np.abs(expected - image).mean() > 10 * far.mean()  # the losses themselves


def test_a_size_that_blocks_do_not_fill():
    image = drawn(43, 59)
    found, expected = ours(image, 40), libjpegs(image, 40)
    assert found.shape == image.shape
    assert np.abs(found - expected).mean() < 0.35


def test_an_even_image_of_grey_is_kept():
    for value in (0, 93, 255):
        image = np.full((16, 16, 3), value, np.uint8)
        np.testing.assert_array_equal(ours(image, 75), libjpegs(image, 75))


def test_each_image_has_its_own_quality():
    image = jnp.asarray(drawn(32, 32), jnp.float32)[None].swapaxes(2, 3)
    both = compressed(jnp.concatenate([image, image]), jnp.asarray([20, 80], jnp.int32))
    for row, quality in enumerate((20, 80)):
        alone = compressed(image, jnp.asarray([quality], jnp.int32))[0]
        np.testing.assert_allclose(both[row], alone, atol=1e-3)
    assert not np.array_equal(both[0], both[1])
