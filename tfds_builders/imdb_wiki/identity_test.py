import collections
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ageflax.errors import InputError
from tfds_builders.imdb_wiki import metadata, people
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
    assert people.normalise(one) == people.normalise(other) != ""


def test_names_of_different_people_and_no_name():
    assert people.normalise("王菲") != people.normalise("王力宏")
    assert people.normalise(" -. ") == ""


def test_a_person_is_a_name_in_both_databases():
    wiki = read([Face("a.jpg", "José Ramos"), Face("b.jpg", "Greta Garbo"), Face("c.jpg", "")])
    imdb = read(
        [Face("d.jpg", "Jose Ramos", celeb_id=1), Face("e.jpg", "Fritz Lang", celeb_id=2)],
        "imdb",
        ("Jose Ramos", "Fritz Lang"),
    )
    assert people.subjects([imdb, wiki]) == [
        "joseramos",
        "fritzlang",
        "joseramos",
        "gretagarbo",
        "~wiki c.jpg",
    ]


def test_a_celebrity_whose_records_differ_in_the_name_is_one_person():
    faces = [
        Face("a.jpg", "Prince", celeb_id=1),
        Face("b.jpg", "The Artist", celeb_id=1),
        Face("c.jpg", "", celeb_id=2),
        Face("d.jpg", "Prince"),
    ]
    subjects = people.subjects([read(faces, "imdb", ("Prince", "王菲"))])
    assert subjects == ["prince", "prince", "王菲", "prince"]


def test_a_celebrity_without_a_name():
    faces = [Face("a.jpg", "", celeb_id=1), Face("b.jpg", "", celeb_id=1)]
    assert people.subjects([read(faces, "imdb", ("",))]) == ["~imdb celebrity 1"] * 2


@given(st.lists(st.integers(0, 60), min_size=1, max_size=400))
def test_each_person_in_one_fold_and_the_same_in_any_order(numbers: list[int]):
    persons = [f"p{number}" for number in numbers]
    if len(set(persons)) < 5:
        with pytest.raises(InputError, match="need five people at least"):
            people.folds(persons)
        return
    folds = people.folds(persons)
    assert folds.keys() == set(persons)
    assert set(folds.values()) == set(range(5))
    shuffled = random.Random(0).sample(persons, len(persons))
    assert people.folds(shuffled) == folds


def test_folds_are_of_equal_size_where_people_differ_a_lot():
    # As in imdb: some hundred images of a star, one of most.
    persons = [f"p{k}" for k in range(20_000) for _ in range(max(1, 800 // (k + 1)))]
    folds = people.folds(persons)
    sizes = collections.Counter(folds[person] for person in persons)
    assert max(sizes.values()) - min(sizes.values()) <= 1
