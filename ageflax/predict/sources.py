"""What PATH names: photographs, folders, globs, videos, standard input, a camera."""

import dataclasses
import glob
import os
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from ageflax.data import images
from ageflax.errors import InputError
from ageflax.predict import video
from ageflax.predict.frames import Failure, Frame

STDIN = "-"
# Inside a folder others are passed over; a file that is named is tried whatever its name.
PHOTOGRAPHS = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm",
               ".pgm", ".pnm")  # fmt: skip
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp",
          ".ogv", ".mts", ".ts")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Source:
    """A photograph or a video.

    Attributes:
      name: as it was named, or found.
      inside: its place below the folder that was named, the file's own name otherwise.
    """

    name: str
    inside: Path

    @property
    def is_video(self) -> bool:
        """By its name."""
        return self.inside.suffix.lower() in VIDEOS


def _in_folder(folder: Path) -> list[Source]:
    found = []
    # Links to folders are not followed: they may lead round in a circle.
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix.lower() in PHOTOGRAPHS + VIDEOS and not name.startswith("."):
                found.append(Source(str(path), path.relative_to(folder)))
    return found


def find(words: Sequence[str]) -> list[Source]:
    """Every photograph and video that some paths name, in their order; a folder's by name.

    Args:
      words: files, folders (with all below them), globs (** goes down), or "-", standard input.

    Raises:
      InputError: a folder without any, or a glob that fits nothing.
    """
    found = []
    for word in words:
        path = Path(word)
        if word == STDIN:
            found.append(Source(STDIN, Path("stdin")))
        elif glob.has_magic(word) and not os.path.lexists(word):
            named = sorted(glob.glob(word, recursive=True))  # noqa: PTH207  it takes absolute ones too
            if not named:
                raise InputError(f"{word}: no file fits")
            files = [Source(name, Path(Path(name).name)) for name in named if Path(name).is_file()]
            found += files or find(named)
        elif path.is_dir():
            inside = _in_folder(path)
            if not inside:
                raise InputError(f"{word}: no photograph or video in this folder, or below it")
            found += inside
        else:
            found.append(Source(word, Path(path.name)))
    if sum(source.name == STDIN for source in found) > 1:
        raise InputError("- is named twice, and there is one standard input")
    return found


def _stdin() -> bytes | Failure:
    content = sys.stdin.buffer.read(images.MAX_BYTES + 1)
    if len(content) > images.MAX_BYTES:
        return Failure("too large")
    return content or Failure("empty")


def frames(sources: Sequence[Source], every: int) -> Generator[Frame, None, None]:
    """The frames of sources, in order; photographs are read later, by whoever looks at them.

    Args:
      sources: as `find` gives them.
      every: of a video each N-th frame, beginning with the first.
    """
    for place, source in enumerate(sources):
        if source.name == STDIN:
            yield Frame(STDIN, place, None, _stdin())
        elif source.is_video:
            yield from video.frames(source.name, place, every)
        else:
            yield Frame(source.name, place, None, Path(source.name))


def count(sources: Sequence[Source], every: int) -> int | None:
    """How many frames there will be, as far as the videos' own headers tell; None where one does not."""
    total = 0
    for source in sources:
        held = video.length(source.name) if source.is_video else 1
        if held is None:
            return None
        total += -(-held // every) if source.is_video else 1
    return total
