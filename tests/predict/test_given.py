"""Images in the forms that callers of the Python interface have are one image, or one line."""

import io
import pathlib
import socket
from typing import Any

import hypothesis.extra.numpy as arrays
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image

from ageflax.errors import InputError
from ageflax.predict import given
from ageflax.predict.frames import Failure


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def contents(what, **options) -> list[Any]:
    return [frame.content for frame in given.frames(what, **options)]


def pixels(what, **options):
    (content,) = contents(what, **options)
    return content


def reason(what):
    (content,) = contents(what)
    assert isinstance(content, Failure)
    return content.reason


def png(image, mode="RGB"):
    stream = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stream, "PNG")
    return stream


FORMS = {
    "uint8": lambda x: x,
    "int64": lambda x: x.astype(np.int64),
    "uint16": lambda x: x.astype(np.uint16),
    "floats to 255": lambda x: x.astype(np.float32),
    "doubles to 1": lambda x: x / 255.0,
    "float32 to 1": lambda x: x.astype(np.float32) / 255,
    "float32 to 1, rounded beyond": lambda x: x.astype(np.float32) / 255 * 1.0005,
    "float16 to 255": lambda x: x.astype(np.float16),
    "JAX": jnp.asarray,
    "JAX bfloat16": lambda x: jnp.asarray(x, jnp.bfloat16),
    "opaque": lambda x: np.dstack([x, np.full(x.shape[:2], 255, np.uint8)]),
    "PIL": Image.fromarray,
    "memoryview of pixels": memoryview,
    "batch of one": lambda x: x[None],
    "list": lambda x: [x],
    "tuple": lambda x: (x,),
    "generator": lambda x: (one for one in [x]),
    "column": lambda x: np.array([x, None], object)[:1],
    "strided": lambda x: np.dstack([x, x])[:, :, :3],
    "Fortran": np.asfortranarray,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_an_image_in_memory_is_its_pixels_whatever_holds_them(image, form):
    found = pixels(FORMS[form](image))
    assert found.dtype == np.uint8
    expected = np.asarray(jnp.asarray(image, jnp.bfloat16), np.float32) if "bf" in form else image
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "form", [lambda x: x, lambda x: x[..., None], Image.fromarray, lambda x: x / 255]
)
def test_grey_is_three_equal_channels(image, form):
    grey = image[..., 0]
    np.testing.assert_array_equal(pixels(form(grey)), np.dstack([grey] * 3))


def test_transparency_is_laid_over_white_as_in_files(image):
    rgba = np.dstack([image, np.arange(30, dtype=np.uint8).reshape(6, 5) * 8])
    laid = pixels(Image.fromarray(rgba))
    np.testing.assert_allclose(pixels(rgba).astype(int), laid, atol=1)
    np.testing.assert_array_equal(pixels(rgba[..., [2, 1, 0, 3]], colors="bgr"), pixels(rgba))


def test_bgr_turns_arrays_alone(image):
    np.testing.assert_array_equal(pixels(image[..., ::-1], colors="bgr"), image)
    np.testing.assert_array_equal(pixels(Image.fromarray(image), colors="bgr"), image)
    with pytest.raises(InputError, match="colors='rbg': expected rgb or bgr"):
        contents(image, colors="rbg")


