"""Videos that end are no errors, whatever contains them; damaged and other files are named."""

import struct
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ageflax.predict import containers, video
from ageflax.predict.frames import Failure

CONTAINERS = {"webm": "VP80", "mkv": "mp4v", "avi": "MJPG", "mp4": "mp4v", "mov": "mp4v", "ts": "mp4v",
              "flv": "FLV1", "wmv": "WMV2"}  # fmt: skip


def written(path, code="mp4v", count=20, rate=10.0):
    """A film of frames, each of another grey, 64x48 pixels, the left half black."""
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, (64, 48)
    )
    assert writer.isOpened()
    for k in range(count):
        writer.write(
            np.where(np.arange(64)[:, None] < 32, 0, np.full((48, 64, 3), 100 + k, np.uint8))
        )
    writer.release()
    return path


def read(path, every=1) -> tuple[list[Any], list[Any]]:
    """Numbers and seconds of the frames, shapes of the pixels, and reasons of failures."""
    found: list[Any] = list(video.frames(str(path), 3, every))
    good = [frame for frame in found if not isinstance(frame.content, Failure)]
    assert {frame.place for frame in found} == {3} and found[: len(good)] == good
    return good, [frame.content.reason for frame in found[len(good) :]]


class Films(dict):
    """Content of a film by its container's suffix; too long for a message."""

    def __repr__(self):
        return "films"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    return Films(
        (suffix, written(folder / f"film.{suffix}", code).read_bytes())
        for suffix, code in CONTAINERS.items()
    )


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_a_whole_film_is_every_frame_and_no_complaint(films, tmp_path, suffix):
    path = tmp_path / f"film.{suffix}"
    path.write_bytes(films[suffix])
    good, bad = read(path, every=3)
    assert bad == []
    assert [frame.number for frame in good] == [0, 3, 6, 9, 12, 15, 18]
    np.testing.assert_allclose([frame.seconds for frame in good], np.arange(0, 2, 0.3), atol=0.002)
    assert video.length(str(path)) == 20
    stated = containers.stated(path)
    assert stated.size == (None if suffix in ("ts", "flv", "wmv") else path.stat().st_size)
    assert stated.frames == (20 if suffix in ("avi", "mp4", "mov") else None)


@pytest.mark.parametrize("suffix", ["webm", "mkv"])
def test_a_film_whose_sound_is_longer_is_whole(films, tmp_path, suffix):
    """Where the container has no count, OpenCV estimates one from the longest duration."""
    path, content = tmp_path / f"film.{suffix}", bytearray(films[suffix])
    start = content.index(b"\x44\x89\x88") + 3
    content[start : start + 8] = struct.pack(">d", 8500)
    path.write_bytes(content)
    assert video.length(str(path)) == 85
    good, bad = read(path)
    assert (len(good), bad) == (20, [])


@pytest.mark.parametrize("suffix", ["webm", "mkv", "avi"])
def test_a_film_cut_short_gives_what_it_has_and_says_so(films, tmp_path, suffix):
    path, whole = tmp_path / f"film.{suffix}", films[suffix]
    path.write_bytes(whole[:-400])
    good, (reason,) = read(path)
    assert 0 < len(good) < 20
    assert reason == (
        f"cut short: {len(whole) - 400:,} bytes of at least {len(whole):,} by its container"
        f" ({len(good)} frames were read)"
    )


def test_without_its_end_an_mp4_cannot_be_read_and_the_reason_is_said(films, tmp_path):
    path, whole = tmp_path / "film.mp4", films["mp4"]
    path.write_bytes(whole[:-900])
    assert read(path) == (
        [],
        [f"cut short: {len(whole) - 900:,} bytes of at least {len(whole):,} by its container"],
    )
    path.write_bytes(whole + b"something else, appended")
    assert read(path)[1] == []


def boxes(content, kind):
    return content.index(kind) + 4


