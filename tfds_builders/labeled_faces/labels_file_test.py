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
        (TEXT.replace(",", "|"), "bar"),
        (TEXT.replace(",", " "), "blank"),
        (TEXT.replace(",", "   ").replace("26", '"26"'), "blank"),
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
    file = read(tmp_path, "Race,gender,agegrp,path,\n0,f,25-32,a.jpg,\n")
    assert plain(file) == [(2, {"gender": "f", "path": "a.jpg"})]
    assert file.columns == ("gender", "path")
    assert file.ignored == ("Race", "agegrp")
    assert file.notice == (
        "notice: columns not used: Race, agegrp; did you mean 'age_group' instead of 'agegrp'?"
    )


OTHER_NAMES = {
    "path": "file filename file_name img_name img_path image image_path full_path".split(),  # noqa: SIM905
    "age": ["ages", "real_age", "apparent_age_avg", "Apparent Age"],
    "age_group": ["agegroup", "Age Group", "age-group", "age_range"],
    "gender": ["sex", "genders"],
    "subject": ["person_id", "identity", "subject_id", "person"],
    "fold": ["folds"],
}


@pytest.mark.parametrize(
    ("column", "name"), [(c, n) for c, names in OTHER_NAMES.items() for n in names]
)
def test_columns_under_the_names_of_published_lists(tmp_path, column, name):
    header = ["path", "gender" if column != "gender" else "age"]
    header = [name if one == column else one for one in header]
    if name not in header:
        header.append(name)
    file = read(tmp_path, f"{','.join(header)}\n{','.join(map(str, range(len(header))))}\n")
    assert file.lines[0].cells[column] == str(header.index(name))
    assert file.ignored == ()
    assert file.read_as == {name: column}
    assert file.notice == f"notice: columns are read under other names: {name!r} as {column}"


def test_of_two_names_for_one_thing_none_is_read_and_the_rename_is_told(tmp_path):
    file = read(tmp_path, "file,gender,real_age,apparent_age_avg\na.jpg,f,30,31.5\n")
    assert plain(file) == [(2, {"path": "a.jpg", "gender": "f"})]
    assert file.notice.splitlines()[1] == (
        "notice: columns not used: real_age, apparent_age_avg; 'real_age' and 'apparent_age_avg' may "
        "both be age: rename the right one to 'age'"
    )
    with pytest.raises(InputError) as caught:
        read(tmp_path, "image,file,age\na.jpg,b.jpg,3\n")
    assert str(caught.value) == (
        f"{tmp_path}/labels.csv: no column 'path'; its columns: image, file, age; 'image' and "
        "'file' may both be path: rename the right one to 'path'"
    )


def test_the_proper_name_comes_first(tmp_path):
    file = read(tmp_path, "file,path,age,sex,gender\na,b.jpg,3,0,f\n")
    assert plain(file) == [(2, {"path": "b.jpg", "age": "3", "gender": "f"})]
    assert file.notice == "notice: columns not used: file, sex"


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [("sep=;", "semicolon"), ('"sep=,"', "comma"), ("SEP=\t", "tab"), ("\ufeffsep=|", "bar")],
)
def test_a_first_line_that_names_the_delimiter(tmp_path, first, delimiter):
    sign = {"semicolon": ";", "comma": ",", "tab": "\t", "bar": "|"}[delimiter]
    file = read(tmp_path, f"{first}\r\npath{sign}age\r\na.jpg{sign}26,5\r\n")
    assert file.delimiter == delimiter
    if sign != ",":
        assert plain(file) == [(3, {"path": "a.jpg", "age": "26,5"})]


def test_cells_that_run_over_lines_are_refused_and_swallow_no_row(tmp_path):
    text = 'path,age,note\n"a,\nb.jpg",1,x\nc.jpg,2,"x\nd.jpg,3,12" tall\n'
    file = read(tmp_path, text + 'e.jpg,"4",""\n"f.jpg",5,"x, ""y"""\n')
    runs_on = "a quote is not closed; a cell must end on its line"
    assert [(line.number, line.cells.get("path"), line.problem) for line in file.lines] == [
        (2, "a,", runs_on),
        (3, 'b.jpg"', ""),  # absent
        (4, "c.jpg", runs_on),
        (5, "d.jpg", ""),
        (6, "e.jpg", ""),
        (7, "f.jpg", ""),
    ]


