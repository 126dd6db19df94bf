"""Which face the label of a photograph means, and the ages that it allows."""

import math

import pytest

from ageflax.predict import Face
from ageflax.predict.photographs.choice import Photograph, labelled_face
from tfds_builders.labeled_faces import rows


def face(x, y, width, height):
    box = (float(x), float(y), float(width), float(height))
    return Face("#0", 0, None, box, 0.9, None, None, None, None)


@pytest.mark.parametrize(
    ("boxes", "chosen"),
    [
        ([(0, 0, 10, 10)], 0),
        ([(80, 60, 40, 40), (85, 65, 30, 30)], 0),  # both in the middle: the larger
        ([(80, 60, 40, 40), (160, 0, 40, 40)], 0),  # equally large: the nearer to the middle
        ([(0, 0, 50, 50), (85, 65, 30, 30)], 1),  # a larger one at the edge
        ([(-20, 10, 150, 150), (85, 65, 30, 30)], 0),  # one that fills the image
        ([(0, 60, 40, 40), (160, 60, 40, 40)], 0),  # a draw: the left one
    ],
)
def test_the_labelled_face_is_large_and_near_the_middle(boxes, chosen):
    faces = [face(*box) for box in boxes]
    assert labelled_face(faces, (160, 200)) is faces[chosen]


@pytest.mark.parametrize(
    ("cells", "ages"),
    [
        ({"age": "26"}, (26, 26)),
        ({"age": "26.5", "age_group": "20-29"}, (26.5, 26.5)),
        ({"age_group": "20-29"}, (20, 29)),
        ({"age_group": "35"}, (35, 35)),
        ({"age_group": "more than 70"}, (70, math.inf)),
        ({"age_group": "under 3"}, (0, 3)),
        ({"age_group": "(25, 23)"}, (23, 25)),
    ],
)
def test_ages_that_a_label_allows(cells, ages):
    label = rows.parse(rows.Line(2, {"path": "a.jpg", **cells}))
    assert Photograph(label).ages == ages


def test_a_gender_alone_allows_any():
    label = rows.parse(rows.Line(2, {"path": "a.jpg", "gender": "f"}))
    assert all(map(math.isnan, Photograph(label).ages))
