"""Quality of a face's picture: the error usual for such a face, beside that expected in this picture.

A bundle carries, for each factor, the relative error by the factor's value, which only rises. It was
measured as training ended, on validation faces and on their images made worse.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from ageflax import labels, metrics
from ageflax.runtime.files import Json

# Factors read off the picture. The last, `unusual`, is the answer's own spread beside the usual one.
OF_PICTURE = ("blurred", "small", "dark", "overexposed", "grainy")
FACTORS = (*OF_PICTURE, "unusual")
# Below this quality there is a reason.
GOOD = 0.85
# Side at which sharpness is read: detail finer than that of 64 pixels tells networks little.
_SIDE, _EDGE = 64, 8
_MOST_KNOTS = 100


def measure(image: np.ndarray, side: float) -> dict[str, float]:
    """Factors of a picture; each rises as the picture gets worse.

    `blurred` is the logarithm of all contrast beside that of fine detail, `grainy` that of the finest
    detail beside all contrast, `small` the binary logarithm of the enlargement, `dark` how far below
    white the brightest tenth lies, as a logarithm, `overexposed` the share of pixels at white.

    Args:
      image: uint8[size, size, 3], RGB, the network's input before its centre crop.
      side: side in pixels of the square that the image was resized from.
    """
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE),
                      interpolation=cv2.INTER_AREA).astype(np.float32)  # fmt: skip
    inner = slice(_EDGE, _SIDE - _EDGE)
    fine, middle = (grey - cv2.GaussianBlur(grey, (0, 0), 1.0))[inner, inner], grey[inner, inner]
    # The constants stand for rounding to whole grey levels.
    finest = np.abs(cv2.Laplacian(grey, cv2.CV_32F))[inner, inner].mean()
    contrast = middle.std() + 3.0
    return {
        "blurred": -math.log((fine.std() + 0.3) / contrast),
        "small": max(math.log2(len(image) / max(side, 1.0)), 0.0),
        "dark": -math.log((np.quantile(middle, 0.9) + 1.0) / 256.0),
        "overexposed": float((middle >= 250.0).mean()),
        "grainy": math.log((finest + 0.3) / contrast),
    }


def spreads(
    probabilities: Mapping[str, np.ndarray], classes: Mapping[str, labels.Classes]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Answer and its spread for each face; None if no head for them gives a distribution.

    Those of the age in years, its std; without a head for ages, 0 and the std of the gender.

    Args:
      probabilities: float[n, classes] per task.
      classes: meaning of the columns per task.
    """
    for task in ("years", "age"):
        if task in probabilities:
            ages = metrics.ages(probabilities[task], classes[task])
            return None if ages.std is None else (ages.years, ages.std)
    shares = probabilities["gender"].astype(np.float64)
    return np.zeros(len(shares)), np.sqrt(shares.prod(1))


@dataclasses.dataclass(frozen=True)
class Line:
    """Straight lines between knots, constant beyond them.

    Attributes:
      at: ascending places.
      values: value at each.
    """

    at: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, places: Any) -> Any:
        """Interpolated values, of the places' shape."""
        return np.interp(places, self.at, self.values)

    @classmethod
    def from_json(cls, content: Any, name: str, *, least: float, rising: bool) -> "Line":
        """Checks knots [[place, value], ...].

        Raises:
          ValueError: the knots are not ascending pairs of numbers, or a value is too small or falls.
        """
        if not isinstance(content, list) or not 1 <= len(content) <= _MOST_KNOTS:
            raise ValueError(f"quality: {name}: expected 1 to {_MOST_KNOTS} knots")
        for pair in content:
            numbers = isinstance(pair, list) and all(type(each) in (int, float) for each in pair)
            if not numbers or len(pair) != 2 or not all(abs(each) < 1e6 for each in pair):
                raise ValueError(f"quality: {name}: expected pairs of numbers")
        at, values = zip(*content, strict=True)
        if any(one >= other for one, other in itertools.pairwise(at)):
            raise ValueError(f"quality: {name}: expected ascending places")
        if min(values) < least or (rising and list(values) != sorted(values)):
            raise ValueError(f"quality: {name}: expected values from {least:g} that do not fall")
        return cls(tuple(map(float, at)), tuple(map(float, values)))

    def to_json(self) -> list[list[float]]:
        """Knots [[place, value], ...], to four decimals."""
        pairs = zip(self.at, self.values, strict=True)
        return [[round(place, 4), round(value, 4)] for place, value in pairs]


def unusual_spread(usual: Line, answers: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The factor `unusual`: logarithm of a spread beside the usual one for such an answer."""
    return np.log(np.maximum(spread, 1e-4) / usual(answers))


@dataclasses.dataclass(frozen=True)
class Quality:
    """Relative errors by factor, measured on validation faces.

    Attributes:
      faces: number of faces.
      usual: usual spread of an answer by the answer; None for a model without distributions.
      errors: relative error by the value of each factor, 1 for a usual picture.
    """

    faces: int
    usual: Line | None
    errors: Mapping[str, Line]

    @classmethod
    def from_json(cls, content: Any) -> "Quality | None":
        """Checks the object `quality` of config.json, which may be absent.

        Raises:
          ValueError: the content is not one.
        """
        if content is None:
            return None
        if not isinstance(content, dict) or type(content.get("faces")) is not int:
            raise ValueError("quality: expected faces, usual and errors")
        errors, usual = content.get("errors"), content.get("usual")
        if not isinstance(errors, dict) or not errors or not errors.keys() <= set(FACTORS):
            raise ValueError(f"quality: expected errors of {', '.join(FACTORS)}")
        if (usual is None) == ("unusual" in errors):
            raise ValueError("quality: expected usual with unusual")
        return cls(
            content["faces"],
            None if usual is None else Line.from_json(usual, "usual", least=1e-4, rising=False),
            {k: Line.from_json(v, k, least=0.01, rising=True) for k, v in errors.items()},
        )

    def to_json(self) -> Json:
        """The object `quality` of config.json."""
        return {
            "faces": self.faces,
            "usual": self.usual and self.usual.to_json(),
            "errors": {name: line.to_json() for name, line in self.errors.items()},
        }

    def __call__(self, factors: Mapping[str, float]) -> tuple[float, str | None]:
        """Quality, 0 to 1, and its reason: the factor with the largest error; None if it is good.

        Args:
          factors: value of each factor, as of `measure` and `unusual_spread`.
        """
        found = {k: float(line(factors[k])) for k, line in self.errors.items() if k in factors}
        worst = max(found, key=found.__getitem__)
        quality = min(1.0 / found[worst], 1.0)
        return quality, worst if quality < GOOD else None
