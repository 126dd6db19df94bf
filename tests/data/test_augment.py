import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.data import augment
from ageflax.data.augment import Preprocessing, training_views

MEAN = np.linspace(0, 99, 10 * 12 * 3, dtype=np.float32).reshape(10, 12, 3)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 10, 12, 3), dtype=np.uint8)


def crops_of(image: np.ndarray, size: int) -> list[np.ndarray]:
    """Every crop, of the image less the mean, and its mirror."""
    centred = image.astype(np.float32) - MEAN
    found = []
    for y in range(image.shape[0] - size + 1):
        for x in range(image.shape[1] - size + 1):
            crop = centred[y : y + size, x : x + size]
            found += [crop, crop[:, ::-1]]
    return found


@pytest.mark.parametrize("mirror", [True, False])
def test_a_training_view_is_some_crop_less_the_mean_beneath_it(mirror):
    preprocessing = Preprocessing(crop=8, mirror=mirror, channels="rgb")
    faces = images(200)
    views = np.asarray(training_views(jax.random.key(0), faces, MEAN, preprocessing))
    chosen = []
    for view, face in zip(views, faces, strict=True):
        matches = [k for k, crop in enumerate(crops_of(face, 8)) if np.array_equal(crop, view)]
        assert len(matches) == 1
        chosen += matches
    # 3 x 5 offsets, each with its mirror: all are drawn, none that must not be.
    assert set(chosen) == set(range(0, 30, 1 if mirror else 2))


def test_views_are_a_function_of_the_key():
    preprocessing = Preprocessing(crop=8, mirror=True, channels="bgr")
    one, again, other = (
        training_views(jax.random.key(seed), images(20), MEAN, preprocessing) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_bgr_is_rgb_backwards():
    rgb, bgr = (
        training_views(jax.random.key(1), images(4), MEAN, Preprocessing(8, True, channels))
        for channels in ("rgb", "bgr")
    )
    np.testing.assert_array_equal(rgb, bgr[..., ::-1])


def test_the_centre_rounds_down_and_the_ten_are_corners_centre_and_mirrors():
    preprocessing = Preprocessing(crop=7, mirror=True, channels="rgb")
    face = images(1)
    centred = face[0].astype(np.float32) - MEAN
    centre = augment.eval_views(face, MEAN, preprocessing, crops="center")
    assert centre.shape == (1, 1, 7, 7, 3)
    np.testing.assert_array_equal(centre[0, 0], centred[1:8, 2:9])
    ten = augment.eval_views(face, MEAN, preprocessing, crops="ten")[0]
    expected = [
        centred[:7, :7], centred[:7, 5:], centred[3:, :7], centred[3:, 5:], centred[1:8, 2:9],
    ]  # fmt: skip
    expected += [view[:, ::-1] for view in expected]
    np.testing.assert_array_equal(ten, np.stack(expected))


def test_a_mean_of_one_pixel_is_a_mean_per_channel():
    mean = jnp.array([[[1.0, 2.0, 3.0]]])
    preprocessing = Preprocessing(crop=10, mirror=False, channels="rgb")
    faces = images(2)[:, :, :10]
    views = augment.eval_views(faces, mean, preprocessing, crops="center")
    np.testing.assert_array_equal(views[:, 0], faces.astype(np.float32) - [1.0, 2.0, 3.0])


def test_grey_is_the_luma_of_the_image_less_that_of_the_mean():
    preprocessing = Preprocessing(crop=8, mirror=False, channels="grey")
    face = images(1)
    views = augment.eval_views(face, MEAN, preprocessing, crops="center")
    assert views.shape == (1, 1, *preprocessing.shape[1:]) == (1, 1, 8, 8, 1)
    weights = np.array([0.299, 0.587, 0.114])
    expected = (face[0] @ weights - MEAN @ weights)[1:9, 2:10, None]
    np.testing.assert_allclose(views[0, 0], expected, atol=1e-4)
