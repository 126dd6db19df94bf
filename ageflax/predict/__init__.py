"""Prediction: finds the faces of a photograph, cuts them out as in training, predicts age and gender.

    predictor = ageflax.predict.Predictor()
    for face in predictor(["family.jpg"]):
        print(face.box, face.age, face.gender)

Public names are imported at first use: `python -m ageflax.predict --help` runs this file and should not
wait for JAX.
"""

from typing import TYPE_CHECKING

from ageflax.runtime import lazy

if TYPE_CHECKING:
    from ageflax.predict.alignment import Framing
    from ageflax.predict.annotation import annotated
    from ageflax.predict.detectors import Detection, Detector, open_detector
    from ageflax.predict.face import Answer, Face, Smoothing, Unread
    from ageflax.predict.frames import Frame, Seen, stream
    from ageflax.predict.predictor import Predictor
    from ageflax.predict.tracking import Tracker

__all__ = [
    "Answer",
    "Detection",
    "Detector",
    "Face",
    "Frame",
    "Framing",
    "Predictor",
    "Seen",
    "Smoothing",
    "Tracker",
    "Unread",
    "annotated",
    "open_detector",
    "stream",
]

__getattr__ = lazy.attach(
    __name__,
    {
        "annotated": "annotation",
        "Framing": "alignment",
        **dict.fromkeys(("Detection", "Detector", "open_detector"), "detectors"),
        **dict.fromkeys(("Answer", "Face", "Smoothing", "Unread"), "face"),
        **dict.fromkeys(("Frame", "Seen", "stream"), "frames"),
        "Predictor": "predictor",
        "Tracker": "tracking",
    },
)
