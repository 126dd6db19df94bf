"""Labels in file names, as the published datasets write them."""

import pytest

from tfds_builders.labeled_faces import rows
from tfds_builders.labeled_faces.file_names import NAMINGS, line


@pytest.mark.parametrize(
    ("naming", "path", "expected"),
    [
        ("fgnet", "001A02.JPG", (2.0, -1, "001")),
        ("fgnet", "images/001A43a.JPG", (43.0, -1, "001")),
        ("fgnet", "010A07b.JPG", (7.0, -1, "010")),
        ("fgnet", "009a00.jpg", (0.0, -1, "009")),
        ("agedb", "12345_MariaCallas_35_f.jpg", (35.0, 0, "MariaCallas")),
        ("agedb", "9_Jean_Luc_Godard_70_m.jpg", (70.0, 1, "Jean_Luc_Godard")),
        ("agedb", "0_MariaCallas_101_F.jpg", (101.0, 0, "MariaCallas")),
        ("utkface", "26_0_2_20170104023102422.jpg.chip.jpg", (26.0, 1, "")),
        ("utkface", "part1/110_1_0_20170104023102422.jpg", (110.0, 0, "")),
        ("utkface", "53__0_20170116184028385.jpg", (53.0, -1, "")),
        ("utkface", "39_1_20170116174525125.jpg.chip.jpg", (39.0, -1, "")),
    ],
)
def test_a_name_gives_a_row(naming, path, expected):
    found = line(path, NAMINGS[naming])
    assert found is not None
    face = rows.parse(found)
    assert (face.line, face.path) == (0, path)
    assert (face.age, face.gender, face.subject) == expected


@pytest.mark.parametrize(
    ("naming", "path"),
    [
        ("fgnet", "001A2.JPG"), ("fgnet", "01A02.JPG"), ("fgnet", "001A43ab.JPG"), ("fgnet", "1B43.JPG"),
        ("fgnet", "x001A43.JPG"), ("fgnet", "٠٠١A43.JPG"), ("fgnet", ".JPG"), ("fgnet", "001A430.JPG"),
        ("agedb", "MariaCallas_35_f.jpg"), ("agedb", "1_MariaCallas_35_x.jpg"), ("agedb", "1__35.jpg"),
        ("agedb", "1_MariaCallas__f.jpg"), ("utkface", "26_0_2.jpg"), ("utkface", "_0_2_20170104.jpg"),
        ("utkface", "20170104023102422.jpg"), ("utkface", "1000_0_2_20170104023102422.jpg"),
    ],
)  # fmt: skip
def test_other_names_give_none(naming, path):
    assert line(path, NAMINGS[naming]) is None


def test_an_age_beyond_the_bounds_is_told_by_the_files_name():
    found = line("999_0_2_20170104023102422.jpg", NAMINGS["utkface"])
    assert found is not None
    faces, (bad,) = rows.parse_all([found])
    assert not faces
    assert str(bad) == "999_0_2_20170104023102422.jpg: age 999 is above 130"


@pytest.mark.parametrize("naming", NAMINGS.values())
def test_the_example_is_one(naming):
    assert line(naming.example, naming) is not None
