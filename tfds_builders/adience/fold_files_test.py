import collections
import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax import labels
from ageflax.errors import InputError
from tfds_builders.adience import fold_files

PATH = Path("fold_3_data.txt")
HEADER = (
    "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\t"
    "fiducial_yaw_angle\tfiducial_score"
)
ROW = "7@N00\ta.jpg\t12\t(25, 32)\tf\t0\t414\t1086\t1383\t-115\t30\t17"


def parse(text: str | bytes) -> list[fold_files.Face]:
    content = text.encode() if isinstance(text, str) else text
    return fold_files.parse(content, fold=3, path=PATH)


def row(**changes: str) -> str:
    fields = dict(zip(HEADER.split("\t"), ROW.split("\t"), strict=True)) | changes
    return "\t".join(fields.values())


def table(*rows: str) -> str:
    return "\n".join([HEADER, *rows]) + "\n"


def message(function, *args) -> str:
    with pytest.raises(InputError) as caught:
        function(*args)
    text = str(caught.value)
    assert "\n" not in text
    return text


def write(folder: Path, tables: list[list[str]]) -> Path:
    for fold, rows in enumerate(tables):
        (folder / fold_files.name(fold)).write_text(table(*rows))
    return folder


def apart(**changes: str) -> list[list[str]]:
    """One row a fold, no person or photograph in two; changes apply to fold 0's."""
    rows = [[row(user_id=f"{k}@N00", face_id=str(k))] for k in fold_files.FOLDS]
    rows[0] = [row(**({"user_id": "0@N00", "face_id": "0"} | changes))]
    return rows


def test_a_row():
    (face,) = parse(table(ROW))
    assert face == fold_files.Face(
        fold=3,
        line=2,
        user_id="7@N00",
        original_image="a.jpg",
        face_id="12",
        age_label="(25, 32)",
        gender="female",
    )
    assert face.key == "7@N00/12.a.jpg"


@pytest.mark.parametrize(
    ("written", "gender"), [("f", "female"), ("m", "male"), ("u", ""), ("", "")]
)
def test_genders(written: str, gender: str):
    assert parse(table(row(gender=written)))[0].gender == gender


@pytest.mark.parametrize("age", ["None", "35", "(8, 23)", "(25, 23)", "", " (25, 32)"])
def test_age_labels_stay_as_they_are(age: str):
    assert parse(table(row(age=age)))[0].age_label == age


def test_columns_go_by_name_and_others_are_ignored():
    text = "gender\tage\tmine\tface_id\toriginal_image\tuser_id\nm\t35\t?\t12\ta.jpg\t7@N00\n"
    (face,) = parse(text)
    assert (face.key, face.age_label, face.gender) == ("7@N00/12.a.jpg", "35", "male")


def quoted(text: str) -> str:
    """As a spreadsheet saves a table: cells with a comma or a quote are quoted."""
    lines = [line.split("\t") for line in text.splitlines()]
    marked = [
        ['"{}"'.format(cell.replace('"', '""')) if set(cell) & set(',"') else cell for cell in line]
        for line in lines
    ]
    return "".join("\t".join(line) + "\r\n" for line in marked)


def test_cells_quoted_by_a_spreadsheet_are_what_they_were():
    text = table(ROW, row(original_image='a "b".jpg', face_id="13"), row(age="None", face_id="14"))
    assert '"(25, 32)"' in quoted(text)
    assert parse(quoted(text)) == parse(text)


def test_real_fold_files_saved_by_a_spreadsheet(real_data: Path):
    for fold in fold_files.FOLDS:
        text = (real_data / fold_files.name(fold)).read_text()
        assert fold_files.parse(quoted(text).encode(), fold=fold, path=PATH) == fold_files.parse(
            text.encode(), fold=fold, path=PATH
        )


