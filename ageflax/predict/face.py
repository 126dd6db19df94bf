"""Face, the prediction for one face, as an object and as a line of JSON."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np

from ageflax import labels
from ageflax.bundle.description import Description
from ageflax.runtime.files import Json


@dataclasses.dataclass(frozen=True)
class Answer:
    """A predicted class.

    Attributes:
      label: the most probable class.
      probabilities: probability of each class, by name.
    """

    label: str
    probabilities: dict[str, float]

    @classmethod
    def of(cls, probabilities: dict[str, float]) -> "Answer":
        """Makes the answer from the probability of each class."""
        return cls(max(probabilities, key=probabilities.__getitem__), probabilities)

    def rounded(self) -> Json:
        """As an object for JSON, to six decimals."""
        shares = {name: round(value, 6) for name, value in self.probabilities.items()}
        return {"label": self.label, "probabilities": shares}


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """Averaging of predictions along a track.

    Attributes:
      share: weight of a frame relative to the next one.
      frames: number of frames averaged so far.
    """

    share: float
    frames: int


# Level of Face.age_interval unless another is asked for.
INTERVAL = 0.8


@dataclasses.dataclass(frozen=True)
class AgeInterval:
    """Whole years that contain the age of a `level` share of people of any age; see metrics.conformal.

    That is promised for people and photographs like those that the model was calibrated on.

    Attributes:
      level: share of people.
      low: first year, or that of an age group.
      high: last year; the model's last, 100, stands for all above.
    """

    level: float
    low: int
    high: int


@dataclasses.dataclass(frozen=True)
class Face:
    """A detected face with the model's prediction.

    Attributes:
      source: the file as it was named, "-" for standard input, "#" and its index if it has no name.
      image: index of the image among those given, from 0.
      frame: index of a video's frame, from 0; None for a photograph.
      box: x, y, width and height in pixels of the upright image; may reach beyond it.
      detection_score: YuNet's or MTCNN's, 0 to 1; Haar's sum of weights, unbounded; None if the whole
        image is the face.
      age_group: predicted age group; None if the model predicts no ages.
      age: expected age in years; None if the model predicts no ages.
      age_deviation: standard deviation of the age's distribution, in years; None if the model predicts
        no distribution.
      gender: predicted gender; None if the model predicts none.
      track: ID of the face followed through a video, from 1.
      smoothing: averaging along the track, if any.
      seconds: time of a video's frame from the start; None for photographs and cameras.
      calibrated: True if the model's own temperatures scale the probabilities.
      age_interval: interval of the age at the level that was asked for; None without a calibration.
        Along a track, the years that most frames' intervals contain, weighed as for `smoothing`.
      age_intervals: intervals at every level of the model, ascending; not part of the line.
      under: probability of being under each age that was asked for, see metrics.under; not scaled by
        temperatures.
      quality: quality of the picture, 0 to 1: the model's usual error for such a face, beside that
        expected in this picture; None for a model that carries no measure of it.
      quality_reason: reason of a low quality: blurred, small, dark, overexposed, grainy (also drawn),
        turned, or unusual (such as covered, drawn, or cut badly); None of a good picture.
      features: float32[f], the output of the model's trunk, if asked for; not part of the line.
    """

    source: str
    image: int
    frame: int | None
    box: tuple[float, float, float, float]
    detection_score: float | None
    age_group: Answer | None
    age: float | None
    age_deviation: float | None
    gender: Answer | None
    track: int | None = None
    smoothing: Smoothing | None = None
    seconds: float | None = None
    calibrated: bool = False
    age_interval: AgeInterval | None = None
    age_intervals: tuple[AgeInterval, ...] = dataclasses.field(default=(), repr=False)
    under: dict[int, float] = dataclasses.field(default_factory=dict)
    quality: float | None = None
    quality_reason: str | None = None
    features: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)

    def to_dict(self) -> Json:
        """The line that `python -m ageflax.predict` prints, as an object.

        `age_interval`, `probability_under_AGE`, `quality`, `quality_reason`, `seconds`, `track`,
        `smoothing` and `calibrated` are absent where they do not apply.
        """
        record: Json = {
            "source": self.source,
            "frame": self.frame,
            "box": [round(value, 1) for value in self.box],
            "detection_score": _rounded(self.detection_score),
            "age_group": self.age_group and self.age_group.rounded(),
            "age": _rounded(self.age),
            "age_deviation": _rounded(self.age_deviation),
            "gender": self.gender and self.gender.rounded(),
        }
        if self.age_interval is not None:
            record["age_interval"] = dataclasses.asdict(self.age_interval)
        record |= {under_name(age): round(value, 6) for age, value in self.under.items()}
        if self.quality is not None:
            record |= {"quality": _rounded(self.quality), "quality_reason": self.quality_reason}
        if self.seconds is not None:
            record["seconds"] = round(self.seconds, 3)
        if self.track is not None:
            record["track"] = self.track
        if self.smoothing is not None:
            record["smoothing"] = {"kind": "exponential", **dataclasses.asdict(self.smoothing)}
        if self.calibrated:
            record["calibrated"] = True
        return record

    def to_json(self) -> str:
        """`to_dict` as one line of ASCII; bytes of a name that are not UTF-8 become lone surrogates."""
        return json.dumps(self.to_dict(), allow_nan=False)


@dataclasses.dataclass(frozen=True)
class Unread:
    """An image that could not be read.

    Attributes:
      source, image, frame: see Face.
      reason: its fault, in a few words.
    """

    source: str
    image: int
    frame: int | None
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


def under_name(age: int) -> str:
    """Name of the probability of being under an age, in lines and tables."""
    return f"probability_under_{age}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def classes_of(description: Description) -> dict[str, Sequence[str]]:
    """Class names of a face's answers, `age_group` and `gender`, as far as a model gives them."""
    heads, classes = description.heads, {}
    if "age" in heads or "years" in heads:
        classes["age_group"] = labels.group_names(description.intervals)
    if "gender" in heads:
        classes["gender"] = heads["gender"]
    return classes
