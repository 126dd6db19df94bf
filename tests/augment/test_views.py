import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.augment import views as augment
from ageflax.augment.views import Preprocessing
from ageflax.config import CROPS
from ageflax.runtime.mesh import batched, make_mesh, replicated

# Jitted as in the step; also quicker than compiling each operation.
training_views = jax.jit(augment.training_views, static_argnames="preprocessing")

MEAN = np.linspace(0, 99, 10 * 12 * 3, dtype=np.float32).reshape(10, 12, 3)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 10, 12, 3), dtype=np.uint8)


def crops_of(image: np.ndarray, size: int) -> list[np.ndarray]:
    """Every crop of the image less the mean, each with its mirror."""
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
    # 3 x 5 offsets, each with its mirror: exactly the allowed ones are drawn.
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
        training_views(jax.random.key(1), images(20), MEAN, Preprocessing(8, True, channels))
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


def test_pixels_less_the_mean_are_divided_by_the_std():
    std = np.array([[[2.0, 4.0, 8.0]]], np.float32)
    preprocessing = Preprocessing(crop=8, mirror=True, channels="rgb")
    faces, key = images(20), jax.random.key(0)
    plain = training_views(key, faces, MEAN, preprocessing)
    divided = training_views(key, faces, MEAN, preprocessing, std=std)
    np.testing.assert_array_equal(divided, plain / std)
    whole = np.broadcast_to(std, MEAN.shape)
    for crops in CROPS:
        plain = augment.eval_views(faces, MEAN, preprocessing, crops=crops)
        for given in (std, whole):
            divided = augment.eval_views(faces, MEAN, preprocessing, crops=crops, std=given)
            np.testing.assert_array_equal(divided, plain / std)


def test_mirror_is_the_centre_and_its_mirror():
    preprocessing = Preprocessing(crop=7, mirror=True, channels="bgr")
    centre, both = (
        augment.eval_views(images(3), MEAN, preprocessing, crops=crops)
        for crops in ("center", "mirror")
    )
    assert both.shape == (3, 2, 7, 7, 3)
    np.testing.assert_array_equal(both[:, 0], centre[:, 0])
    np.testing.assert_array_equal(both[:, 1], centre[:, 0, :, ::-1])


def before(key, faces, preprocessing):
    """Views by the original code, which had only crop and mirror."""
    crop_key, mirror_key = jax.random.split(key)
    size, (_, height, width, _) = preprocessing.crop, faces.shape
    limits = jnp.array([height - size + 1, width - size + 1], jnp.int32)
    offsets = jax.random.randint(crop_key, (len(faces), 2), 0, limits, jnp.int32)
    centred = np.asarray(faces, np.float32) - MEAN
    views = np.stack(
        [c[y : y + size, x : x + size] for c, (y, x) in zip(centred, offsets, strict=True)]
    )
    mirrored = jax.random.bernoulli(mirror_key, shape=(len(faces), 1, 1, 1))
    return np.where(mirrored, views[:, :, ::-1], views)


