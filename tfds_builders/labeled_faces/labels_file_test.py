"""labels.csv as people write it, and as nobody should."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ageflax.data import images
from ageflax.errors import InputError
from tfds_builders.labeled_faces import identity, labels_file, rows

TEXT = "path,age,gender\na.jpg,26,f\n\nsub/b.jpg,3,m\n"
FUZZ = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read(tmp_path: Path, content: str | bytes) -> labels_file.LabelsFile:
    path = tmp_path / "labels.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return labels_file.read(path)


def plain(file: labels_file.LabelsFile) -> list[tuple[int, dict[str, str]]]:
    return [(line.number, line.cells) for line in file.lines]


EXPECTED = [
    (2, {"path": "a.jpg", "age": "26", "gender": "f"}),
    (4, {"path": "sub/b.jpg", "age": "3", "gender": "m"}),
]


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        (TEXT, "comma"),
        (TEXT.replace(",", ";"), "semicolon"),
        (TEXT.replace(",", "\t"), "tab"),
        ("\ufeff" + TEXT, "comma"),
        (TEXT.replace("\n", "\r\n"), "comma"),
        (TEXT.replace("\n", "\r"), "comma"),
        (TEXT.replace("path,age,gender", ' Path , "AGE",Gender '), "comma"),
        (TEXT.replace("a.jpg", '"a.jpg"').replace("26", " 26 "), "comma"),
        (TEXT.removesuffix("\n"), "comma"),
        (TEXT + ",,\n\n", "comma"),
    ],
)
def test_what_means_the_same(tmp_path, content, delimiter):
    file = read(tmp_path, content)
    assert plain(file) == EXPECTED
    assert file.delimiter == delimiter
    assert file.columns == ("path", "age", "gender")
    assert file.notice == ""


def test_columns_in_any_order_and_some_that_are_not_used(tmp_path):
    file = read(tmp_path, "race,gender,agegroup,path,\n0,f,25-32,a.jpg,\n")
    assert plain(file) == [(2, {"gender": "f", "path": "a.jpg"})]
    assert file.columns == ("gender", "path")
    assert file.notice == (
        "notice: columns not used: race, agegroup; did you mean 'age_group' instead of 'agegroup'?"
    )


def test_quoted_cells_with_delimiters_and_line_breaks_keep_their_line_numbers(tmp_path):
    file = read(tmp_path, 'path,age,gender\n"a,\nb.jpg",1,f\nc.jpg,2,m\n')
    assert plain(file) == [
        (2, {"path": "a,\nb.jpg", "age": "1", "gender": "f"}),
        (4, {"path": "c.jpg", "age": "2", "gender": "m"}),
    ]


def test_rows_of_another_length_are_told(tmp_path):
    file = read(tmp_path, "path,age\na.jpg\nb.jpg,1,2\nc.jpg,3\n")
    assert [line.problem for line in file.lines] == [
        "1 cells, expected 2 as in the first line",
        "3 cells, expected 2 as in the first line",
        "",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": empty"),
        (b"\n \n", ": empty"),
        (b"path,age\nm\xe9.jpg,3\n", ", line 2: not UTF-8 (byte 0xe9); save it as UTF-8"),
        ("path,age\n".encode("utf-16"), ": encoded as UTF-16; save it as UTF-8"),
        (b"path,age\na\0.jpg,3\n", ", line 2: holds a NUL byte; not a text file"),
        (b"file,age\na.jpg,3\n", ": no column 'path'; its columns: file, age"),
        (b"a.jpg,26,f\n", ": no column 'path'; its columns: a.jpg, 26, f"),
        (b"path|age\n", ": no column 'path'; its columns: path|age"),
        (b"path,,fold\n",
         ": none of the columns age, age_group, gender; its columns: path, (no name), fold"),
        (b"path,age,Path\n", ": two columns are named 'path'"),
        (b'path,age\n"' + b"x" * 140_000, ", line 2: field larger than field limit (131072)"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(tmp_path, content, message):
    with pytest.raises(InputError) as caught:
        read(tmp_path, content)
    assert str(caught.value) == f"{tmp_path}/labels.csv{message}"


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError) as caught:
        labels_file.read(tmp_path / "labels.csv")
    assert str(caught.value) == (
        f"{tmp_path}/labels.csv: cannot be read: No such file or directory"
    )


def check_all_the_way(tmp_path: Path, content: bytes) -> None:
    """From bytes to folds and photographs; raises nothing but InputError."""
    try:
        file = read(tmp_path, content)
        faces, rejected = rows.parse_all(file.lines)
        identity.check_given_folds(faces)
        folds = identity.divide(identity.name_unnamed(faces, [faces] if faces else []))
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert len(faces) + len(rejected) == len(file.lines)
    assert all(bad.reason in rows.ROW_REASONS and bad.detail for bad in rejected)
    assert set(folds.values()) == set(range(5))
    for face in faces:
        with contextlib.suppress(images.BadImageError):
            images.read(tmp_path / face.path)


@given(st.binary(max_size=200))
@FUZZ
def test_any_bytes_end_in_a_result_or_a_refusal(tmp_path, content: bytes):
    check_all_the_way(tmp_path, content)
    check_all_the_way(tmp_path, b"path,age,gender,subject,fold\n" + content)


CELLS = st.sampled_from(
    ["", "a.jpg", "b.jpg", "../c", "/d", "26", "-4", "1e9", "9" * 400, "٣", "0", "4", "5", "2.0", "f",
     "M", "Ann", "Bob", '"', "25-32", "nan", "inf", "\u2028", "x\x0by"]
) | st.text(max_size=5)  # fmt: skip


@given(
    header=st.permutations(["path", "age", "age_group", "gender", "subject", "fold"]),
    table=st.lists(st.lists(CELLS, min_size=5, max_size=7), max_size=12),
    delimiter=st.sampled_from(",;\t"),
)
@FUZZ
def test_any_table_ends_in_a_result_or_a_refusal(tmp_path, header, table, delimiter):
    text = "\n".join(delimiter.join(row) for row in [header, *table])
    check_all_the_way(tmp_path, text.encode("utf-8", "surrogatepass"))
