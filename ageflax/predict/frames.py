"""Frames through detector and model: threads ahead, faces of many frames in one batch, order kept."""

import collections
import dataclasses
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from ageflax.data import images
from ageflax.predict.alignment import Framing
from ageflax.predict.detectors.yunet import Detection, Detector
from ageflax.predict.estimator import Estimate, Estimator
from ageflax.predict.face import Face

# Faces wait for each other until there are so many, or so many frames or bytes of pixels.
_FACES, _FRAMES, _BYTES = 32, 64, 200_000_000
_MOST_WORKERS = 8

T = TypeVar("T")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Failure:
    """In place of a frame that cannot be had; the reason, in a few words."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Frame:
    """An image to look at.

    Attributes:
      source: its name, see Face.source.
      place: of the source among those that were given.
      number: of a video's frame, from 0; None of a photograph.
      content: the file, its bytes, its pixels uint8[h, w, 3] RGB, or why there are none.
    """

    source: str
    place: int
    number: int | None
    content: Path | bytes | np.ndarray | Failure


@dataclasses.dataclass(frozen=True)
class Seen:
    """A frame that was looked at.

    Attributes:
      frame: which; its content is let go.
      faces: from the left to the right.
      failure: why it could not be read; None where it could.
      pixels: uint8[h, w, 3], RGB, where they were to be kept.
      thumbnail: float32[9, 16, 3], by which the cuts of a video are told; None of photographs.
    """

    frame: Frame
    faces: tuple[Face, ...]
    failure: str | None = None
    pixels: np.ndarray | None = None
    thumbnail: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class _Looked:
    seen: Seen
    detections: Sequence[Detection]
    crops: Sequence[np.ndarray]


def workers_here() -> int:
    """Threads that look ahead: one a core that this process may use, at most eight."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(usable or 1, _MOST_WORKERS))


def ahead(
    items: Iterable[T], function: Callable[[T], R], *, workers: int, most: int
) -> Iterator[R]:
    """Results of a function in the order of the items, at most so many begun and not yet taken."""
    waiting: collections.deque[Future[R]] = collections.deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="look") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _pixels(content: Path | bytes | np.ndarray) -> np.ndarray:
    if isinstance(content, Path):
        content = images.read(content)
    return images.decode(content) if isinstance(content, bytes) else content


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, (16, 9), interpolation=cv2.INTER_AREA).astype(np.float32)


def _look(
    frame: Frame, detector: Detector, framing: Framing, *, keep: bool, fast: bool | None
) -> _Looked:
    """Decodes a frame, finds its faces and cuts them out."""
    bare = dataclasses.replace(frame, content=b"")
    if isinstance(frame.content, Failure):
        return _Looked(Seen(bare, (), frame.content.reason), (), ())
    try:
        pixels = _pixels(frame.content)
    except images.BadImageError as error:
        return _Looked(Seen(bare, (), error.reason), (), ())
    moving = frame.number is not None
    coarse, aligned = moving if fast is None else fast, framing.eyes is not None
    found = detector(pixels, fast=coarse, closely=aligned)
    seen = Seen(
        bare,
        (),
        pixels=pixels if keep else None,
        thumbnail=_thumbnail(pixels) if moving else None,
    )
    return _Looked(seen, found, [framing.cut(pixels, one) for one in found])


def _face(frame: Frame, detection: Detection, estimate: Estimate, *, calibrated: bool) -> Face:
    return Face(
        source=frame.source,
        image=frame.place,
        frame=frame.number,
        box=detection.box,
        detection_score=detection.score,
        age_group=estimate.age_group,
        age=estimate.age,
        age_deviation=estimate.age_deviation,
        gender=estimate.gender,
        calibrated=calibrated,
    )


def _answered(estimator: Estimator, waiting: Sequence[_Looked]) -> Iterator[Seen]:
    """The model's answers for the faces of some frames, which go through it together."""
    crops = [crop for looked in waiting for crop in looked.crops]
    estimates = iter(estimator(np.stack(crops)) if crops else ())
    for looked in waiting:
        faces = tuple(
            _face(looked.seen.frame, one, next(estimates), calibrated=estimator.calibrated)
            for one in looked.detections
        )
        yield dataclasses.replace(looked.seen, faces=faces)


def stream(
    frames: Iterable[Frame],
    detector: Detector,
    estimator: Estimator,
    *,
    workers: int | None = None,
    keep: bool = False,
    live: bool = False,
    fast: bool | None = None,
) -> Generator[Seen, None, None]:
    """Looks at frames, in their order; memory does not grow with their number.

    Args:
      frames: taken as they are needed.
      detector: finds faces.
      estimator: says what they are.
      workers: threads that decode and detect ahead of the model; by default one a core.
      keep: hand the pixels on.
      live: answer each frame at once, and not when there are faces enough for a batch.
      fast: look once and coarsely; by default at the frames of videos.

    Raises:
      RunError: the model fails. An unreadable frame is no error here; its Seen has the reason.
    """
    workers = workers or workers_here()

    def look(frame: Frame) -> _Looked:
        return _look(frame, detector, estimator.framing, keep=keep, fast=fast)

    waiting: list[_Looked] = []
    faces = held = 0
    most = workers if live else 2 * workers + 2
    for looked in ahead(frames, look, workers=workers, most=most):
        waiting.append(looked)
        faces += len(looked.crops)
        held += 0 if looked.seen.pixels is None else looked.seen.pixels.nbytes
        if live or faces >= _FACES or len(waiting) >= _FRAMES or held >= _BYTES:
            yield from _answered(estimator, waiting)
            waiting, faces, held = [], 0, 0
    yield from _answered(estimator, waiting)