def test_a_stray_quote_in_a_column_that_is_not_used_costs_its_own_row(tmp_path):
    notes = ['"stray' if number == 299 else "fine" for number in range(1000)]
    rows_ = [f"{number}.jpg,{note},30" for number, note in enumerate(notes)]
    file = read(tmp_path, "\n".join(["path,note,age", *rows_]))
    assert len(file.lines) == 1000
    assert [line.number for line in file.lines if line.problem] == [301]


def test_rows_of_another_length_are_told(tmp_path):
    file = read(tmp_path, "path,age\na.jpg\nb.jpg,1,2\nc.jpg,3\n")
    assert [line.problem for line in file.lines] == [
        "1 cells, expected 2 as in the first line",
        "3 cells, expected 2 as in the first line; quote a cell that holds a comma",
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
        (b"photo,age\na.jpg,3\n",
         ": no column 'path'; its columns: photo, age; the first line must name them"),
        (b"pathh,age\na.jpg,3\n",
         ": no column 'path'; its columns: pathh, age; did you mean 'path' instead of 'pathh'?"),
        (b"a.jpg,26,f\n",
         ": no column 'path'; its columns: a.jpg, 26, f; the first line must name them"),
        (b"path:age\n", ": no column 'path'; its columns: path:age; the first line must name them"),
        (b"path,,fold\n",
         ": none of the columns age, age_group, gender; its columns: path, (no name), fold; the first "
         "line must name them"),
        (b'path,"age\na.jpg,3\n', ", line 1: a quote is not closed; a cell must end on its line"),
        (b"sep=;\n", ": empty"),
        (b"path,age,Path\n", ": two columns are named 'path'"),
        (b"PK\x03\x04....xl/workbook.xml", ": an Excel workbook (xlsx); save it as CSV UTF-8"),
        (b"PK\x03\x04faces/a.jpg", ": a zip archive; unpack it"),
        (b"\xd0\xcf\x11\xe0", ": an old Excel workbook (xls); save it as CSV UTF-8"),
        (b"\x1f\x8b\x08", ": compressed by gzip; unpack it with gunzip"),
        (b"\n<!DOCTYPE html><html>", ": an HTML page; download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
         ": a Git LFS pointer; fetch the file with git lfs pull"),
        (b"\0\0\0\x1cftypheic", ": HEIC; convert it to JPEG or PNG"),
        (b"\0\0\0\x1cftypavif", ": AVIF; convert it to JPEG or PNG"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(tmp_path, content, message):
    with pytest.raises(InputError) as caught:
        read(tmp_path, content)
    assert str(caught.value) == f"{tmp_path}/labels.csv{message}"


def test_a_cell_that_is_too_long_is_its_rows_matter(tmp_path):
    file = read(tmp_path, "path,age\n" + "x" * 140_000 + ",3\na.jpg,3\n")
    assert [line.problem for line in file.lines] == ["field larger than field limit (131072)", ""]


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
        assert len(faces) + len(rejected) == len(file.lines)
        identity.check_given_folds(faces)
        folds = identity.divide(identity.name_unnamed(faces, [faces] if faces else []))
    except InputError as error:
        assert "\n" not in str(error)
        return
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


WILD = st.lists(
    st.sampled_from([*',;|\t "\n\r\0\ufeff\u2028\x0b', "a", "2", "f", '"a"', "a.jpg", "\r\n"]),
    max_size=60,
).map("".join)


@given(bom=st.sampled_from(["", "\ufeff"]), body=WILD, delimiter=st.sampled_from(",;|\t "))
@FUZZ
def test_rows_read_and_rejected_are_the_lines(tmp_path, bom: str, body: str, delimiter: str):
    header = delimiter.join(("path", "age", "gender", "note"))
    content = f"{bom}{header}\n{body}".encode()
    try:
        file = read(tmp_path, content)
    except InputError as error:
        assert "NUL" in str(error)
        assert "\0" in body
        return
    assert file.delimiter == labels_file._DELIMITERS[delimiter]
    faces, rejected = rows.parse_all(file.lines)
    seen = sorted([face.line for face in faces] + [bad.line for bad in rejected])
    assert seen == [line.number for line in file.lines]
    # Nothing else is left out but lines of blanks, delimiters and empty quotes.
    lines = body.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number in set(range(2, 2 + len(lines))) - set(seen):
        assert not lines[number - 2].replace('"', "").replace(delimiter, "").strip()
    assert set(seen) <= set(range(2, 2 + len(lines)))