def test_a_film_whose_frames_are_damaged_is_counted(films, tmp_path):
    path, content = tmp_path / "film.mp4", bytearray(films["mp4"])
    start = boxes(content, b"mdat")
    size = struct.unpack(">I", content[start - 8 : start - 4])[0] - 8
    content[start + size // 2 : start + size] = bytes(size - size // 2)
    path.write_bytes(content)
    good, (reason,) = read(path)
    assert reason == f"damaged: {len(good)} of the 20 frames that its container states were read"


def test_a_film_trimmed_by_its_edit_list_is_whole(films, tmp_path):
    """A phone's editor shows the second of two seconds, and leaves the frames before it in the file."""
    path, content = tmp_path / "film.mp4", bytearray(films["mp4"])
    head, edits = boxes(content, b"tkhd"), boxes(content, b"elst")
    scale = struct.unpack(">I", content[boxes(content, b"mdhd") + 12 :][:4])[0]
    content[head + 20 : head + 24] = struct.pack(">I", 1000)
    content[edits + 8 : edits + 16] = struct.pack(">II", 1000, scale)
    path.write_bytes(content)
    good, bad = read(path)
    assert (len(good), bad) == (10, [])
    assert good[0].content[0, 60, 0] == pytest.approx(110, abs=3)
    assert containers.stated(path).frames == 10


def test_a_film_filmed_upright_is_upright(films, tmp_path):
    path, content = tmp_path / "film.mp4", bytearray(films["mp4"])
    matrix, one = boxes(content, b"tkhd") + 40, 0x10000
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    good, bad = read(path)
    assert bad == [] and {frame.content.shape for frame in good} == {(64, 48, 3)}
    assert good[0].content[10].max() < 20 and good[0].content[50].min() > 80  # black on top


def test_times_follow_a_rate_that_varies(films, tmp_path):
    path, content = tmp_path / "film.mp4", bytearray(films["mp4"])
    table = boxes(content, b"stts")
    runs, count, step = struct.unpack(">III", content[table + 4 : table + 16])
    assert (runs, count) == (1, 20)
    # As long as before the table, in place of the free box before the data: one run of a double step.
    content[table + 12 : table + 16] = struct.pack(">I", 2 * step)
    path.write_bytes(content)
    good, _ = read(path)
    np.testing.assert_allclose([f.seconds for f in good][:3], [0, 0.2, 0.4], atol=0.002)


def test_the_cover_of_a_sound_file_is_no_video(tmp_path):
    _, cover = cv2.imencode(".jpg", np.full((64, 64, 3), 99, np.uint8))
    picture = b"\0image/jpeg\0\x03\0" + cover.tobytes()
    frame = b"APIC" + struct.pack(">I", len(picture)) + b"\0\0" + picture
    size = bytes((len(frame) >> shift) & 127 for shift in (21, 14, 7, 0))
    path = tmp_path / "song.mp4"
    path.write_bytes(b"ID3\x03\0\0" + size + frame + (b"\xff\xfb\x90\x64" + bytes(413)) * 40)
    assert read(path) == ([], ["a sound file, whose only picture is its cover"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0\x08ftyp",
        b"\0\0\0\x02ftyp" * 9,
        b"\0\0\0\x01ftyp\0\0\0\0\0\0\0\x01" * 9,
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x00",
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01"
        + b"\xff" * 7,  # of unknown length, as streams are
        b"\x1a\x45\xdf\xa3\x01" + b"\xfe" * 60,  # longer than any file
        b"RIFF" + bytes(4) + b"AVI LIST\0\0\0\0hdrlavih" + bytes(60),
    ],
)
def test_containers_that_state_nothing(tmp_path, content):
    path = tmp_path / "film"
    path.write_bytes(content)
    stated = containers.stated(path)
    assert stated.frames is None and (stated.size or 0) <= len(content)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_container_states_something_or_nothing(films, tmp_path, data):
    content = bytearray(films[data.draw(st.sampled_from(["webm", "mkv", "avi", "mp4", "mov"]))])
    head = [*range(64), *range(len(content) - 1100, len(content))]
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.sampled_from(head))] = data.draw(
            st.sampled_from([0, 1, 127, 128, 255])
        )
    path = tmp_path / "film"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    stated = containers.stated(path)
    assert stated.frames is None or stated.frames > 0


def test_boxes_in_boxes_without_end(tmp_path):
    content = b"".join(struct.pack(">I4s", 80_008 - 8 * k, b"moov") for k in range(10_000)) + bytes(
        8
    )
    (tmp_path / "film").write_bytes(content)
    assert containers.stated(tmp_path / "film").frames is None