@pytest.mark.parametrize(
    "content",
    [
        table(ROW).rstrip("\n"),
        table(ROW) + "\n\n",
        table(ROW).replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + table(ROW).encode(),
    ],
    ids=["no end of line", "empty lines at the end", "CRLF", "byte order mark"],
)
def test_what_editors_do_to_text_files(content: str | bytes):
    assert parse(content) == parse(table(ROW))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "fold_3_data.txt: the file is empty"),
        (" \n\n", "fold_3_data.txt: the file is empty"),
        (HEADER + "\n", "fold_3_data.txt: a header and no rows"),
        (table(ROW).encode() + b"\xff\n", "fold_3_data.txt, line 3: not UTF-8 text"),
        (b"\x1f\x8b\x08\0binary", "fold_3_data.txt, line 1: not UTF-8 text"),
        (table(ROW).encode("utf-16"), "fold_3_data.txt: encoded as UTF-16; save it as UTF-8"),
        (
            table(ROW).replace("\t", ","),
            "fold_3_data.txt, line 1: no column 'user_id'; an Adience fold file has the tab-separated"
            " columns user_id, original_image, face_id, age, gender; this one is separated by ','",
        ),
        (
            table(ROW, row(age="3-Sep")),
            "fold_3_data.txt, line 3: age '3-Sep' is a date that a spreadsheet made of the range 3-9;"
            " write 3-9 in a text column",
        ),
        (
            table(row(age="adult")),
            f"fold_3_data.txt, line 2: age 'adult' {labels.NO_LABEL}",
        ),
        (
            table(ROW).replace("gender", "sex"),
            "fold_3_data.txt, line 1: no column 'gender'; an Adience fold file has the "
            "tab-separated columns user_id, original_image, face_id, age, gender",
        ),
        (
            "<html>404</html>",
            "fold_3_data.txt, line 1: no column 'user_id'; an Adience fold file has the "
            "tab-separated columns user_id, original_image, face_id, age, gender",
        ),
        (
            table(ROW).replace("\tdx\t", "\tage\t"),
            "fold_3_data.txt, line 1: two columns are named 'age'",
        ),
        (
            table(ROW, "7@N00\ta.jpg"),
            "fold_3_data.txt, line 3: 2 fields, expected 12 as in the header",
        ),
        (table(ROW + "\t9"), "fold_3_data.txt, line 2: 13 fields, expected 12 as in the header"),
        (table("", ROW), "fold_3_data.txt, line 2: 1 fields, expected 12 as in the header"),
        (
            table(row(gender="x")),
            "fold_3_data.txt, line 2: gender 'x' is not m, f, u or nothing",
        ),
        (
            table(row(gender="F" * 99)),
            f"fold_3_data.txt, line 2: gender '{'F' * 57}...' is not m, f, u or nothing",
        ),
        (table(row(face_id="")), "fold_3_data.txt, line 2: face_id '' is not a number"),
        (table(row(face_id="../1")), "fold_3_data.txt, line 2: face_id '../1' is not a number"),
        (table(row(face_id="1.2")), "fold_3_data.txt, line 2: face_id '1.2' is not a number"),
        (table(row(face_id="١")), "fold_3_data.txt, line 2: face_id '١' is not a number"),
        (
            table(row(user_id="..")),
            "fold_3_data.txt, line 2: user_id '..' is not a plain file name",
        ),
        (table(row(user_id="")), "fold_3_data.txt, line 2: user_id '' is not a plain file name"),
        (
            table(row(user_id="/etc")),
            "fold_3_data.txt, line 2: user_id '/etc' is not a plain file name",
        ),
        (
            table(row(original_image="x/../../y.jpg")),
            "fold_3_data.txt, line 2: original_image 'x/../../y.jpg' is not a plain file name",
        ),
        (
            table(row(original_image="..\\y.jpg")),
            "fold_3_data.txt, line 2: original_image '..\\\\y.jpg' is not a plain file name",
        ),
        (
            table(row(original_image="a\0.jpg")),
            "fold_3_data.txt, line 2: original_image 'a\\x00.jpg' holds a control character",
        ),
        (
            table(row(age="3\x1b[2J")),
            "fold_3_data.txt, line 2: age '3\\x1b[2J' holds a control character",
        ),
    ],
)
def test_bad_files_end_in_one_line_that_names_the_place(content: str | bytes, expected: str):
    assert message(parse, content) == expected


_ANY_FIELD = st.one_of(
    st.sampled_from(["..", "../x", "/x", "", "f", "m", "u", "12", "(0, 2)", "a\0b", "\r", "None"]),
    st.text(max_size=8),
)


