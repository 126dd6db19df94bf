"""Statements of a video's container itself: where its file ends, and how many frames it shows.

OpenCV estimates a count of frames where the container has none, from the duration of the longest stream:
a video whose sound is longer would look cut short. ISO media (.mp4, .mov, .3gp) is ISO/IEC 14496-12,
Matroska and WebM RFC 9559, AVI Microsoft's RIFF.
"""

import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_ISO = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_LATER = (*_ISO, b"moof", b"mfra", b"sidx", b"styp", b"uuid", b"meta", b"udta", b"pnot")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
# More boxes in one box, or runs of frames in a track, than any recorder writes.
_MOST = 100_000


@dataclasses.dataclass(frozen=True)
class Stated:
    """A container's own statements; None where it makes none.

    Attributes:
      size: bytes of the whole file; less than the file has means nothing.
      frames: frames that are shown; edit lists of ISO media may leave out others.
    """

    size: int | None = None
    frames: int | None = None


def stated(path: str | Path) -> Stated:
    """Reads a container's statements; of damaged and other files, there are none.

    Raises:
      OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        start = file.read(56)
        try:
            if start[4:8] in _ISO:
                return _iso(file)
            if start.startswith(_EBML):
                return Stated(_segment_end(file))
            if (start[:4], start[8:16]) == (b"RIFF", b"AVI LIST") and start[24:28] == b"avih":
                (size,), (frames,) = (
                    struct.unpack("<I", start[4:8]),
                    struct.unpack("<I", start[48:52]),
                )
                return Stated(size + 8 if size else None, frames or None)
        except (struct.error, ValueError, IndexError, OverflowError, OSError):
            pass  # ends within a number, or claims the impossible, such as a place beyond any file
    return Stated()


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields kind, start and end of the content of each box; an end may lie beyond the file's."""
    for _ in range(_MOST):
        if start + 8 > end:
            return
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", file.read(8)), 16
        stop = end if size == 0 else start + size
        if stop < start + head:
            raise ValueError("a box smaller than its head")
        yield kind, start + head, stop
        start = stop


def _iso(file: BinaryIO) -> Stated:
    end = file.seek(0, 2)
    whole, frames = 0, None
    for kind, start, stop in _boxes(file, 0, end):
        if kind not in _LATER:
            break  # something else was appended
        whole = stop
        if kind == b"moov" and stop <= end:
            frames = _shown(file, start, stop)
    return Stated(whole, frames)


def _shown(file: BinaryIO, start: int, end: int) -> int | None:
    """Frames of the first video track, as far as the movie shows it; None if it does not say."""
    scale = 0
    for kind, inner, stop in _boxes(file, start, end):
        if kind == b"mvhd":
            scale, _ = _header(file, inner, ">I")
        elif kind == b"trak":
            track = _Track()
            track.read(file, inner, stop)
            if track.handler == b"vide":
                length, whole = track.shown * track.scale, track.duration * scale
                return round(track.frames * min(length / whole, 1.0) if whole else 0) or None
    return None


def _header(file: BinaryIO, start: int, form: str) -> tuple[int, int]:
    """First field of a header box after its two dates, and the duration, which ends `form`'s fields."""
    file.seek(start)
    version = file.read(4)[0]
    file.seek(16 if version else 8, 1)
    form += "Q" if version else "I"
    fields = struct.unpack(form, file.read(struct.calcsize(form)))
    return fields[0], fields[-1]


@dataclasses.dataclass
class _Track:
    """A track: what it holds, its length in its own units, and in the movie's as far as it is shown."""

    handler: bytes = b""
    frames: int = 0
    scale: int = 0
    duration: int = 0
    shown: int = 0

    def read(
        self,
        file: BinaryIO,
        start: int,
        end: int,
        *,
        within: tuple[bytes, ...] = (b"mdia", b"minf", b"stbl"),
    ) -> None:
        """Reads boxes, and those in the boxes `within`, which are nested."""
        for kind, inner, stop in _boxes(file, start, end):
            if kind in within[:1]:
                self.read(file, inner, stop, within=within[1:])
            elif kind == b"tkhd":
                _, self.shown = _header(file, inner, ">II")
            elif kind == b"mdhd":
                self.scale, self.duration = _header(file, inner, ">I")
            elif kind == b"hdlr" and not self.handler:  # QuickTime's media data have another
                file.seek(inner + 8)
                self.handler = file.read(4)
            elif kind == b"stts":
                file.seek(inner + 4)
                (runs,) = struct.unpack(">I", file.read(4))
                table = file.read(8 * min(runs, _MOST))
                self.frames = sum(count for count, _ in struct.iter_unpack(">II", table))


def _segment_end(file: BinaryIO) -> int | None:
    """End of a Matroska file's segment; None if it was written without knowing it."""
    file.seek(4)
    file.seek(_length(file)[0], 1)
    if file.read(4) != _SEGMENT:
        return None
    length, unknown = _length(file)
    return None if length == unknown else file.tell() + length


def _length(file: BinaryIO) -> tuple[int, int]:
    """Length of an EBML element, and the one that stands for an unknown length."""
    first = file.read(1)[0]
    more = 8 - first.bit_length()
    unknown = (1 << (7 * more + 7)) - 1
    return int.from_bytes(bytes([first]) + file.read(more)) & unknown, unknown
