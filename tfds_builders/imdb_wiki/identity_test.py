import pytest

from tfds_builders.imdb_wiki import identity, metadata
from tfds_builders.imdb_wiki.dummy_tree import Face, fields, mat


def read(faces: list[Face], database: str = "wiki", names: tuple[str, ...] = ()):
    content = mat(fields(faces, database, names), database)
    return metadata.read(content, database=database, name="x.mat")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José Ramos", "Jose  RAMOS"),
        ("Conan O'Brien", "Conan O’Brien"),
        ("Jean-Luc Godard", "Jean Luc Godard"),
        ("Ed Begley, Jr.", "Ed Begley Jr"),
        ("Weiß", "WEISS"),
        ("İhsan Doğramacı", "İhsan Doğramacı"),
    ],
)
def test_spellings_of_one_name(one: str, other: str):
    assert identity.normalise(one) == identity.normalise(other) != ""


def test_names_of_different_people_and_no_name():
    assert identity.normalise("王菲") != identity.normalise("王力宏")
    assert identity.normalise(" -. ") == ""


def test_a_subject_is_a_name_in_both_databases():
    wiki = read([Face("a.jpg", "José Ramos"), Face("b.jpg", "Greta Garbo"), Face("c.jpg", "")])
    imdb = read(
        [Face("d.jpg", "Jose Ramos", celeb_id=1), Face("e.jpg", "Fritz Lang", celeb_id=2)],
        "imdb",
        ("Jose Ramos", "Fritz Lang"),
    )
    assert identity.subjects([imdb, wiki]) == [
        "joseramos",
        "fritzlang",
        "joseramos",
        "gretagarbo",
        "~wiki c.jpg",
    ]


def test_a_celebrity_whose_records_differ_in_the_name_is_one_subject():
    faces = [
        Face("a.jpg", "Prince", celeb_id=1),
        Face("b.jpg", "The Artist", celeb_id=1),
        Face("c.jpg", "", celeb_id=2),
        Face("d.jpg", "Prince"),
    ]
    subjects = identity.subjects([read(faces, "imdb", ("Prince", "王菲"))])
    assert subjects == ["prince", "prince", "王菲", "prince"]


def test_a_celebrity_without_a_name():
    faces = [Face("a.jpg", "", celeb_id=1), Face("b.jpg", "", celeb_id=1)]
    assert identity.subjects([read(faces, "imdb", ("",))]) == ["~imdb celebrity 1"] * 2
