"""Reads the frames of video files and cameras with OpenCV."""

import os
import queue
import stat
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from ageflax.data import images
from ageflax.errors import InputError
from ageflax.predict.frames import Failure, Frame

# A video with less than this share of the frames that its header states was cut short; headers of
# complete videos may be slightly wrong.
_WHOLE = 0.9


@contextmanager
def _opened(name: str) -> Iterator[cv2.VideoCapture]:
    """Opens a video file; raises images.BadImageError if it is not one.

    OpenCV takes only UTF-8 names; files with others are opened here and passed by descriptor.
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
    """Number of frames that the header states; None if it does not."""
    stated = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(stated) if 0 < stated < 1e9 else None


def length(name: str) -> int | None:
    """Number of frames that a video's header states; None if it does not, 0 if it is not a video."""
    try:
        with _opened(name) as capture:
            return _stated(capture)
    except images.BadImageError:
        return 0


def rate(name: str) -> float:
    """Frames per second that a video's header states; 25 if it does not."""
    try:
        with _opened(name) as capture:
            stated = capture.get(cv2.CAP_PROP_FPS)
    except images.BadImageError:
        return 25.0
    return stated if 0.1 < stated < 1000 else 25.0


def frames(name: str, place: int, every: int) -> Generator[Frame, None, None]:
    """Yields every N-th frame of a video file; then a Failure if it ended early."""
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
        yield Frame(name, place, None, Failure("a video without a readable frame"))
    elif stated and number < _WHOLE * stated:
        reason = f"ends after {number} of the {stated} frames its header states"
        yield Frame(name, place, number, Failure(reason))


def camera(index: int, every: int) -> Generator[Frame, None, None]:
    """Yields the newest frame of a camera each time one is requested; those in between are dropped.

    Args:
      index: index of the camera.
      every: stride through the camera's frames.

    Raises:
      InputError: the camera is absent or in use.
    """
    capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        capture.release()
        raise InputError(f"--webcam={index}: no such camera, or it is in use")
    yield from newest(capture, f"webcam:{index}", every)


def newest(capture: cv2.VideoCapture, name: str, every: int) -> Generator[Frame, None, None]:
    """Yields the newest frames of an open capture, as `camera` does, until it ends."""
    slot: queue.Queue[tuple[int, np.ndarray] | None] = queue.Queue(1)
    over = threading.Event()

    def put(item: tuple[int, np.ndarray] | None) -> None:
        """Puts an item in the slot, in place of one not taken yet."""
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
        # The last frame is not replaced: wait until it is taken.
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
