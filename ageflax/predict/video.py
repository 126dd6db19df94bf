"""Frames of video files and cameras, through OpenCV."""

import os
import queue
import stat
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A playlist or a stream's description may name other files and addresses; only the file itself is read.
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")
# What is wrong with a file is said once, by us.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np

from ageflax.data import images
from ageflax.errors import InputError
from ageflax.predict.frames import Failure, Frame

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# Below this share of the frames that its header states, a video was cut short; headers may be a little
# wrong of whole ones.
_WHOLE = 0.9


@contextmanager
def _opened(name: str) -> Iterator[cv2.VideoCapture]:
    """A video file; raises images.BadImageError where there is none.

    OpenCV takes names that are UTF-8; others are opened here and named by their number.
    """
    try:
        status = Path(name).stat()
    except OSError as error:
        raise images.BadImageError("absent") from error
    if not stat.S_ISREG(status.st_mode):
        raise images.BadImageError("absent")
    if not status.st_size:
        raise images.BadImageError("empty")
    descriptor = -1
    try:
        try:
            name.encode()
            readable = str(Path(name).absolute())
        except UnicodeEncodeError:
            descriptor = os.open(name, os.O_RDONLY)
            readable = f"/proc/self/fd/{descriptor}"
        capture = cv2.VideoCapture(readable, cv2.CAP_FFMPEG)
        try:
            if not capture.isOpened():
                raise images.BadImageError("not a video that can be read")
            size = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
            if size > images.MAX_PIXELS:
                raise images.BadImageError("too large")
            yield capture
        finally:
            capture.release()
    except OSError as error:
        raise images.BadImageError("unreadable") from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _stated(capture: cv2.VideoCapture) -> int | None:
    """Frames that the header states, where it does."""
    stated = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(stated) if 0 < stated < 1e9 else None


def length(name: str) -> int | None:
    """Frames of a video as its header states them; None where it does not, 0 of what is no video."""
    try:
        with _opened(name) as capture:
            return _stated(capture)
    except images.BadImageError:
        return 0


def rate(name: str) -> float:
    """Frames a second, as the header states them; 25 where it does not."""
    try:
        with _opened(name) as capture:
            stated = capture.get(cv2.CAP_PROP_FPS)
    except images.BadImageError:
        return 25.0
    return stated if 0.1 < stated < 1000 else 25.0


def frames(name: str, place: int, every: int) -> Generator[Frame, None, None]:
    """Each N-th frame of a video file, from the first; at last why it ended early, if it did."""
    try:
        with _opened(name) as capture:
            number = 0
            while capture.grab():
                if number % every == 0:
                    ok, pixels = capture.retrieve()
                    if not ok:
                        break
                    yield Frame(name, place, number, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
                number += 1
            stated = _stated(capture)
    except images.BadImageError as error:
        yield Frame(name, place, None, Failure(error.reason))
        return
    if not number:
        yield Frame(name, place, None, Failure("a video without a frame that can be read"))
    elif stated and number < _WHOLE * stated:
        reason = f"ends after {number} of the {stated} frames that it states"
        yield Frame(name, place, number, Failure(reason))


def camera(index: int, every: int) -> Generator[Frame, None, None]:
    """The newest frame of a camera each time one is asked for; those in between are dropped.

    Args:
      index: of the camera.
      every: of the frames that the camera gives, each N-th.

    Raises:
      InputError: there is no such camera.
    """
    capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        capture.release()
        raise InputError(f"--webcam={index}: no such camera, or it is in use")
    yield from newest(capture, f"webcam:{index}", every)


def newest(capture: cv2.VideoCapture, name: str, every: int) -> Generator[Frame, None, None]:
    """As `camera`, of anything that gives frames; ends where they end."""
    slot: queue.Queue[tuple[int, np.ndarray] | None] = queue.Queue(1)
    over = threading.Event()

    def put(item: tuple[int, np.ndarray] | None) -> None:
        """Replaces what nobody has taken yet."""
        while True:
            try:
                slot.put_nowait(item)
                return
            except queue.Full:
                with suppress(queue.Empty):
                    slot.get_nowait()

    def read() -> None:
        number = 0
        while not over.is_set() and capture.grab():
            if number % every == 0:
                ok, pixels = capture.retrieve()
                if not ok:
                    break
                put((number, pixels))
            number += 1
        # The last frame is still to be seen.
        while not over.is_set():
            try:
                slot.put(None, timeout=0.1)
                return
            except queue.Full:
                continue

    reader = threading.Thread(target=read, name="camera", daemon=True)
    reader.start()
    try:
        while (item := slot.get()) is not None:
            number, pixels = item
            yield Frame(name, 0, number, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    finally:
        over.set()
        reader.join(5.0)
        capture.release()
