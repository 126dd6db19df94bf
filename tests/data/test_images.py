"""Decoding of good, damaged and hostile image files."""

import importlib.util
import io
import os
import struct
import sys
import threading
import types
import warnings
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin, features

from ageflax.data import images

# pytest turns warnings into errors.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def _gradient(height: int = 24, width: int = 32) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([8 * x, 10 * y, 255 - 8 * x], axis=-1).clip(0, 255).astype(np.uint8)


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PICTURE = Image.fromarray(_gradient())
JPEG = _encode(PICTURE, "JPEG", quality=95)
PROGRESSIVE = _encode(PICTURE, "JPEG", progressive=True)
PNG = _encode(PICTURE, "PNG")


def _reason(content: bytes, **options: int) -> str:
    with pytest.raises(images.BadImageError) as caught:
        images.decode(content, **options)
    return caught.value.reason


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\x04IDAT\0\0\0\0\0\0\0\0"


def _jpeg_claiming(width: int, height: int) -> bytes:
    start = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:start] + struct.pack(">HH", height, width) + JPEG[start + 4 :]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\0", "not an image"),
        (b"\0" * 5000, "not an image"),
        (b"<!DOCTYPE html><html>404 Not Found</html>", "not an image"),
        (b"BM but only a text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"\xff\xd8\xff", "truncated"),
        (JPEG[:2], "not an image"),
        (JPEG[:20], "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "truncated"),
        (b"GIF89a", "truncated"),
        (_png_header(0, 0), "truncated"),
        (_png_header(100_000, 100_000), "too large"),
        (_png_header(8_001, 8_000), "too large"),
        (_jpeg_claiming(65_500, 65_500), "too large"),
        (_jpeg_claiming(9_000, 9_000), "too large"),
    ],
)
def test_what_is_no_image_is_refused_with_its_reason(content: bytes, reason: str):
    assert reason in images.REASONS
    assert _reason(content) == reason


def test_a_limit_on_pixels_can_be_lowered():
    assert _reason(PNG, max_pixels=24 * 32 - 1) == "too large"
    assert images.decode(PNG, max_pixels=24 * 32).shape == (24, 32, 3)


