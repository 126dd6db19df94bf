"""Small databases, written for each test."""

from pathlib import Path

import numpy as np
import pytest

from .dummy_tree import BORN, Face, lay_out

# Ten subjects of wiki; the last record has the name of the first in another spelling.
WIKI = [
    *(Face(f"0{k}/{k}_1980-07-01_2010.jpg", f"Person No. {k}") for k in range(9)),
    Face("09/9.jpg", "José Ramos", gender=1.0),
    Face("09/10.jpg", "PERSON NO 0", dob=BORN - 1),
]
# Records that the rule leaves out, by reason.
REJECTED = {
    "no face": Face("10/a.jpg", face_score=-np.inf),
    "low face score": Face("10/b.jpg", face_score=0.99),
    "second face": Face("10/c.jpg", second_face_score=1.5),
    "gender unknown": Face("10/d.jpg", gender=np.nan),
    "age unknown": Face("10/e.jpg", dob=0),
    "age out of range": Face("10/f.jpg", photo_taken=2100),
}
CELEBRITIES = ["Jose Ramos", "Greta Garbo", "Fritz Lang"]
IMDB = [
    Face("01/nm1.jpg", "José Ramos", gender=1.0, celeb_id=1),
    *(Face(f"01/nm2_{k}.jpg", "Greta Garbo", celeb_id=2) for k in range(3)),
    Face("01/nm3.jpg", "Fritz Lang", gender=1.0, celeb_id=3),
]


@pytest.fixture
def manual_dir(tmp_path: Path) -> Path:
    """Both databases: 11 good records and 6 others of wiki, 5 good ones of imdb."""
    folder = tmp_path / "manual"
    lay_out(folder, [*WIKI, *REJECTED.values()])
    lay_out(folder, IMDB, "imdb", CELEBRITIES)
    return folder
