import datetime
import io
import math
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from ageflax.errors import InputError
from tfds_builders.imdb_wiki import metadata
from tfds_builders.imdb_wiki.dummy_tree import BORN, Face, fields, mat, row

FACES = [
    Face("01/a.jpg", "Ada", BORN, 2010, 0.0, 3.5),
    Face("02/b.jpg", "", BORN - 1, 2010, 1.0, -math.inf, 1.25),
    Face("02/c.jpg", "Grace", 0, math.nan, math.nan),
]


def read(content: dict, database: str = "wiki") -> metadata.Metadata:
    return metadata.read(mat(content, database), database=database, name="x.mat")


def refusal(content: dict, database: str = "wiki") -> str:
    with pytest.raises(InputError) as caught:
        read(content, database)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_wiki():
    found = read(fields(FACES, "wiki"))
    assert len(found) == 3
    assert found.paths == ["01/a.jpg", "02/b.jpg", "02/c.jpg"]
    assert found.names == ["Ada", "", "Grace"]
    assert found.celebrities.tolist() == [0, 0, 0]
    np.testing.assert_equal(found.ages, [29.0, 30.0, math.nan])
    assert found.genders.tolist() == [0, 1, -1]
    assert found.face_scores.tolist() == [3.5, -math.inf, 3.0]
    np.testing.assert_equal(found.second_face_scores, [math.nan, 1.25, math.nan])
    assert found.photo_years.tolist() == [2010, 2010, 0]


def test_imdb_names_its_celebrities():
    faces = [Face("a.jpg", celeb_id=2), Face("b.jpg", celeb_id=3), Face("c.jpg")]
    found = read(fields(faces, "imdb", ["Fred", "Ginger"]), "imdb")
    assert found.celebrities.tolist() == [2, 0, 0]  # 3 is nobody's
    assert found.celebrity_names == ["Fred", "Ginger"]


def test_whole_years_are_floats_all_the_same():
    assert read(fields(FACES[:1], "wiki")).ages.dtype == np.float64


def test_a_column_is_as_good_as_a_row():
    content = fields(FACES, "wiki")
    upright = {name: values.T for name, values in content.items()}
    np.testing.assert_equal(read(upright).ages, read(content).ages)


@pytest.mark.parametrize("as_list", [True, False])
def test_a_list_of_strings_is_saved_padded_and_read_without_blanks(as_list: bool):
    faces = [Face("01/a.jpg", "José Ramos"), Face("02/longer.jpg", ""), Face("03/c.jpg", "李小龍")]
    content = fields(faces, "wiki")
    for name in ("full_path", "name"):
        texts = content[name][0].tolist()
        content[name] = texts if as_list else np.array(texts)
    found = read(content)
    assert found.paths == ["01/a.jpg", "02/longer.jpg", "03/c.jpg"]
    assert found.names == ["José Ramos", "", "李小龍"]


def test_the_real_records_saved_again_by_scipy(tmp_path: Path):
    folder = os.environ.get("AGEFLAX_REAL_DATA")
    if not folder:
        pytest.skip("AGEFLAX_REAL_DATA is not set")
    path = Path(folder, "imdb_wiki", "wiki.mat")
    content = scipy.io.loadmat(path, simplify_cells=True)["wiki"]
    content = {key: values[:5000] for key, values in content.items()}
    for name in ("full_path", "name"):  # absent names are empty arrays
        content[name] = [text if isinstance(text, str) else "" for text in content[name]]
    again = metadata.read(mat(content, "wiki"), database="wiki", name="wiki.mat")
    first = metadata.read(path.read_bytes(), database="wiki", name="wiki.mat")
    assert (again.paths, again.names) == (first.paths[:5000], first.names[:5000])
    np.testing.assert_equal((again.ages, again.genders), (first.ages[:5000], first.genders[:5000]))


@given(st.dates(datetime.date(2, 1, 1), datetime.date(2015, 12, 31)), st.integers(1900, 2020))
def test_years_are_whole_on_the_first_of_july(born: datetime.date, taken: int):
    days = born.toordinal() + 366
    first_of_july = datetime.date(taken, 7, 1)
    # Who was born on 1 July is taken to be of that age only later, as in the public code.
    expected = taken - born.year - ((first_of_july.month, 0) <= (born.month, born.day))
    assert metadata._years(days, taken) == expected