@pytest.mark.parametrize("whole", [JPEG, PROGRESSIVE, PNG], ids=["jpeg", "progressive", "png"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_truncated_anywhere_before_the_last_pixels(whole: bytes, data: st.DataObject):
    # Every pixel may still be there without the end-of-image marker or the last checksum.
    cut = data.draw(st.integers(8, len(whole) - 40))
    assert _reason(whole[:cut]) == "truncated"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_damage_ends_in_an_image_or_a_reason(kind: str, data: st.DataObject):
    content = bytearray(_encode(PICTURE, kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = images.decode(bytes(content[: data.draw(st.integers(1, len(content)))]))
    except images.BadImageError as error:
        assert error.reason in images.REASONS
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_random_bytes_never_crash(content: bytes):
    with pytest.raises(images.BadImageError):
        images.decode(content)


def test_lossless_formats_decode_exactly():
    for kind, options in (("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        np.testing.assert_array_equal(images.decode(_encode(PICTURE, kind, **options)), _gradient())


def test_jpeg_decodes_closely():
    difference = images.decode(JPEG).astype(int) - _gradient()
    assert np.abs(difference).mean() < 4


def test_one_pixel():
    pixel = Image.new("RGB", (1, 1), (10, 200, 30))
    assert images.decode(_encode(pixel, "PNG")).tolist() == [[[10, 200, 30]]]
    assert images.decode(_encode(pixel, "JPEG")).shape == (1, 1, 3)


def test_grey_becomes_three_equal_channels():
    decoded = images.decode(_encode(Image.new("L", (5, 4), 77), "PNG"))
    assert (decoded == 77).all()
    assert decoded.shape == (4, 5, 3)
    decoded = images.decode(_encode(Image.new("1", (5, 4), 1), "PNG"))
    assert (decoded == 255).all()


def test_sixteen_bit_grey_keeps_the_high_byte():
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    decoded = images.decode(_encode(Image.fromarray(values), "PNG"))
    np.testing.assert_array_equal(decoded[0, :, 0], [0, 0, 0, 127, 255])


def test_a_dark_sixteen_bit_image_stays_dark():
    values = np.full((3, 3), 200, np.uint16)
    assert images.decode(_encode(Image.fromarray(values), "PNG")).max() == 0


def test_float_tiff_with_nan():
    values = np.array([[0.0, 100.0, 255.0, np.nan]], np.float32)
    decoded = images.decode(_encode(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(decoded[0, :, 0], [0, 100, 255, 0])


@pytest.mark.parametrize("scale", [255.0, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiffs_of_floats_are_read_to_1_or_to_255(scale, dtype, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, channels), dtype=np.uint8)
    pixels[0, 0] = 255
    _, content = cv2.imencode(".tif", (pixels[..., ::-1] / scale).astype(dtype))
    np.testing.assert_array_equal(
        images.decode(content.tobytes()), np.broadcast_to(pixels, (9, 7, 3))
    )


def test_tiffs_of_ycbcr_are_read_and_rotated():
    picture = Image.fromarray(
        np.kron(np.arange(12).reshape(3, 4) * 20, np.ones((8, 8))).astype(np.uint8)
    )
    exif = Image.Exif()
    exif[274] = 6
    content = _encode(picture.convert("RGB").convert("YCbCr"), "TIFF", exif=exif)
    found = images.decode(content)
    assert found.shape == (32, 24, 3)
    np.testing.assert_allclose(found[..., 0], np.rot90(np.asarray(picture), 3), atol=3)
    with pytest.raises(images.BadImageError, match="truncated"):
        images.decode(content[:300])
    with pytest.raises(images.BadImageError, match="too large"):
        images.decode(content, max_pixels=700)


def test_avif_is_read_where_pillow_has_it():
    if not features.check("avif"):
        pytest.skip("a Pillow without AVIF")
    assert images.decode(_encode(Image.new("RGB", (8, 6), "red"), "AVIF")).shape == (6, 8, 3)


HEIC = b"\0\0\0\x1cftypheic" + bytes(99)


def test_heic_is_read_by_its_package(monkeypatch):
    with pytest.raises(images.BadImageError) as caught:
        images.decode(HEIC)
    if caught.value.reason == "not an image":  # the package is not installed
        assert caught.value.said.startswith("HEIC; pip install pillow-heif, or convert it to")
    picture = Image.new("RGB", (8, 6), "red")
    opened = types.SimpleNamespace(size=(8, 6), to_pillow=lambda: picture)
    package = types.ModuleType("pillow_heif")
    vars(package)["open_heif"] = lambda file: opened
    package.__spec__ = importlib.util.spec_from_loader("pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    np.testing.assert_array_equal(images.decode(HEIC), np.asarray(picture))
    with pytest.raises(images.BadImageError, match="too large"):
        images.decode(HEIC, max_pixels=47)
    vars(package)["open_heif"] = lambda file: opened.nothing
    with pytest.raises(images.BadImageError, match="truncated"):
        images.decode(HEIC)


def test_a_raw_files_preview_is_not_its_photograph():
    small = TiffImagePlugin.ImageFileDirectory_v2()
    small[254], small[330] = 1, 0
    raw = TiffImagePlugin.ImageFileDirectory_v2()
    raw[50706] = b"\1\4\0\0"
    for tags in (small, raw):
        with pytest.raises(images.BadImageError) as caught:
            images.decode(_encode(Image.new("RGB", (160, 120)), "TIFF", tiffinfo=tags))
        assert caught.value.said.startswith("a camera's raw file; develop it to JPEG")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0\0\0\x18ftypcrx " + bytes(9), "a camera's raw file"),
        (b"II*\0\x10\0\0\0CR\2\0", "a camera's raw file"),
        (b"\0\0\0\x20ftypisom", "a video; name it with a video's suffix"),
        (b"\x1a\x45\xdf\xa3\x9f", "a video"),
        (b"\0\0\0\x20ftypM4A ", "a sound file"),
        (b"ID3\3\0", "a sound file"),
        (b"\xff\x0a\xfa", "JPEG XL; convert it to JPEG or PNG (djxl"),
        (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
        (b"%PDF-1.7\n", "PDF; turn its pages into images"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b'<?xml version="1.0"?>\n<!-- made -->\n<svg xmlns=""></svg>', "SVG, a drawing"),
        (b"<svg>", "SVG"),
        (b"  <!DOCTYPE html><p>404", "a web page"),
        (b'{"error": "gone"}', "text"),
        (b"/9j/4AAQSkZJRg", "an image as base64 text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\0\5\x16\7", "macOS's notes"),
        (b"text", "not an image"),
        (bytes(range(256)), "not an image"),
    ],
)
def test_other_files_are_named_with_what_to_do(content, kind):
    with pytest.raises(images.BadImageError) as caught:
        images.decode(content)
    assert caught.value.reason == "not an image"
    assert caught.value.said.startswith(kind)


def test_palette():
    palette = PICTURE.convert("P", palette=Image.Palette.ADAPTIVE, colors=32)
    decoded = images.decode(_encode(palette, "PNG"))
    np.testing.assert_array_equal(decoded, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode: str):
    clear = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    clear.putpixel((1, 0), (0, 0, 0, 255))
    decoded = images.decode(_encode(clear.convert(mode), "PNG"))
    assert decoded[0].tolist() == [[255] * 3, [0] * 3]


def test_transparent_palette_lies_over_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.putpixel((1, 0), 1)
    decoded = images.decode(_encode(palette, "PNG", transparency=0))
    assert decoded[0].tolist() == [[255] * 3, [9] * 3]


def test_cmyk_jpeg():
    decoded = images.decode(_encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert decoded[8, 8, 0] > 230
    assert decoded[8, 8, 1:].max() < 25


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "WEBP", "PNG"):
        content = _encode(frames[0], kind, save_all=True, append_images=frames[1:])
        decoded = images.decode(content)
        assert decoded.shape == (8, 8, 3)
        assert decoded[4, 4, 0] > 230
        assert decoded[4, 4, 2] < 25


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = _gradient()
    decoded = images.decode(_encode(PICTURE, "PNG", exif=exif))
    expected = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored),
    }[orientation]
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b""])
def test_a_broken_exif_block_costs_nothing(exif: bytes):
    block = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    decoded = images.decode(JPEG[:2] + block + JPEG[2:])
    np.testing.assert_array_equal(decoded, images.decode(JPEG))


def test_threads_share_the_decoder_and_leave_the_warning_filters_alone():
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [images.decode(JPEG) for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_read(tmp_path):
    def reason(name: str, **options: int) -> str:
        with pytest.raises(images.BadImageError) as caught:
            images.read(tmp_path / name, **options)
        return caught.value.reason

    (tmp_path / "face.jpg").write_bytes(JPEG)
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "link.jpg").symlink_to("face.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")

    assert images.read(tmp_path / "face.jpg") == JPEG
    assert images.read(tmp_path / "link.jpg") == JPEG
    assert reason("face.jpg", max_bytes=len(JPEG) - 1) == "too large"
    assert reason("zero.jpg") == "empty"
    for name in ("none.jpg", "folder.jpg", "loop.jpg", "pipe.jpg", "face.jpg/x.jpg", "x" * 300):
        assert reason(name) == "absent"


def test_read_names_a_refusal_by_the_system(tmp_path, monkeypatch):
    path = tmp_path / "face.jpg"
    path.write_bytes(JPEG)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(images.BadImageError, match="unreadable"):
        images.read(path)


@pytest.mark.parametrize("interpolation", sorted(images.INTERPOLATIONS))
def test_resize_stretches(interpolation: str):
    resized = images.resize(_gradient(), 10, interpolation=interpolation)
    assert resized.shape == (10, 10, 3)
    assert resized.dtype == np.uint8
    square = np.full((10, 10, 3), 7, np.uint8)
    assert images.resize(square, 10) is square


def test_resize_writes_where_it_is_told():
    batch = np.zeros((3, 10, 10, 3), np.uint8)
    assert images.resize(_gradient(), 10, interpolation="area", out=batch[1]).base is not None
    np.testing.assert_array_equal(batch[1], images.resize(_gradient(), 10, interpolation="area"))
    images.resize(batch[1], 10, out=batch[2])
    np.testing.assert_array_equal(batch[2], batch[1])
    assert not batch[0].any()


def _waves(side: int) -> Image.Image:
    y, x = np.mgrid[:side, :side] / side
    planes = [np.sin(20 * x + 3 * y), np.cos(15 * y), np.sin(12 * x * y)]
    return Image.fromarray((127 + 100 * np.stack(planes, -1)).astype(np.uint8))


@pytest.mark.parametrize(
    ("side", "wanted", "decoded"),
    [(816, 256, 408), (816, 408, 408), (816, 409, 816), (816, 204, 204), (816, 64, 102), (60, 64, 60)],
)  # fmt: skip
def test_a_jpeg_is_decoded_no_smaller_than_wanted(side, wanted, decoded):
    content = _encode(_waves(side), "JPEG", quality=95)
    assert images.decode(content, at_least=wanted).shape == (decoded, decoded, 3)


def test_the_shorter_side_decides_and_rotation_is_still_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = _encode(_waves(400).crop((0, 0, 400, 200)), "JPEG", exif=exif)
    assert images.decode(content, at_least=100).shape == (200, 100, 3)
    assert images.decode(content, at_least=101).shape == (400, 200, 3)


def test_reduced_is_near_area():
    content = _encode(_waves(816), "JPEG", quality=95)
    area = images.square(content, 256, interpolation="area").astype(int)
    reduced = images.square(content, 256, interpolation="reduced")
    assert 0 < np.abs(area - reduced).mean() < 1.0


@pytest.mark.parametrize(
    ("kind", "width", "height", "size", "other"),
    [
        ("JPEG", 816, 816, 500, "bilinear"),  # 1/2 would be too small
        ("JPEG", 816, 816, 900, "bilinear"),
        ("PNG", 512, 400, 256, "bilinear"),  # a format without scales
        ("PNG", 816, 816, 256, "area"),
        ("PNG", 300, 516, 256, "area"),  # one side is more than halved
    ],
)
def test_reduced_is_one_of_the_others_where_nothing_is_reduced(kind, width, height, size, other):
    content = _encode(_waves(900).crop((0, 0, width, height)), kind)
    np.testing.assert_array_equal(
        images.square(content, size, interpolation="reduced"),
        images.square(content, size, interpolation=other),
    )


def test_a_truncated_jpeg_is_found_at_any_scale():
    content = _encode(_waves(816), "JPEG", quality=95)
    for at_least in (0, 400, 100):
        with pytest.raises(images.BadImageError, match="truncated"):
            images.decode(content[: len(content) // 2], at_least=at_least)
