"""Runs frames through detector and model: threads ahead, faces of many frames in one batch, in order."""

import collections
import dataclasses
import functools
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from ageflax.bundle import quality
from ageflax.data import images
from ageflax.predict.alignment import is_turned
from ageflax.predict.detectors import Detection, Detector
from ageflax.predict.estimator import Estimate, Estimator
from ageflax.predict.face import Face

# A batch goes to the model once it has this many faces, frames, or bytes of kept pixels.
_FACES, _FRAMES, _BYTES = 32, 64, 200_000_000
_MAX_WORKERS = 8
# Of 3,000 face photographs and 365 faces in other photographs, 0.06 % are bluer than red by more than
# this share of their brightness; with red and blue swapped, 95 %.
_BLUER = 0.04

T = TypeVar("T")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Failure:
    """Stands in for a frame that cannot be read; `reason` is a few words."""

    reason: str


# A file, its bytes, pixels uint8[h, w, 3] RGB, or the reason why there are none.
Content = Path | bytes | np.ndarray | Failure


@dataclasses.dataclass(frozen=True)
class Frame:
    """An image to predict.

    Attributes:
      source: name of the source, see Face.source.
      place: index of the source among those given.
      number: index of a video's frame, from 0; None for a photograph.
      content: see Content.
      seconds: time of a video's frame from the start; None for photographs and cameras.
    """

    source: str
    place: int
    number: int | None
    content: Content
    seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Seen:
    """A predicted frame.

    Attributes:
      frame: the frame, its content released.
      faces: its faces, from left to right.
      failure: reason why it could not be read; None if it could.
      pixels: uint8[h, w, 3], RGB, if they were to be kept.
      thumbnail: float32[9, 16, 3], by which cuts of a video are detected; None for photographs.
      size: height and width of the upright image, in pixels; None if it could not be read.
      left_out: faces of less than the quality asked for.
      bluer: True if the pixels were given, and a face is bluer than faces are.
    """

    frame: Frame
    faces: tuple[Face, ...]
    failure: str | None = None
    pixels: np.ndarray | None = None
    thumbnail: np.ndarray | None = None
    size: tuple[int, int] | None = None
    left_out: tuple[Face, ...] = ()
    bluer: bool = False


class LeftOut:
    """Counts the faces that were left out for their quality, by reason.

    Args:
      min_quality: quality that was asked for.
    """

    def __init__(self, min_quality: float):
        self._min_quality = min_quality
        self._reasons: collections.Counter[str] = collections.Counter()

    def add(self, seen: Seen) -> None:
        """Counts those of a frame."""
        self._reasons.update(face.quality_reason or "all but good" for face in seen.left_out)

    @property
    def line(self) -> str:
        """Line for the user; empty if there is none."""
        count = self._reasons.total()
        if not count:
            return ""
        reasons = ", ".join(f"{n} {reason}" for reason, n in self._reasons.most_common())
        faces = f"{count} face{'s' * (count != 1)}"
        return f"{faces} left out, of less than --min_quality={self._min_quality:g}: {reasons}"


@dataclasses.dataclass(frozen=True)
class _Prepared:
    seen: Seen
    detections: Sequence[Detection] = ()
    crops: Sequence[np.ndarray] = ()
    factors: Sequence[Mapping[str, float]] = ()


def workers_here() -> int:
    """Threads that decode and detect: one per core available to this process, at most eight."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(usable or 1, _MAX_WORKERS))


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads of the whole process: OpenCV loses half a kilobyte for every thread that has called it."""
    return ThreadPoolExecutor(workers, thread_name_prefix="predict")


def map_ahead(
    items: Iterable[T], function: Callable[[T], R], *, workers: int, limit: int
) -> Iterator[R]:
    """Results of a function in the order of the items, computed ahead by threads.

    Args:
      items: iterable, consumed as needed.
      function: applied to each item.
      workers: number of threads; 1 for the caller's own.
      limit: largest number of items in progress or waiting to be taken.
    """
    if workers == 1:
        yield from map(function, items)
        return
    waiting: collections.deque[Future[R]] = collections.deque()
    pool = _pool(workers)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        wait([future for future in waiting if not future.cancel()])


def _pixels(content: Path | bytes | np.ndarray) -> np.ndarray:
    if isinstance(content, Path):
        content = images.read(content)
    return images.decode(content) if isinstance(content, bytes) else content


