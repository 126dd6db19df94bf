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
from ageflax.predict import containers
from ageflax.predict.frames import Failure, Frame

# A video with less than this share of the frames that its container states is damaged; complete ones may
# be slightly fewer.
_WHOLE = 0.9
# Frames per second that FFmpeg gives to a picture that is no stream of frames.
_PICTURE = 90_000


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
                raise images.BadImageError(_missing(name, 0) or "not a video that can be read")
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


def _missing(name: str, read: int) -> str | None:
    """Reason why a video ended early, by what its container states; None if it is complete."""
    try:
        said, has = containers.stated(name), Path(name).stat().st_size
    except OSError:
        return None
    if said.size and said.size > has:
        after = f" ({read} frames were read)" if read else ""
        return f"cut short: {has:,} bytes of at least {said.size:,} by its container{after}"
    if said.frames and read < _WHOLE * said.frames:
        return f"damaged: {read} of the {said.frames} frames that its container states were read"
    return None


def _is_single(name: str) -> bool:
    """True for a video of a single frame."""
    with _opened(name) as capture:
        return capture.grab() and not capture.grab()


def length(name: str) -> int | None:
    """Number of frames of a video, perhaps an estimate; None if unknown, 0 if it is not a video."""
    try:
        with _opened(name) as capture:
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            return int(count) if 0 < count < 1e9 else None
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
    """Yields every N-th frame of a video file; then a Failure if it ended early.

    Frames are upright: OpenCV rotates them as the file says.
    """
    try:
        with _opened(name) as capture:
            if capture.get(cv2.CAP_PROP_FPS) >= _PICTURE and _is_single(name):
                raise images.BadImageError("a sound file, whose only picture is its cover")
            number = 0
            while capture.grab():
                if number % every == 0:
                    seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                    seconds = seconds if 0 <= seconds < 1e7 else None
                    ok, pixels = capture.retrieve()
                    if not ok:
                        break
                    yield Frame(
                        name, place, number, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), seconds
                    )
                number += 1
        missing = _missing(name, number)
    except images.BadImageError as error:
        yield Frame(name, place, None, Failure(error.reason))
        return
    if not number:
        yield Frame(name, place, None, Failure(missing or "a video without a readable frame"))
    elif missing:
        yield Frame(name, place, number, Failure(missing))


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