def test_batches_have_one_scale_and_count_on(image):
    batch = np.stack([image // 255, image]) / 255.0  # the first alone would be from 0 to 1/255
    frames = list(given.frames([image, batch, np.zeros((0, 4, 4, 3)), image]))
    assert [(frame.source, frame.place) for frame in frames][:3] == [
        ("#0", 0),
        ("#1", 1),
        ("#2", 2),
    ]
    np.testing.assert_array_equal(frames[1].content, image // 255)
    np.testing.assert_array_equal(frames[2].content, image)
    assert frames[3].content == Failure("float64[0, 4, 4, 3], no pixels")


class Turned(io.BytesIO):
    """A file that cannot be rewound and gives a few bytes at a time."""

    def seek(self, *_):
        raise io.UnsupportedOperation

    def read(self, size=-1, /):
        return super().read(min(-1 if size is None else size, 7))


def test_encoded_images_are_their_bytes_whatever_holds_them(image, tmp_path):
    content = png(image).getvalue()
    (tmp_path / "a.png").write_bytes(content)
    for form in (bytes, bytearray, memoryview, png(image), io.BytesIO(content), Turned(content)):
        assert pixels(form(content) if isinstance(form, type) else form) == content
    with (tmp_path / "a.png").open("rb") as file:
        assert pixels(file) == pixels(file) == content  # rewound, as Pillow does


def test_paths_are_files_folders_and_globs(image, tmp_path):
    for name in ("b.png", "a.png", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    assert contents(str(a)) == contents(a) == contents(np.array([str(a)])) == [a]
    assert contents([tmp_path, f"{tmp_path}/b*"]) == [a, b, b]
    assert [frame.place for frame in given.frames([tmp_path, a])] == [0, 1, 2]
    assert reason(tmp_path / "*.jpg") == "no file matches"
    assert (
        reason(
            [
                pathlib.Path(tmp_path / "x*"),
            ]
        )
        == "no file matches"
    )


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("https://a.b/c.jpg?d&e", "an address; download it, or pipe a photograph: curl -sL"
         " 'https://a.b/c.jpg?d&e' | python -m ageflax.predict -"),
        ("HTTP://127.0.0.1/film.mp4", "an address; download it"),
        ("rtsp://user:word@camera/1", "an address of a stream; read it with cv2.VideoCapture"),
        ("gs://bucket/a.jpg", "an address, not a path on this machine; mount the bucket"),
    ],
)  # fmt: skip
def test_addresses_are_not_opened_but_said(word, said, monkeypatch):
    def opened(*_):
        raise AssertionError(word)

    monkeypatch.setattr(socket, "socket", opened)
    assert reason(word).startswith(said)


class Broken:
    def __array__(self, dtype=None, copy=None):
        raise TypeError("on a device\nwith a long text")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (None, "None, no image; cv2.imread gives it for a file that it cannot read"),
        (7, "int, expected a path, bytes, an open file, a PIL image or an array"),
        ({"a": 1}, "dict, expected"),
        ("/9j/" + "A" * 9000, "an image as base64 text; decode it (base64 -d)"),
        ("\x89PNG\r\n\0", "text that is no path"),
        ([[[1, 2], [3, 4]]], "list, expected a path, bytes, an open file, a PIL image or an array;"
         " np.asarray(image, np.uint8) makes one of nested lists"),
        (io.StringIO("x"), "a file whose read() gives str; open it with 'rb'"),
        (Broken(), "Broken: on a device"),
        (np.zeros((3, 9, 9)), "float64[3, 9, 9], channels first; pass np.moveaxis(image, -3, -1)"),
        (np.zeros((2, 3, 9, 9)), "float64[2, 3, 9, 9], channels first; pass np.moveaxis"),
        (np.zeros((7, 9, 9)), "float64[7, 9, 9], expected [height, width],"),
        (np.zeros(9), "float64[9], expected [height, width],"),
        (np.float32(1), "float32[], expected [height, width],"),
        (np.zeros((0, 4, 3), np.uint8), "uint8[0, 4, 3], no pixels"),
        (np.full((4, 4), -1), "int64[4, 4] from -1 to -1, expected 0 to 255; for sixteen bits"),
        (np.full((4, 4), 256, np.uint16), "uint16[4, 4] from 256 to 256, expected 0 to 255;"),
        (np.eye(4) * 2 - 1, "float64[4, 4] from -1 to 1, expected 0 to 1 or 0 to 255; undo its"),
        (np.eye(4) * 1.3, "float64[4, 4] from 0 to 1.3, expected 0 to 1 or 0 to 255; undo"),
        (np.eye(4) * 300, "float64[4, 4] from 0 to 300, expected 0 to 1 or 0 to 255; undo"),
        (np.eye(4) * np.nan, "float64[4, 4] with NaN or infinity; pass np.nan_to_num(image)"),
        (np.eye(4, dtype=bool), "bool[4, 4], expected uint8 or floats"),
        (np.eye(4, dtype=complex), "complex128[4, 4], expected uint8 or floats"),
        (Image.new("RGB", (9000, 9000)), "too large"),
    ],
)  # fmt: skip
def test_the_rest_is_refused_with_the_conversion(what, said):
    assert reason(what).startswith(said)


@settings(max_examples=200, deadline=None)
@drawn(arrays.arrays(st.sampled_from([arrays.scalar_dtypes()]).flatmap(lambda s: s), arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)))  # fmt: skip
def test_any_array_is_pixels_or_a_reason(values):
    for content in contents(values):
        if isinstance(content, Failure):
            assert content.reason.isprintable()
        else:
            assert content.dtype == np.uint8 and content.ndim == 3 and content.shape[2] == 3