@given(st.lists(st.lists(_ANY_FIELD, min_size=11, max_size=13), max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_rows_end_in_faces_or_one_line(rows: list[list[str]]):
    text = table(ROW, *("\t".join(fields) for fields in rows))
    try:
        faces = parse(text.encode("utf-8", "surrogatepass"))
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        for face in faces:
            parts = Path("aligned", face.user_id, f"x.{face.face_id}.{face.original_image}").parts
            assert len(parts) == 3
            assert ".." not in parts


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_bytes_end_in_faces_or_one_line(content: bytes, with_header: bool):
    try:
        parse((HEADER.encode() + b"\n" if with_header else b"") + content)
    except InputError as error:
        assert len(str(error).splitlines()) == 1


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_good_file_with_a_few_bytes_changed(data: st.DataObject):
    content = bytearray(table(ROW, row(face_id="13")).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert len(parse(bytes(content))) >= 1
    except InputError as error:
        assert len(str(error).splitlines()) == 1


def test_absent_files_are_named(tmp_path: Path):
    write(tmp_path, apart())
    (tmp_path / "fold_1_data.txt").unlink()
    (tmp_path / "fold_4_data.txt").unlink()
    assert message(fold_files.read, tmp_path) == (
        f"{tmp_path}: no fold_1_data.txt, fold_4_data.txt; the folder must hold Adience's five "
        "fold files, fold_0_data.txt to fold_4_data.txt"
    )


NONE = "no " + ", ".join(fold_files.name(fold) for fold in fold_files.FOLDS)


@pytest.mark.parametrize("below", ["", "Adience"])
def test_frontal_folds_alone_are_named(tmp_path: Path, below: str):
    (tmp_path / below).mkdir(exist_ok=True)
    for fold in fold_files.FOLDS:
        (tmp_path / below / f"fold_frontal_{fold}_data.txt").write_text(table(ROW))
    text = message(fold_files.read, tmp_path)
    assert text.startswith(f"{tmp_path}: {NONE}; the folder must hold")
    assert text.endswith(
        f"; {Path(below, 'fold_frontal_0_data.txt')} is there, but the frontal folds list only faces"
        " seen from the front: download the other five from the same page"
    )


def test_fold_files_one_folder_too_deep_are_found_and_elsewhere_named(tmp_path: Path):
    inner = tmp_path / "Adience"
    inner.mkdir()
    write(inner, apart())
    (inner / "aligned").mkdir()
    assert fold_files.find(inner) == inner
    assert fold_files.find(tmp_path) == inner
    assert fold_files.find(inner / "aligned") is None
    assert message(fold_files.read, inner / "aligned").endswith(
        f"; they are in {inner}: name that folder"
    )
    (tmp_path / "two").mkdir()
    write(tmp_path / "two", apart())
    assert fold_files.find(tmp_path) is None
    assert message(fold_files.read, tmp_path).endswith(
        f"; they are in {inner} and {tmp_path}/two: name one of them"
    )
    assert fold_files.find(tmp_path / "absent") is None


def test_a_folder_in_place_of_a_file(tmp_path: Path):
    write(tmp_path, apart())
    (tmp_path / "fold_2_data.txt").unlink()
    (tmp_path / "fold_2_data.txt").mkdir()
    assert message(fold_files.read, tmp_path) == (
        f"{tmp_path}/fold_2_data.txt: cannot be read (Is a directory)"
    )


def test_an_absurdly_large_file(tmp_path: Path):
    write(tmp_path, apart())
    with (tmp_path / "fold_2_data.txt").open("r+b") as file:
        file.truncate(1 << 40)  # sparse: takes no room
    assert message(fold_files.read, tmp_path) == (
        f"{tmp_path}/fold_2_data.txt: too large for an Adience fold file"
    )


def test_a_person_in_two_folds_is_refused(tmp_path: Path):
    assert message(fold_files.read, write(tmp_path, apart(face_id="3"))) == (
        "fold_3_data.txt, line 2: face_id 3 is also in fold 0 (fold_0_data.txt, line 2); a test fold "
        "would leak into training"
    )


def test_a_photograph_in_two_folds_is_refused(tmp_path: Path):
    assert message(fold_files.read, write(tmp_path, apart(user_id="3@N00"))) == (
        "fold_3_data.txt, line 2: photograph 3@N00/a.jpg is also in fold 0 (fold_0_data.txt, line 2); "
        "a test fold would leak into training"
    )


def test_an_image_in_two_folds_is_refused(tmp_path: Path):
    text = message(fold_files.read, write(tmp_path, apart(user_id="3@N00", face_id="3")))
    assert text.startswith("fold_3_data.txt, line 2: face_id 3 is also in fold 0")


def test_rows_of_one_image_become_one_face(tmp_path: Path):
    tables = apart()
    tables[2] += [tables[2][0], row(user_id="2@N00", face_id="99")] * 2
    read = fold_files.read(write(tmp_path, tables))
    assert [face.key for face in read.faces] == [
        "0@N00/0.a.jpg",
        "1@N00/1.a.jpg",
        "2@N00/2.a.jpg",
        "2@N00/99.a.jpg",
        "3@N00/3.a.jpg",
        "4@N00/4.a.jpg",
    ]
    assert read.rows == (1, 1, 5, 1, 1)
    assert read.duplicates == 3
    assert read.disagreeing == []


def test_a_label_on_which_duplicates_disagree_becomes_unknown(tmp_path: Path):
    tables = apart()
    tables[0] = [
        row(user_id="0@N00", face_id="0", age=age, gender=gender)
        for age, gender in (("35", "f"), ("(25, 32)", "f"), ("35", "f"))
    ]
    tables[1].append(row(user_id="1@N00", face_id="1", gender="u"))
    read = fold_files.read(write(tmp_path, tables))
    assert [(face.age_label, face.gender) for face in read.faces[:2]] == [
        ("", "female"),
        ("(25, 32)", ""),
    ]
    assert read.disagreeing == ["0@N00/0.a.jpg", "1@N00/1.a.jpg"]


@pytest.mark.parametrize("edition", ["server", "circulating"])
def test_editions_are_known_by_their_md5(edition: str):
    assert fold_files.edition(fold_files.EDITIONS[edition]) == edition


def test_other_and_mixed_editions_are_unknown_and_name_their_md5(tmp_path: Path):
    mixed = (*fold_files.EDITIONS["server"][:4], fold_files.EDITIONS["circulating"][4])
    assert fold_files.edition(mixed) == f"unknown (md5 {', '.join(mixed)})"
    read = fold_files.read(write(tmp_path, apart()))
    sums = [hashlib.md5((tmp_path / fold_files.name(k)).read_bytes()) for k in fold_files.FOLDS]
    assert read.edition == f"unknown (md5 {', '.join(md5.hexdigest() for md5 in sums)})"


# Rows of the five files by label, duplicates included.
PUBLISHED_AGES = """
(0, 2) 2519; (4, 6) 2163; (8, 12) 2132; (15, 20) 1655; (25, 32) 4950; (38, 43) 2300; (48, 53) 830;
(60, 100) 875; None 753; 35 294; 13 169; 22 149; 34 105; 23 96; 45 88; 55 77; (27, 32) 77;
(25, 23) 72; 36 57; (38, 42) 50; 57 24; 3 18; 29 12; (38, 48) 6; 58 5; 2 3; 32 3; 56 2; (8, 23) 1;
42 1; 46 1
"""


def test_adience_has_the_published_counts(real_data: Path):
    read = fold_files.read(real_data)
    assert read.edition == "circulating"
    assert read.rows == (4496, 3745, 3953, 3459, 3834)
    assert read.duplicates == 117
    assert read.disagreeing == []
    assert len({face.face_id for face in read.faces}) == 2284
    assert len({face.user_id for face in read.faces}) == 168
    by_fold = collections.Counter(face.fold for face in read.faces)
    assert [by_fold[fold] for fold in fold_files.FOLDS] == [4484, 3730, 3894, 3446, 3816]


def test_adience_has_the_published_labels(real_data: Path):
    rows = [
        face
        for fold in fold_files.FOLDS
        for face in fold_files.parse(
            (real_data / fold_files.name(fold)).read_bytes(), fold=fold, path=PATH
        )
    ]
    published = (entry.strip().rpartition(" ") for entry in PUBLISHED_AGES.split(";"))
    assert collections.Counter(face.age_label for face in rows) == {
        label: int(count) for label, _, count in published
    }
    genders = collections.Counter(face.gender for face in rows)
    assert genders == {"female": 9411, "male": 8192, "": 1100 + 784}
    strict = collections.Counter(
        face.fold
        for face in rows
        if labels.age_group(face.age_label, float("nan"), policy="strict") != labels.UNKNOWN
    )
    assert [strict[fold] for fold in fold_files.FOLDS] == [4316, 3101, 3339, 2975, 3693]
    known = collections.Counter(face.fold for face in rows if face.gender)
    assert [known[fold] for fold in fold_files.FOLDS] == [4007, 3624, 3191, 3318, 3463]
