"""What is said of one face."""

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Answer:
    """One question's answer.

    Attributes:
      label: the most probable class.
      probabilities: of every class, by its name.
    """

    label: str
    probabilities: dict[str, float]

    @classmethod
    def of(cls, probabilities: dict[str, float]) -> "Answer":
        """The answer that probabilities by class give."""
        return cls(max(probabilities, key=probabilities.__getitem__), probabilities)

    def rounded(self) -> dict[str, Any]:
        """For JSON, to six digits after the point."""
        shares = {name: round(value, 6) for name, value in self.probabilities.items()}
        return {"label": self.label, "probabilities": shares}


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """How answers were averaged along a track.

    Attributes:
      share: what a frame weighs is this share of what the frame after it weighs.
      frames: how many were averaged, this one included.
    """

    share: float
    frames: int


@dataclasses.dataclass(frozen=True)
class Face:
    """One face, where it is and what the model says of it.

    Attributes:
      source: the file as it was named, "-" for standard input, or of what has no name "#" and its place.
      image: place of the image among those that were given, from 0.
      frame: of a video, from 0; None of a photograph.
      box: x, y, width and height in pixels of the upright image; parts of it may lie outside.
      detection_score: YuNet's, 0 to 1; of the Haar cascade its own sum of weights, which has no upper
        bound; None where the whole image is the face.
      age_group: None of a model that knows no ages.
      age: years, the expected age; None of a model that knows no ages.
      age_deviation: standard deviation, in years, of the distribution that the age is the mean of;
        None where the model gives no distribution.
      gender: None of a model that knows none.
      track: of a video, the number of the person followed from frame to frame, from 1.
      smoothing: where answers were averaged along the track.
      calibrated: whether the probabilities are scaled by the model's own temperatures.
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
    calibrated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The line that `python -m ageflax.predict` prints, as an object.

        `track`, `smoothing` and `calibrated` are there where they say something.
        """
        said: dict[str, Any] = {
            "source": self.source,
            "frame": self.frame,
            "box": [round(value, 1) for value in self.box],
            "detection_score": _rounded(self.detection_score),
            "age_group": self.age_group and self.age_group.rounded(),
            "age": _rounded(self.age),
            "age_deviation": _rounded(self.age_deviation),
            "gender": self.gender and self.gender.rounded(),
        }
        if self.track is not None:
            said["track"] = self.track
        if self.smoothing is not None:
            said["smoothing"] = {"kind": "exponential", **dataclasses.asdict(self.smoothing)}
        if self.calibrated:
            said["calibrated"] = True
        return said

    def to_json(self) -> str:
        """`to_dict` as one line of ASCII; bytes of a name that are no UTF-8 are lone surrogates."""
        return json.dumps(self.to_dict(), allow_nan=False)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
