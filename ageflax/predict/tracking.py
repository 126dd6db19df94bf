"""Tracks faces from frame to frame of a video and averages their predictions along the track."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from ageflax.predict.detectors import overlap
from ageflax.predict.face import AgeInterval, Answer, Face, Smoothing
from ageflax.predict.frames import Seen

# A box belongs to a track if they overlap by this, or if its centre moved by less than this share of its
# side and its size changed by less than this factor.
_OVERLAP, _MOVED, _RESIZED = 0.3, 0.7, 1.6
# A track unseen for more frames than this has ended: half a second to a second of most videos.
_PATIENCE = 15
# The scene is cut where two frames' thumbnails differ by more than this share of their brightness: 0.76
# to 1.1 at the three cuts of the clip that was examined, at most 0.36 elsewhere.
_CUT = 0.55
# Weight of a frame relative to the next one, unless another is asked for.
SHARE = 0.8
_DARK = 8.0  # grey levels; in darker scenes noise would count as a cut


@dataclasses.dataclass(eq=False)
class _Track:
    number: int
    face: Face  # the last one, averaged
    unseen: int = 0
    weight: float = 0.0  # sum of the weights averaged
    votes: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))  # by year
    frames: int = 0


def _nearness(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """0 if two boxes cannot be one face's; otherwise higher the likelier it is."""
    shared = overlap(one, other)
    sides = max(one[2:]), max(other[2:])
    moved = math.dist(
        (one[0] + one[2] / 2, one[1] + one[3] / 2),
        (other[0] + other[2] / 2, other[1] + other[3] / 2),
    ) / max(sides)
    near = moved < _MOVED and max(sides) < _RESIZED * min(sides)
    return 1.0 + shared if shared >= _OVERLAP else max(1.0 - moved, 0.01) if near else 0.0


def _moved(mean: Face, face: Face, share: float) -> Face:
    """The face, its predictions replaced by the mean's moved towards them by a share."""

    def number(old: float | None, new: float | None) -> float | None:
        return None if old is None or new is None else old + share * (new - old)

    def answer(old: Answer | None, new: Answer | None) -> Answer | None:
        if old is None or new is None:
            return None
        then, now = old.probabilities, new.probabilities
        return Answer.of({name: then[name] + share * (now[name] - then[name]) for name in now})

    return dataclasses.replace(
        face,
        age_group=answer(mean.age_group, face.age_group),
        age=number(mean.age, face.age),
        age_deviation=number(mean.age_deviation, face.age_deviation),
        gender=answer(mean.gender, face.gender),
        under={
            age: mean.under[age] + share * (now - mean.under[age])
            for age, now in face.under.items()
        },
    )


def _agreed(track: _Track, face: Face, share: float) -> AgeInterval | None:
    """Years that the intervals of most frames contain, weighed; those of the frame if there are none.

    However frames depend on each other, it misses at most twice as often as one frame's interval, and as
    often if they err together. References: Gasparin and Ramdas, Merging uncertainty sets via majority
    vote, 2024.
    """
    own = face.age_interval
    if own is None:
        return None
    votes = np.zeros(max(len(track.votes), own.high + 1))
    votes[: len(track.votes)] = share * track.votes
    votes[own.low : own.high + 1] += 1.0
    track.votes = votes
    (years,) = np.nonzero(votes > track.weight / 2)
    return dataclasses.replace(own, low=int(years[0]), high=int(years[-1])) if len(years) else own


def _cut(before: np.ndarray, now: np.ndarray) -> bool:
    bright = max((before.mean() + now.mean()) / 2, _DARK)
    return bool(np.abs(now - before).mean() > _CUT * bright)


class Tracker:
    """Follows the faces of one video.

    Boxes are matched to those of the previous frame, the nearest pair first; appearance is not compared.
    A cut ends all tracks.

    Args:
      share: weight of a frame relative to the next one in the average of a track's probabilities and
        ages; 0 disables averaging.
    """

    def __init__(self, share: float):
        self._share = share
        self._tracks: list[_Track] = []
        self._last: np.ndarray | None = None
        self._count = 0

    def __call__(self, seen: Seen) -> Seen:
        """Returns the frame with the tracks of its faces and the averages along them."""
        now, before = seen.thumbnail, self._last
        if now is not None and before is not None and _cut(before, now):
            self._tracks = []
        self._last = now
        taken = self._matched(seen.faces)
        for track in self._tracks:
            track.unseen += 1
        faces = []
        for k, face in enumerate(seen.faces):
            track = taken.get(k)
            if track is None:
                self._count += 1
                track = _Track(self._count, face)
                self._tracks.append(track)
            track.unseen = 0
            faces.append(self._averaged(track, face))
        self._tracks = [track for track in self._tracks if track.unseen <= _PATIENCE]
        return dataclasses.replace(seen, faces=tuple(faces))

    def _matched(self, faces: tuple[Face, ...]) -> dict[int, _Track]:
        """The track of each face that continues one, by the face's index."""
        near = [
            (_nearness(track.face.box, face.box), k, track)
            for k, face in enumerate(faces)
            for track in self._tracks
        ]
        taken: dict[int, _Track] = {}
        for nearness, k, track in sorted(near, key=lambda each: -each[0]):
            if nearness > 0 and k not in taken and track not in taken.values():
                taken[k] = track
        return taken

    def _averaged(self, track: _Track, face: Face) -> Face:
        if self._share:
            track.weight = self._share * track.weight + 1.0
            track.frames += 1
            face = dataclasses.replace(
                _moved(track.face, face, 1.0 / track.weight),
                smoothing=Smoothing(self._share, track.frames),
                age_interval=_agreed(track, face, self._share),
                age_intervals=(),
            )
        track.face = dataclasses.replace(face, track=track.number)
        return track.face


def followed(frames: Iterable[Seen], share: float) -> Iterator[Seen]:
    """Tracks the faces of each video separately; photographs pass through unchanged.

    Args:
      frames: predicted frames, those of a video in sequence.
      share: see Tracker.
    """
    place, tracker = -1, Tracker(share)
    for seen in frames:
        if seen.frame.number is None or seen.failure is not None:
            yield seen
            continue
        if seen.frame.place != place:
            place, tracker = seen.frame.place, Tracker(share)
        yield tracker(seen)
