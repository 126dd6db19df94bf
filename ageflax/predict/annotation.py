"""Copies of photographs and videos with boxes, ages and genders drawn on them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from ageflax.errors import RunError
from ageflax.predict import video
from ageflax.predict.face import Face
from ageflax.predict.frames import Seen
from ageflax.predict.sources import Source
from ageflax.runtime import files

# Of boxes and text: people tell them apart also where they see no red and green.
_COLOURS = {"female": (230, 159, 0), "male": (86, 180, 233)}
_OTHER = (240, 228, 66)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_QUALITY = 92


def _wording(face: Face) -> list[str]:
    lines = []
    if face.age is not None:
        lines.append(f"{face.age:.0f} years")
    if face.age_group is not None:
        share = face.age_group.probabilities[face.age_group.label]
        lines.append(f"{face.age_group.label} {100 * share:.0f}%")
    if face.gender is not None:
        share = face.gender.probabilities[face.gender.label]
        lines.append(f"{face.gender.label} {100 * share:.0f}%")
    if face.track is not None:
        lines.append(f"#{face.track}")
    return lines


def annotated(image: np.ndarray, faces: Iterable[Face]) -> np.ndarray:
    """A copy of an image with a box and a caption for each face.

    Args:
      image: uint8[h, w, 3], RGB.
      faces: found in it.
    """
    drawn = np.ascontiguousarray(image).copy()
    height, width = drawn.shape[:2]
    thick = max(1, round(max(height, width) / 640))
    for face in faces:
        x, y, w, h = (round(value) for value in face.box)
        colour = _COLOURS.get(face.gender.label if face.gender else "", _OTHER)
        cv2.rectangle(drawn, (x, y), (x + w, y + h), colour, thick)
        _caption(drawn, _wording(face), (x, y, w, h), colour)
    return drawn


def _caption(
    drawn: np.ndarray,
    lines: Sequence[str],
    box: tuple[int, int, int, int],
    colour: tuple[int, int, int],
) -> None:
    """Lines of text below a box, or above it where there is no room."""
    height, width = drawn.shape[:2]
    x, y, w, h = box
    # As wide as the box, where that can be read.
    scale = min(max(w / 130, max(height, width) / 2600, 0.3), max(height, width) / 900 + 0.1)
    thick = max(1, round(1.6 * scale))
    sizes = [cv2.getTextSize(line, _FONT, scale, thick)[0] for line in lines]
    if not sizes:
        return
    step = round(1.45 * sizes[0][1]) + 2
    wide, tall = max(size[0] for size in sizes) + 4, step * len(lines) + 2
    left = min(max(x, 0), max(width - wide, 0))
    top = y + h if y + h + tall <= height else y - tall if y >= tall else max(height - tall, 0)
    cv2.rectangle(drawn, (left, top), (left + wide, top + tall), (0, 0, 0), -1)
    for k, line in enumerate(lines):
        place = left + 2, top + step * (k + 1) - round(0.25 * step)
        cv2.putText(drawn, line, place, _FONT, scale, colour, thick, cv2.LINE_AA)


class Album:
    """Writes annotated copies into a folder: photographs as .jpg, videos as .mp4.

    A copy lies where its source lies below the folder that was named; of two of one name the second
    becomes NAME_2. What was there before is replaced, but never a source.

    Args:
      directory: made if absent.
      sources: all that will be seen.
      every: each N-th frame of videos is seen.

    Raises:
      InputError: the folder cannot be written.
    """

    def __init__(self, directory: Path, sources: Sequence[Source], every: int):
        self._directory, self._sources, self._every = directory, sources, every
        files.make_writable(directory, "--annotate")
        self._kept = {Path(source.name).resolve() for source in sources}
        self._taken: set[Path] = set()
        self._place = -1
        self._video: cv2.VideoWriter | None = None

    def add(self, seen: Seen) -> None:
        """Writes the copy of a photograph, or of a video's next frame."""
        if seen.pixels is None:
            return
        drawn = cv2.cvtColor(annotated(seen.pixels, seen.faces), cv2.COLOR_RGB2BGR)
        place = seen.frame.place
        if seen.frame.number is None:
            ok, encoded = cv2.imencode(".jpg", drawn, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
            if not ok:
                raise RunError(f"{seen.frame.source}: its annotated copy cannot be encoded")
            self._target(place, ".jpg").write_bytes(encoded.tobytes())
            return
        if place != self._place:
            self.close()
            self._place, self._video = place, self._writer(place, drawn)
        assert self._video is not None
        self._video.write(drawn)

    def close(self) -> None:
        """Ends the video that is being written."""
        if self._video is not None:
            self._video.release()
        self._video = None

    def _writer(self, place: int, drawn: np.ndarray) -> cv2.VideoWriter:
        target = self._target(place, ".mp4")
        source = self._sources[place]
        # A camera's frames come as fast as they are looked at; played at the rate of a film.
        shown = video.rate(source.name) if source.is_video else 25.0
        size = drawn.shape[1], drawn.shape[0]
        writer = cv2.VideoWriter(
            str(target), cv2.VideoWriter.fourcc(*"mp4v"), max(shown / self._every, 1.0), size
        )
        if not writer.isOpened():
            raise RunError(f"{target}: no video of {size[0]}x{size[1]} can be written")
        return writer

    def _target(self, place: int, suffix: str) -> Path:
        inside = self._sources[place].inside
        # OpenCV writes only names that are UTF-8.
        name = str(inside.with_suffix("")).encode("utf-8", "replace").decode("utf-8", "replace")
        target, number = self._directory / f"{name}{suffix}", 1
        while target in self._taken or target.resolve() in self._kept:
            number += 1
            target = self._directory / f"{name}_{number}{suffix}"
        self._taken.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
