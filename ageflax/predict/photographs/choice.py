"""A labelled photograph with the model's answer, and the choice of the face that its label means."""

import dataclasses
import math
from collections.abc import Sequence

from ageflax import labels
from ageflax.predict.face import Face
from tfds_builders.labeled_faces.rows import Face as Label

NO_FACE = "no face"


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A labelled photograph with the model's answer.

    Attributes:
      label: its row.
      face: the face that the label is taken to mean; None if there is none.
      found: number of detected faces.
      reason: why it could not be read, or NO_FACE; "" if there is an answer.
      detail: explanation of the reason, if there is more to say.
    """

    label: Label
    face: Face | None = None
    found: int = 0
    reason: str = ""
    detail: str = ""

    @property
    def ages(self) -> tuple[float, float]:
        """Youngest and oldest age that the label allows, equal if it is one age; NaN if unknown."""
        if not math.isnan(self.label.age):
            return self.label.age, self.label.age
        if not self.label.age_group:
            return math.nan, math.nan
        low, high = labels.bounds(self.label.age_group)
        return min(low, high), max(low, high)  # Adience has a "(25, 23)"


def labelled_face(faces: Sequence[Face], size: tuple[int, int]) -> Face:
    """Chooses the face that the label of a photograph is taken to mean: large and near the middle.

    The box with the largest area less twice the squared distance of its centre from the image's, as
    InsightFace's FaceAnalysis chooses. Of 70 photographs of FairFace with several faces this is the
    labelled one in all; the largest alone is another in 5, the one of the highest score in 13.

    Args:
      faces: detected faces, at least one.
      size: height and width of the image, in pixels.
    """

    def weight(face: Face) -> float:
        x, y, width, height = face.box
        across, down = x + (width - size[1]) / 2, y + (height - size[0]) / 2
        return width * height - 2 * (across**2 + down**2)

    return max(faces, key=weight)
