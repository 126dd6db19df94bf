import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.augment.scales import scaled_views
from ageflax.augment.views import Preprocessing, eval_views

RNG = np.random.default_rng(0)


def test_a_face_of_any_size_shows_the_same_face_wider_and_closer():
    """A slope stays a slope of the same middle, steeper or less so."""
    line = np.arange(12, dtype=np.float32)
    image = np.broadcast_to(line[:, None, None] * [1.0, 2.0, -1.0], (12, 12, 3)).astype(np.float32)
    whole, closer = (np.asarray(view) for view in scaled_views(jnp.asarray(image[None]), 8))
    assert whole.shape == closer.shape == (1, 8, 8, 3)
    # The middle of the image, 5.5, and steps of 12 / 8 and 8 / 12 pixels around it.
    offsets = np.arange(8) - 3.5
    # Triangles wider than a pixel are not quite linear; interpolation is.
    np.testing.assert_allclose(
        whole[0, 1:-1, 3], (5.5 + offsets * 1.5)[1:-1, None] * [1, 2, -1], atol=0.12
    )
    np.testing.assert_allclose(
        closer[0, :, 3], (5.5 + offsets * 2 / 3)[:, None] * [1, 2, -1], rtol=1e-5
    )
    across = scaled_views(jnp.asarray(image.swapaxes(0, 1)[None]), 8)
    np.testing.assert_allclose(np.asarray(across[0]).swapaxes(1, 2), whole, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(across[1]).swapaxes(1, 2), closer, rtol=1e-6)


def test_twice_the_side_averages_pixels_and_half_of_it_interpolates():
    image = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
    whole, closer = (np.asarray(view) for view in scaled_views(jnp.asarray(image), 4))

    def line(values: np.ndarray) -> np.ndarray:
        # Weights of 1/4, 3/4, 3/4, 1/4 over two pixels and their neighbours; at the edge, of those there.
        padded = np.concatenate([np.zeros_like(values[:1]), values, np.zeros_like(values[:1])])
        shares = np.array([0.25, 0.75, 0.75, 0.25])
        total = np.array([1.75, 2, 2, 1.75])
        return np.stack(
            [np.tensordot(shares, padded[2 * k : 2 * k + 4], 1) / total[k] for k in range(4)]
        )

    expected = np.stack([line(line(face).swapaxes(0, 1)).swapaxes(0, 1) for face in image])
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    # Half the crop's side around 3.5, 3.5: at 2.75, 3.25, 3.75, 4.25.
    low = 0.25 * image[:, 2] + 0.75 * image[:, 3]
    np.testing.assert_allclose(closer[:, 0, 0], 0.25 * low[:, 2] + 0.75 * low[:, 3], atol=1e-6)


def test_the_whole_image_is_resized_as_jax_does():
    image = jnp.asarray(RNG.normal(size=(2, 13, 13, 3)).astype(np.float32))
    whole, _ = scaled_views(image, 9)
    expected = jax.image.resize(image, (2, 9, 9, 3), "linear", precision=jax.lax.Precision.HIGHEST)
    np.testing.assert_allclose(whole, expected, atol=1e-5)


@pytest.mark.parametrize(("size", "crop"), [(12, 12), (13, 8), (12, 9), (33, 27)])
def test_constant_images_stay_constant_and_a_mirrored_image_gives_mirrored_views(size, crop):
    image = np.full((1, size, size, 3), 7.0, np.float32)
    for view in scaled_views(jnp.asarray(image), crop):
        np.testing.assert_allclose(view, 7.0, rtol=1e-6)
    if (size - crop) % 2:  # the centre itself is then half a pixel off
        return
    image = RNG.normal(size=(1, size, size, 3)).astype(np.float32)
    views = scaled_views(jnp.asarray(image), crop)
    mirrored = scaled_views(jnp.asarray(image[:, :, ::-1]), crop)
    for view, other in zip(views, mirrored, strict=True):
        np.testing.assert_allclose(view[:, :, ::-1], other, atol=1e-5)


def test_scales_are_the_centre_both_framings_and_their_mirrors():
    faces = RNG.integers(0, 256, (3, 10, 10, 3), np.uint8)
    mean = RNG.normal(100, 9, (10, 10, 3)).astype(np.float32)
    preprocessing = Preprocessing(crop=7, mirror=True, channels="bgr")
    views = np.asarray(eval_views(faces, mean, preprocessing, crops="scales"))
    mirror = np.asarray(eval_views(faces, mean, preprocessing, crops="mirror"))
    assert views.shape == (3, 6, 7, 7, 3)
    np.testing.assert_array_equal(views[:, [0, 3]], mirror)
    np.testing.assert_array_equal(views[:, 3:], views[:, :3, :, ::-1])
    whole, closer = scaled_views(jnp.asarray(faces.astype(np.float32) - mean), 7)
    np.testing.assert_allclose(views[:, 1], whole[..., ::-1], atol=1e-4)
    np.testing.assert_allclose(views[:, 2], closer[..., ::-1], atol=1e-4)


def test_without_room_around_the_crop_scales_are_mirror():
    faces = RNG.integers(0, 256, (2, 8, 8, 3), np.uint8)
    mean = np.zeros((1, 1, 3), np.float32)
    preprocessing = Preprocessing(crop=8, mirror=True, channels="rgb")
    scales, mirror = (
        eval_views(faces, mean, preprocessing, crops=crops) for crops in ("scales", "mirror")
    )
    np.testing.assert_array_equal(scales, mirror)
