import numpy as np
import pytest

from ageflax.data import subjects
from ageflax.data.dataset import Faces

NOTICE = (
    "no face has a subject: each counts as a subject of its own, so one person may be in two folds"
)


def faces(*names: str) -> Faces:
    count = len(names)
    return Faces(
        keys=np.array([f"{k}.png" for k in range(count)], object),
        subjects=np.array(names, object),
        folds=np.arange(count),
        age_labels=np.full(count, "", object),
        ages=np.full(count, np.nan, np.float32),
        genders=np.full(count, -1),
        scores=np.full(count, np.nan, np.float32),
    )


def test_the_builds_own_words_are_passed_on():
    metadata = {"subjects_given": "some", "without_subject": 3, "subjects_notice": "three lack one"}
    expected = {"given": "some", "without": 3, "notice": "three lack one"}
    assert subjects.described(metadata, faces("Ann", "Bob")) == expected


@pytest.mark.parametrize(
    ("names", "given", "without", "notice"),
    [
        (("Ann", "Bob", "Ann"), "all", 0, ""),
        (("face of 0.png", "face of 1.png"), "none", 2, NOTICE),
        (
            ("Ann", "face of 1.png"),
            "some",
            1,
            NOTICE.replace("no face has a subject", "1 of 2 faces have no subject"),
        ),
    ],
)
def test_of_an_older_build_the_subjects_themselves_tell(names, given, without, notice):
    for metadata in ({}, {"subjects": 2}, {"subjects_given": 5}):
        found = subjects.described(metadata, faces(*names))
        assert found == {"given": given, "without": without, "notice": notice}
