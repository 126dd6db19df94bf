"""Odd and hostile images and videos get a prediction or one line, in bounded memory."""

import io
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.predict.conftest import decoded


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def huge_png():
    """A PNG of a kilobyte that claims to be 30,000 pixels wide and high."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    data = zlib.compress(bytes(900_001))[:900]
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def picture(portraits):
    return Image.fromarray(decoded(portraits[0]))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: b"", "empty"),
        (
            lambda p: b"<!DOCTYPE html><html><body>404</body></html>",
            "a web page, not the image that it shows",
        ),
        (lambda p: encoded(p, "JPEG")[:2000], "truncated"),
        (lambda p: encoded(p, "PNG")[:2000], "truncated"),
        (lambda p: encoded(p, "WEBP")[:2000], "truncated"),
        (lambda p: b"\xff\xd8\xff", "truncated"),
        (lambda p: b"\xff\xd8\xff\xe0" + bytes(5000), "truncated"),
        (lambda p: huge_png(), "too large"),
        (lambda p: bytes(range(256)) * 40, "not an image"),
        (lambda p: b"PK\x03\x04" + bytes(200), "an archive; unpack it"),
    ],
)
def test_what_is_no_picture_is_named_with_its_reason(predict, tmp_path, picture, make, reason):
    path = tmp_path / "photo 🙂.jpg"
    path.write_bytes(make(picture))
    code, found, err = predict(path)
    assert (code, found) == (2, [])
    assert err == [f"{path}: {reason}", "ageflax.predict: nothing could be read"]


def _animated(picture, form):
    other = Image.new("RGB", picture.size, "black")
    return encoded(picture, form, save_all=True, append_images=[other], duration=100)


def _turned(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be displayed rotated by a quarter turn
    return encoded(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


def _sixteen(picture):
    return encoded(Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257), "PNG")


def _alpha(picture):
    return encoded(picture.convert("RGBA"), "PNG")


@pytest.mark.parametrize(
    "make",
    [
        lambda p: encoded(p, "JPEG", progressive=True),
        lambda p: encoded(p.convert("CMYK"), "JPEG", quality=95),
        lambda p: encoded(p.convert("L"), "JPEG"),
        lambda p: encoded(p.convert("L"), "PNG"),
        _sixteen,
        lambda p: encoded(p.quantize(256), "PNG"),
        lambda p: _animated(p, "GIF"),
        lambda p: _animated(p, "WEBP"),
        _alpha,
        _turned,
        lambda p: encoded(p, "BMP"),
        lambda p: encoded(p, "TIFF"),
    ],
)
def test_every_kind_of_picture_shows_the_same_face(predict, tmp_path, picture, make):
    path = tmp_path / "photo.jpg"  # the content decides, not the name
    (tmp_path / "plain.png").write_bytes(encoded(picture, "PNG"))
    path.write_bytes(make(picture))
    code, found, _ = predict(path, tmp_path / "plain.png")
    assert code == 0
    assert len(found) == 2
    np.testing.assert_allclose(found[0]["box"], found[1]["box"], atol=8)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
@pytest.mark.parametrize("detector", ["haar", "none"])
def test_the_smallest_pictures(predict, tmp_path, size, detector):
    path = tmp_path / "small.png"
    path.write_bytes(encoded(Image.new("RGB", size, "white"), "PNG"))
    code, found, _ = predict(path, detector=detector)
    assert code == 0
    assert len(found) == (detector == "none")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda clip: b"", "empty"),
        (lambda clip: b"not a video at all", "not a video that can be read"),
        (lambda clip: b"<html></html>" * 100, "not a video that can be read"),
        (lambda clip: clip[:100], "cut short: 100 bytes of at least "),
        (lambda clip: b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
         "not a video that can be read"),
        (lambda clip: b"ffconcat version 1.0\nfile '/etc/passwd'\n", "not a video that can be read"),
    ],
)  # fmt: skip
def test_what_is_no_video_is_named_with_its_reason(predict, tmp_path, clip, make, reason):
    path = tmp_path / "film.mp4"
    path.write_bytes(make(clip.read_bytes()))
    code, found, err = predict(path)
    assert (code, found) == (2, [])
    assert err[0].startswith(f"{path}: {reason}")
    assert len(err) == 2


def test_the_command_silences_opencv_by_itself(fold, tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"not a video at all")
    words = [f"--model={fold}", "--detector=none", str(path)]
    loud = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    done = subprocess.run(
        [sys.executable, "-m", "ageflax.predict", *words], capture_output=True, text=True, env=loud
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"{path}: not a video that can be read",
        "ageflax.predict: nothing could be read",
    ]


def test_a_video_without_frames(predict, tmp_path):
    path = tmp_path / "nothing.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (64, 64))
    writer.release()
    code, found, err = predict(path)
    assert (code, found) == (2, [])
    assert err[0].startswith(f"{path}: ")


def test_a_folder_a_device_and_a_link_to_nothing_are_absent(predict, tmp_path):
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nowhere.mp4")
    code, found, err = predict(tmp_path / "link.jpg", tmp_path / "link.mp4", "/dev/null")
    assert (code, found) == (2, [])
    assert [line.rpartition(": ")[2] for line in err[:3]] == ["absent"] * 3