def _prepare(
    frame: Frame, detector: Detector, estimator: Estimator, *, keep: bool, fast: bool | None
) -> _Prepared:
    """Decodes a frame, finds its faces and cuts them out."""
    framing = estimator.framing
    bare = dataclasses.replace(frame, content=b"")
    if isinstance(frame.content, Failure):
        return _Prepared(Seen(bare, (), frame.content.reason))
    try:
        pixels = _pixels(frame.content)
    except images.BadImageError as error:
        return _Prepared(Seen(bare, (), error.said))
    moving, thumbnail = frame.number is not None, None
    if moving:
        thumbnail = cv2.resize(pixels, (16, 9), interpolation=cv2.INTER_AREA).astype(np.float32)
    # Only alignment needs exact eyes.
    found = detector(
        pixels, fast=moving if fast is None else fast, closely=framing.eyes is not None
    )
    height, width = pixels.shape[:2]
    seen = Seen(
        bare, (), pixels=pixels if keep else None, thumbnail=thumbnail, size=(height, width)
    )
    crops = [framing.cut(pixels, one) for one in found]
    if isinstance(frame.content, np.ndarray) and not moving and any(map(_is_blue, crops)):
        seen = dataclasses.replace(seen, bluer=True)
    factors = []
    if estimator.quality is not None:
        factors = [
            quality.measure(crop, framing.side(pixels, one))
            for crop, one in zip(crops, found, strict=True)
        ]
    return _Prepared(seen, found, crops, factors)


def _is_blue(crop: np.ndarray) -> bool:
    """True if the middle of a face is bluer than red, as where the two channels are swapped."""
    third = len(crop) // 3
    red, green, blue = crop[third : 2 * third + 1, third : 2 * third + 1].mean((0, 1))
    return bool(blue - red > _BLUER * max(red + green + blue, 30.0))


def _face(frame: Frame, detection: Detection, estimate: Estimate, estimator: Estimator) -> Face:
    at_level = (one for one in estimate.age_intervals if one.level == estimator.interval)
    worth, reason = estimate.quality or (None, None)
    if reason == "unusual" and is_turned(detection):
        reason = "turned"
    return Face(
        source=frame.source,
        image=frame.place,
        frame=frame.number,
        seconds=frame.seconds,
        box=detection.box,
        detection_score=detection.score,
        age_group=estimate.age_group,
        age=estimate.age,
        age_deviation=estimate.age_deviation,
        gender=estimate.gender,
        calibrated=estimator.calibrated,
        age_interval=next(at_level, None),
        age_intervals=estimate.age_intervals,
        under=estimate.under,
        quality=worth,
        quality_reason=reason,
        features=estimate.features,
    )


def _predicted(
    estimator: Estimator, batch: Sequence[_Prepared], *, features: bool, min_quality: float
) -> Iterator[Seen]:
    """Frames with their faces, which go through the model together."""
    factors = [each for prepared in batch for each in prepared.factors]
    crops = [crop for prepared in batch for crop in prepared.crops]
    estimates = iter(
        estimator(np.stack(crops), features=features, factors=factors) if crops else ()
    )
    for prepared in batch:
        faces = tuple(
            _face(prepared.seen.frame, one, next(estimates), estimator)
            for one in prepared.detections
        )
        low = tuple(face for face in faces if (face.quality or 0.0) < min_quality)
        kept = tuple(face for face in faces if face not in low) if low else faces
        yield dataclasses.replace(prepared.seen, faces=kept, left_out=low)


def stream(
    frames: Iterable[Frame],
    detector: Detector,
    estimator: Estimator,
    *,
    workers: int | None = None,
    keep: bool = False,
    live: bool = False,
    fast: bool | None = None,
    features: bool = False,
    min_quality: float = 0.0,
) -> Generator[Seen, None, None]:
    """Predicts frames in their order; memory does not grow with their number.

    Args:
      frames: iterable, consumed as needed.
      detector: finds faces.
      estimator: predicts age and gender.
      workers: threads that decode and detect ahead of the model; by default one per core.
      keep: True to pass the pixels on.
      live: True to predict each frame at once instead of waiting for a full batch.
      fast: True to detect at one coarse scale; by default for the frames of videos.
      features: True to give each face the model's features.
      min_quality: lowest quality of a face; others are in Seen.left_out.

    Raises:
      InputError: features of a model that gives none.
      RunError: the model fails. An unreadable frame raises nothing; its Seen has the reason.
    """
    workers = workers or workers_here()

    def prepare(frame: Frame) -> _Prepared:
        return _prepare(frame, detector, estimator, keep=keep, fast=fast)

    batch: list[_Prepared] = []
    faces = held = 0
    limit = workers if live else 2 * workers + 2
    for prepared in map_ahead(frames, prepare, workers=workers, limit=limit):
        batch.append(prepared)
        faces += len(prepared.crops)
        held += 0 if prepared.seen.pixels is None else prepared.seen.pixels.nbytes
        if live or faces >= _FACES or len(batch) >= _FRAMES or held >= _BYTES:
            yield from _predicted(estimator, batch, features=features, min_quality=min_quality)
            batch, faces, held = [], 0, 0
    yield from _predicted(estimator, batch, features=features, min_quality=min_quality)
