"""Finds the photographs and videos that PATH arguments name, and yields their frames."""

import dataclasses
import glob
import os
import shlex
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from ageflax.data import images
from ageflax.errors import InputError
from ageflax.predict import video
from ageflax.predict.frames import Failure, Frame
from ageflax.runtime import files

STDIN = "-"
# A folder yields only these; a file named by itself is read whatever its suffix.
PHOTOGRAPHS = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm",
               ".pgm", ".pnm")  # fmt: skip
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp",
          ".ogv", ".mts", ".ts")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Source:
    """A photograph or a video.

    Attributes:
      name: path as named or found.
      inside: path below the named folder; the file's own name if it was named itself.
    """

    name: str
    inside: Path

    @property
    def is_video(self) -> bool:
        """True if its suffix is a video's."""
        return self.inside.suffix.lower() in VIDEOS

    @property
    def is_photograph(self) -> bool:
        """True for a photograph's file, which unlike standard input is read as often as needed."""
        return not self.is_video and self.name != STDIN


def _in_folder(folder: Path) -> list[Source]:
    found = []
    # Links to folders are not followed: they may form a cycle.
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix.lower() in PHOTOGRAPHS + VIDEOS and not name.startswith("."):
                found.append(Source(str(path), path.relative_to(folder)))
    return found


def photographs(folder: Path) -> list[Path]:
    """Photographs in a folder and below it, relative to it, by name."""
    return [found.inside for found in _in_folder(folder) if not found.is_video]


def find(paths: Sequence[str]) -> list[Source]:
    """Finds every photograph and video named, in the order given; those of a folder by name.

    Args:
      paths: files, folders (searched recursively), globs (** descends), or "-" for standard input.

    Raises:
      InputError: a folder contains none, or a glob matches nothing.
    """
    found = []
    for word in paths:
        path = Path(word)
        if word == STDIN:
            found.append(Source(STDIN, Path("stdin")))
        elif address(word) is not None:
            found.append(Source(word, Path(path.name)))
        elif glob.has_magic(word) and not os.path.lexists(word):
            named = sorted(glob.glob(word, recursive=True))  # noqa: PTH207  takes absolute paths too
            if not named:
                raise InputError(f"{word}: no file matches")
            files = [Source(name, Path(Path(name).name)) for name in named if Path(name).is_file()]
            found += files or find(named)
        elif path.is_dir():
            inside = _in_folder(path)
            if not inside:
                raise InputError(f"{word}: no photograph or video in this folder or below it")
            found += inside
        else:
            found.append(Source(word, Path(path.name)))
    if sum(source.name == STDIN for source in found) > 1:
        raise InputError("-: named twice; standard input can be read only once")
    return found


def address(word: str) -> str | None:
    """Advice about an address in place of a path; None if the word is none.

    Addresses are not opened: a program that passes on its users' words would reach whatever they name.
    """
    scheme, _, rest = word.partition("://")
    if not rest or not scheme.isalnum() or os.path.lexists(word):
        return None
    if scheme.lower() in ("http", "https"):
        return (
            f"an address; download it, or pipe a photograph: curl -sL {shlex.quote(word)} |"
            " python -m ageflax.predict -"
        )
    if scheme.lower() in ("rtsp", "rtsps", "rtmp", "rtp", "udp", "tcp"):
        return (
            "an address of a stream; read it with cv2.VideoCapture and pass each frame to"
            " Predictor.faces(frame, colors='bgr')"
        )
    try:
        files.local(word)
    except InputError as error:
        return str(error).removeprefix(f"{word}: ")
    return None


def _stdin() -> bytes | Failure:
    content = sys.stdin.buffer.read(images.MAX_BYTES + 1)
    if len(content) > images.MAX_BYTES:
        return Failure("too large")
    return content or Failure("empty")


def frames(
    sources: Sequence[Source], every: int, *, start: int = 0
) -> Generator[Frame, None, None]:
    """Yields the frames of sources in order; photographs are read later, when they are decoded.

    Args:
      sources: as returned by `find`.
      every: stride through the frames of videos, which starts at the first.
      start: index of the first source among all that were given.
    """
    for place, source in enumerate(sources, start):
        if source.name == STDIN:
            yield Frame(STDIN, place, None, _stdin())
        elif (reason := address(source.name)) is not None:
            yield Frame(source.name, place, None, Failure(reason))
        elif source.is_video:
            yield from video.frames(source.name, place, every)
        else:
            yield Frame(source.name, place, None, Path(source.name))


def count(sources: Sequence[Source], every: int) -> int | None:
    """Number of frames according to the videos' headers; None if one of them does not state it."""
    total = 0
    for source in sources:
        stated = 1
        if source.is_video and address(source.name) is None:
            stated = video.length(source.name)
        if stated is None:
            return None
        total += -(-stated // every) if source.is_video else 1
    return total