def test_what_is_off_changes_no_bit_and_no_draw():
    preprocessing = Preprocessing(crop=8, mirror=True, channels="rgb")
    assert hash(preprocessing) == hash(Preprocessing(8, True, "rgb", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    key, faces = jax.random.key(5), images(20)
    views = training_views(key, faces, MEAN, preprocessing)
    np.testing.assert_array_equal(views, before(key, faces, preprocessing))


def test_crop_and_mirror_are_drawn_as_without_the_rest():
    # The part of a view that erasing leaves must be the same as without erasing.
    key, faces = jax.random.key(5), images(20)
    plain = Preprocessing(crop=8, mirror=True, channels="rgb")
    views = np.asarray(training_views(key, faces, MEAN, plain))
    erasing = Preprocessing(crop=8, mirror=True, channels="rgb", erasing=1.0)
    erased = np.asarray(training_views(key, faces, MEAN, erasing))
    np.testing.assert_array_equal(erased[erased != 0], views[erased != 0])
    assert 0.6 < (erased != 0).mean() < 0.99


def test_the_smallest_turn_is_hardly_one():
    key, faces = jax.random.key(5), images(20)
    plain = Preprocessing(crop=8, mirror=True, channels="rgb")
    turning = Preprocessing(crop=8, mirror=True, channels="rgb", rotation=1e-4)
    turned = training_views(key, faces, MEAN, turning)
    np.testing.assert_allclose(turned, before(key, faces, plain), atol=0.1)


ALL: dict[str, Any] = {
    "rotation": 20.0, "zoom": 0.2, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "erasing": 0.5,
    "shift": 0.2, "stretch": 0.2, "gamma": 0.5, "cast": 0.2, "shade": 0.5, "grey": 0.5, "blur": 2.0,
    "downscale": 4.0, "noise": 10.0, "jpeg": 30,
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_each_change_is_a_function_of_key_and_place_alone(name):
    preprocessing = Preprocessing(8, True, "bgr", **{name: ALL[name]})
    faces = images(20)
    # Another batch in which only the second row is the same.
    others = faces[::-1].copy()
    others[1] = faces[1]
    one, again, other = (
        np.asarray(training_views(jax.random.key(3), f, MEAN, preprocessing))
        for f in (faces, faces, others)
    )
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(one, training_views(jax.random.key(4), faces, MEAN, preprocessing))
    off = training_views(jax.random.key(3), faces, MEAN, Preprocessing(8, True, "bgr"))
    assert not np.array_equal(one, off)


ALL_OFF: dict[str, Any] = dict.fromkeys(ALL, 0.0) | {"downscale": 1.0, "jpeg": 0}


def test_all_changes_are_tried_and_off_by_default():
    plain = Preprocessing(8, True, "rgb")
    assert plain == Preprocessing(8, True, "rgb", **ALL_OFF)
    fields = {field.name for field in dataclasses.fields(Preprocessing)}
    assert fields == {*ALL, "crop", "mirror", "channels"}


@pytest.mark.parametrize(
    ("framing", "std"), [({}, None), ({"rotation": 5.0, "shift": 0.1}, MEAN[:1, :1] + 2)]
)
def test_a_camera_comes_before_the_mean(framing: dict[str, Any], std):
    # Blur is too weak to show: what is left is the other order of the same changes.
    faces, key = images(20), jax.random.key(7)
    one, other = (
        training_views(
            key, faces, MEAN, Preprocessing(8, True, "rgb", **framing, blur=blur), std=std
        )
        for blur in (0.0, 1e-3)
    )
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_mean_of_one_pixel_is_subtracted_from_what_a_camera_leaves():
    faces, key, zero = images(20), jax.random.key(7), np.zeros((1, 1, 3), np.float32)
    rough = Preprocessing(8, True, "rgb", jpeg=40)
    plain = training_views(key, faces, zero, rough)
    less = training_views(key, faces, zero + 7, rough, std=zero + 2)
    np.testing.assert_array_equal(less, (plain - 7) / 2)
    np.testing.assert_array_equal(plain, np.round(plain))  # as a file holds them


def test_a_shift_moves_by_up_to_its_share_and_repeats_the_edge():
    size, share = 40, 0.25
    ramp = np.zeros((300, size, size, 3), np.uint8)
    ramp[...] = 5 * np.arange(size)[:, None, None]
    preprocessing = Preprocessing(size, False, "rgb", shift=share)
    zero = np.zeros((1, 1, 3), np.float32)
    views = np.asarray(training_views(jax.random.key(0), ramp, zero, preprocessing))
    rows = views[:, :, 3, 1] / 5
    moves = rows[:, size // 2] - size // 2
    expected = np.clip(np.arange(size) + moves[:, None], 0, size - 1)
    np.testing.assert_allclose(rows, expected, atol=1e-3)
    assert -10 <= moves.min() < -9.5 and 9.5 < moves.max() <= 10
    assert abs(moves.mean()) < 1


def test_grey_has_its_probability():
    faces = np.tile(images(1), (2000, 1, 1, 1))
    preprocessing = Preprocessing(8, False, "rgb", grey=0.3)
    zero = np.zeros((1, 1, 3), np.float32)
    views = np.asarray(training_views(jax.random.key(0), faces, zero, preprocessing))
    grey = (views == views[..., :1]).all((1, 2, 3))
    np.testing.assert_allclose(grey.mean(), 0.3, atol=0.03)
    assert (views[~grey] == np.round(views[~grey])).all()  # untouched


def test_gamma_is_as_often_up_as_down():
    faces = np.full((2000, 8, 8, 3), 64, np.uint8)
    preprocessing = Preprocessing(8, False, "rgb", gamma=1.0)
    zero = np.zeros((1, 1, 3), np.float32)
    views = training_views(jax.random.key(0), faces, zero, preprocessing)
    exponents = np.log(np.asarray(views)[:, 0, 0, 0] / 255) / np.log(64 / 255)
    assert 0.5 <= exponents.min() < 0.51 and 1.98 < exponents.max() <= 2.0001
    np.testing.assert_allclose(np.log(exponents).mean(), 0, atol=0.03)


def test_light_stays_within_the_range_of_pixels():
    preprocessing = Preprocessing(10, False, "rgb", brightness=1.0, contrast=1.0, saturation=1.0)
    views = training_views(jax.random.key(0), images(50), jnp.zeros((1, 1, 3)), preprocessing)
    assert float(views.min()) == 0.0
    assert float(views.max()) == 255.0


def test_light_is_that_of_one_image_alone():
    # Nothing of a batch enters into a view besides its own image: contrast's mean, above all.
    light = {name: ALL[name] for name in ("shade", "cast", "gamma", "contrast", "saturation")}
    preprocessing = Preprocessing(10, False, "rgb", **light)
    faces, zero = images(6), np.zeros((1, 1, 3), np.float32)
    whole = training_views(jax.random.key(2), faces, zero, preprocessing)
    dark = np.where(np.arange(6)[:, None, None, None] == 4, faces, 0)
    alone = training_views(jax.random.key(2), dark, zero, preprocessing)
    np.testing.assert_array_equal(whole[4], alone[4])


def test_brightness_is_uniform_within_its_bounds():
    grey = np.full((2000, 8, 8, 3), 100, np.uint8)
    preprocessing = Preprocessing(8, False, "rgb", brightness=0.4)
    views = training_views(jax.random.key(0), grey, jnp.zeros((1, 1, 3)), preprocessing)
    values = np.asarray(views)[:, 0, 0, 0]
    np.testing.assert_array_equal(views, np.broadcast_to(values[:, None, None, None], views.shape))
    assert (60 <= values.min() < 60.5) and (139.5 < values.max() <= 140)
    np.testing.assert_allclose(values.mean(), 100, atol=2)


def test_what_is_erased_is_a_rectangle_of_the_area_and_shape_it_says():
    size = 80
    white = np.full((500, size, size, 3), 200, np.uint8)
    preprocessing = Preprocessing(size, False, "rgb", erasing=0.7)
    mean = jnp.array([[[1.0, 2.0, 3.0]]])
    views = np.asarray(training_views(jax.random.key(0), white, mean, preprocessing))
    np.testing.assert_array_equal(np.unique(views), [0.0, 197.0, 198.0, 199.0])
    gone = views[..., 0] == 0
    np.testing.assert_array_equal(gone, (views == 0).all(-1))
    hit = gone.any((1, 2))
    assert 0.63 < hit.mean() < 0.77
    heights, widths = gone.any(2).sum(1)[hit], gone.any(1).sum(1)[hit]
    area = gone.sum((1, 2))[hit]
    np.testing.assert_array_equal(area, heights * widths)
    # Sides are rounded to pixels: by half a pixel in 6 at the least.
    share, aspect = area / size**2, heights / widths
    assert 0.018 < share.min() < 0.03 and 0.19 < share.max() < 0.21
    assert 0.27 < aspect.min() < 0.4 and 2.5 < aspect.max() < 3.7
    np.testing.assert_allclose(share.mean(), 0.11, atol=0.01)
    assert abs(np.median(np.log(aspect))) < 0.15
    # Rectangles reach every edge at times.
    for edge in (gone[:, 0], gone[:, -1], gone[:, :, 0], gone[:, :, -1]):
        assert edge.any()


def test_a_cached_view_is_one_of_the_faces_own():
    features = np.arange(40 * 2 * 3, dtype=np.float32).reshape(40, 2, 3)
    chosen = np.asarray(augment.chosen_features(jax.random.key(0), features))
    which = (chosen == features[:, 1]).all(-1)
    np.testing.assert_array_equal(chosen, np.where(which[:, None], features[:, 1], features[:, 0]))
    assert 0.2 < which.mean() < 0.8
    only = augment.chosen_features(jax.random.key(0), features[:, :1])
    np.testing.assert_array_equal(only, features[:, 0])


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("mean", [MEAN, MEAN[:1, :1]])
@pytest.mark.parametrize("std", [None, np.full((1, 1, 3), 3, np.float32)])
def test_pixels_fetched_by_index_as_on_gpus_are_the_same(mirror, mean, std, monkeypatch):
    preprocessing = Preprocessing(crop=8, mirror=mirror, channels="bgr", contrast=0.2)

    def views():
        return augment.training_views(jax.random.key(1), images(20), mean, preprocessing, std=std)

    sliced = views()

    def as_on_gpus(*values, default, cuda=None, cpu=None):
        return (cuda or default)(*values)

    monkeypatch.setattr(jax.lax, "platform_dependent", as_on_gpus)
    np.testing.assert_array_equal(views(), sliced)


def test_everything_at_once_in_grey_over_devices_that_exchange_no_pixels():
    preprocessing = Preprocessing(8, True, "grey", **ALL)
    mesh = make_mesh()
    assert mesh.size == 4
    faces, key = np.resize(images(8), (8, 10, 12, 3)), jax.random.key(2)

    def views(key, faces):
        return augment.training_views(key, faces, MEAN, preprocessing)

    shared = jax.jit(views, in_shardings=(replicated(mesh), batched(mesh))).lower(key, faces)
    compiled = shared.compile()
    text = compiled.as_text() or ""
    assert "fusion" in text
    assert not re.search(r"all-(gather|reduce|to-all)|collective-|reduce-scatter", text)
    found = compiled(*jax.device_put((key, faces), (replicated(mesh), batched(mesh))))
    assert found.shape == (8, 8, 8, 1)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, jax.jit(views)(key, faces), atol=1e-3)