@pytest.mark.parametrize("born", [-5, 0, 366, math.nan, math.inf, -math.inf, 1e9, 3652059 + 367])
def test_a_birth_that_is_no_date(born: float):
    assert math.isnan(metadata._years(born, 2010))


@pytest.mark.parametrize("taken", [0, -1, 10_000, math.nan, math.inf])
def test_a_photo_of_no_year(taken: float):
    assert math.isnan(metadata._years(BORN, taken))


@pytest.mark.parametrize("field", list(fields(FACES, "imdb", ["Ada"])))
def test_a_missing_field_is_named(field: str):
    content = fields(FACES, "imdb", ["Ada"])
    del content[field]
    assert refusal(content, "imdb") == f"x.mat: no field {field!r}"


@pytest.mark.parametrize("field", ["dob", "gender", "name", "face_score"])
def test_fields_of_unequal_length_are_named(field: str):
    content = fields(FACES, "wiki")
    content[field] = content[field][:, :2]
    assert refusal(content) == (f"x.mat: field {field!r} has 2 values where 'full_path' has 3")


@pytest.mark.parametrize("field", ["dob", "photo_taken", "gender", "face_score"])
def test_texts_where_numbers_belong(field: str):
    content = fields(FACES, "wiki") | {field: row(["a", "b", "c"], cells=True)}
    assert refusal(content) == f"x.mat: field {field!r} does not hold numbers"


def test_numbers_where_texts_belong():
    assert refusal(fields(FACES, "wiki") | {"full_path": row([1, 2, 3])}) == (
        "x.mat: field 'full_path' does not hold texts"
    )
    assert refusal(fields(FACES, "wiki") | {"name": row(["Ada", 5, "x"], cells=True)}) == (
        "x.mat: field 'name' holds no text in record 2"
    )


def test_a_table_where_a_row_belongs():
    content = fields(FACES, "wiki") | {"dob": np.zeros((3, 4))}
    assert refusal(content) == "x.mat: field 'dob' is a table of (3, 4), not a row"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.jpg", "a/../../x.jpg", "a\\b.jpg", ""])
def test_a_path_that_leaves_the_folder(path: str):
    assert refusal(fields([*FACES, Face(path)], "wiki")) == (
        f"x.mat: field 'full_path' leaves the folder in record 4: {path!r}"
    )


def test_a_gender_that_is_none():
    assert refusal(fields([*FACES, Face("d.jpg", gender=2.0)], "wiki")) == (
        "x.mat: field 'gender' is 2 in record 4, not 0, 1 or NaN"
    )


def test_no_records():
    assert refusal(fields([], "wiki")) == "x.mat: has no records"


def test_another_struct_or_none():
    with pytest.raises(InputError, match=r"^x\.mat: no struct 'imdb'; it holds wiki"):
        metadata.read(mat(fields(FACES, "wiki"), "wiki"), database="imdb", name="x.mat")
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"wiki": np.arange(5)})
    with pytest.raises(InputError, match=r"^x\.mat: 'wiki' is not one struct"):
        metadata.read(buffer.getvalue(), database="wiki", name="x.mat")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"MATLAB 7.3 MAT-file" + b" " * 200])
def test_what_is_no_mat_file(content: bytes):
    with pytest.raises(InputError, match=r"^x\.mat: not a readable \.mat file") as caught:
        metadata.read(content, database="wiki", name="x.mat")
    assert "\n" not in str(caught.value)


def test_a_mat_file_cut_short():
    whole = mat(fields(FACES, "wiki"), "wiki")
    for end in range(0, len(whole), 97):
        with pytest.raises(InputError, match=r"^x\.mat: "):
            metadata.read(whole[:end], database="wiki", name="x.mat")


def test_some_of_the_records():
    found = read(fields(FACES, "wiki")).take([2, 0])
    assert found.paths == ["02/c.jpg", "01/a.jpg"]
    assert found.genders.tolist() == [-1, 0]
