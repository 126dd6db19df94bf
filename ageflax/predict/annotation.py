"""Draws boxes, ages and genders on copies of photographs and videos."""

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

# Colours of boxes and text, distinct also for colour-blind viewers.
_COLOURS = {"female": (230, 159, 0), "male": (86, 180, 233)}
_OTHER = (240, 228, 66)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_QUALITY = 92


def _lines(face: Face) -> list[str]:
    lines = []
    if face.age is not None:
        span = face.age_interval
        lines.append(f"{face.age:.0f} years" + (f" ({span.low}-{span.high})" if span else ""))
    answers = [answer for answer in (face.age_group, face.gender) if answer is not None]
    lines += [f"{each.label} {100 * each.probabilities[each.label]:.0f}%" for each in answers]
    if face.track is not None:
        lines.append(f"#{face.track}")
    return lines


def annotated(image: np.ndarray, faces: Iterable[Face]) -> np.ndarray:
    """Draws a box and a caption for each face on a copy of an image.

    Args:
      image: uint8[h, w, 3], RGB.
      faces: faces found in it.
    """
    drawn = np.ascontiguousarray(image).copy()
    height, width = drawn.shape[:2]
    thick = max(1, round(max(height, width) / 640))
    for face in faces:
        x, y, w, h = (round(value) for value in face.box)
        colour = _COLOURS.get(face.gender.label if face.gender else "", _OTHER)
        cv2.rectangle(drawn, (x, y), (x + w, y + h), colour, thick)
        _caption(drawn, _lines(face), (x, y, w, h), colour)
    return drawn


def _caption(
    drawn: np.ndarray,
    lines: Sequence[str],
    box: tuple[int, int, int, int],
    colour: tuple[int, int, int],
) -> None:
    """Draws lines of text below a box, or above it if there is no room."""
    height, width = drawn.shape[:2]
    x, y, w, h = box
    # As wide as the box, if that is legible.
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

    Copies keep their place below the named folder; a second copy of the same name becomes NAME_2.
    Existing files are replaced, but never a source.

    Args:
      directory: folder to write into; made if absent.
      sources: all sources of the run.
      every: stride through the frames of videos.

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
        """Writes the copy of a photograph or of the next frame of a video."""
        if seen.pixels is None:
            return
        drawn = cv2.cvtColor(annotated(seen.pixels, seen.faces), cv2.COLOR_RGB2BGR)
        place = seen.frame.place
        if seen.frame.number is None:
            ok, encoded = cv2.imencode(".jpg", drawn, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
            if not ok:
                raise RunError(f"{seen.frame.source}: the annotated copy cannot be encoded")
            target = self._target(place, ".jpg")
            with files.naming(target):
                target.write_bytes(encoded.tobytes())
            return
        if place != self._place:
            self.close()
            self._place, self._video = place, self._writer(place, drawn)
        assert self._video is not None
        self._video.write(drawn)

    def close(self) -> None:
        """Ends the current video."""
        if self._video is not None:
            self._video.release()
        self._video = None

    def _writer(self, place: int, drawn: np.ndarray) -> cv2.VideoWriter:
        target = self._target(place, ".mp4")
        source = self._sources[place]
        # A camera's copy plays at 25 frames/s, however fast its frames were predicted.
        shown = video.rate(source.name) if source.is_video else 25.0
        size = drawn.shape[1], drawn.shape[0]
        writer = cv2.VideoWriter(
            str(target), cv2.VideoWriter.fourcc(*"mp4v"), max(shown / self._every, 1.0), size
        )
        if not writer.isOpened():
            raise RunError(f"{target}: a video of {size[0]}x{size[1]} cannot be written")
        return writer

    def _target(self, place: int, suffix: str) -> Path:
        inside = self._sources[place].inside
        # OpenCV writes only UTF-8 names.
        name = str(inside.with_suffix("")).encode("utf-8", "replace").decode("utf-8", "replace")
        target, number = self._directory / f"{name}{suffix}", 1
        while target in self._taken or target.resolve() in self._kept:
            number += 1
            target = self._directory / f"{name}_{number}{suffix}"
        self._taken.add(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
