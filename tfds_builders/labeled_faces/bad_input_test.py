"""Bad photographs and rows: each is listed, and none is fatal to the others."""

import csv
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ageflax import labels
from ageflax.data.building import shards
from ageflax.errors import InputError, RunError
from tests.support.built_dataset import examples, metadata
from tfds_builders.labeled_faces.dummy_build import ROWS, build, draw, encode, lay_out
from tfds_builders.labeled_faces.labeled_faces_dataset_builder import Builder


def refusal(manual_dir: Path, config: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        build(manual_dir, config)
    text = str(caught.value)
    assert "\n" not in text
    assert list((manual_dir.parent / "built").rglob("*incomplete*")) == []
    assert list((manual_dir.parent / "built").rglob("dataset_info.json")) == []
    return text


def absent(path: Path) -> str:
    return f"no {path}, in either case of its suffix, NFC or NFD"


def listing(builder: Builder) -> list[list[str]]:
    with (Path(builder.data_path) / "rejected.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


SPOILED = {
    "empty.jpg": (b"", "empty"),
    "page.jpg": (b"<html>404</html>", "not an image"),
    "cut.jpg": (encode(Image.fromarray(draw(9, 64)), "JPEG")[:400], "truncated"),
    "black.jpg": (encode(Image.new("RGB", (9, 9)), "JPEG"), "all zero"),
}
PAGE = "page.jpg: an HTML page; download the file itself"


@pytest.mark.filterwarnings("ignore:::PIL")
def test_each_unusable_row_is_listed_with_its_line_counted_and_warned_of(tmp_path, capsys):
    rows = [
        *ROWS,
        *(f"{name},30,f,Gus" for name in SPOILED),
        "gone.jpg,30,f,Gus",
        "folder,30,f,Gus",
        f"{'x' * 300}.jpg,30,f,Gus",
        "g.png,abc,f,Gus",
        "g.png,30,0,Gus",
        "/etc/passwd,30,f,Gus",
        "../g.png,30,f,Gus",
        "g.png,30,f",
        "a.png,26,female,Ann",
        "h.png,30,f,Hal",
        "h.png,31,f,Hal",
        'g.png,30,f,"Gus',
    ]
    folder = lay_out(tmp_path / "manual", rows)
    (folder / "folder").mkdir()
    for name, (content, _) in SPOILED.items():
        (folder / name).write_bytes(content)
    builder = build(folder)
    bare = "gender '0': datasets disagree on the meaning of numbers; write female or male"
    assert listing(builder) == [
        ["8", "empty.jpg", "empty", ""],
        ["9", "page.jpg", "not an image", PAGE],
        ["10", "cut.jpg", "truncated", ""],
        ["11", "black.jpg", "all zero", ""],
        ["12", "gone.jpg", "absent", absent(folder / "gone.jpg")],
        ["13", "folder", "absent", f"{folder}/folder is not a file"],
        ["14", f"{'x' * 300}.jpg", "absent", absent(folder / f"{'x' * 300}.jpg")],
        ["15", "g.png", "age", "age 'abc' is not a number of years"],
        ["16", "g.png", "gender", bare],
        ["17", "/etc/passwd", "path",
         "path '/etc/passwd' is absolute; write it relative to the folder of labels.csv"],
        ["18", "../g.png", "path", "path '../g.png' leaves the folder of labels.csv"],
        ["19", "g.png", "cells", "3 cells, expected 4 as in the first line"],
        ["20", "a.png", "duplicate row", "says the same as line 2"],
        ["21", "h.png", "conflicting rows", "lines 21, 22 disagree on h.png"],
        ["22", "h.png", "conflicting rows", "lines 21, 22 disagree on h.png"],
        ["23", "g.png", "cells", "a quote is not closed; a cell must end on its line"],
    ]  # fmt: skip
    saved = metadata(builder)
    assert saved["rows"] == 22 == saved["examples"] + sum(saved["rejected"].values())
    said = [line for line in capsys.readouterr().err.splitlines() if "labeled_faces: WARN" in line]
    assert said == [
        "labeled_faces: WARNING: 16 of 22 rows (72.7%) cannot be used and are left out:",
        "labeled_faces: WARNING: 2 cells, 2 path, 1 age, 1 gender, 1 duplicate row, 2 conflicting "
        "rows, 3 absent, 1 empty, 1 not an image, 1 truncated, 1 all zero.",
        "labeled_faces: WARNING: line 8: empty.jpg: empty; each is listed in "
        f"{builder.data_path}/rejected.csv",
    ]


def test_few_unusable_rows_are_a_notice(tmp_path, capsys):
    folder = lay_out(tmp_path / "manual", [*ROWS, "gone.jpg,1,f,X"])
    for k in range(100):
        (folder / f"{k}.png").write_bytes(encode(Image.fromarray(draw(100 + k))))
    with (folder / "labels.csv").open("a") as file:
        file.writelines(f"{k}.png,30,f,P{k}\n" for k in range(100))
    builder = build(folder)
    assert (
        "labeled_faces: notice: 1 of 107 rows are left out: 1 absent; line 8: "
        f"{absent(folder / 'gone.jpg')}; each is listed in {builder.data_path}/rejected.csv"
    ) in capsys.readouterr().err.splitlines()


def test_columns_that_are_not_used_are_named(tmp_path, capsys):
    rows = ["file,age,sex,race", *(f"{name}.png,30,f,1" for name in "abcde")]
    saved = metadata(build(lay_out(tmp_path / "manual", rows)))
    said = capsys.readouterr().err.splitlines()
    assert "labeled_faces: notice: columns not used: race" in said
    assert (
        "labeled_faces: notice: columns are read under other names: 'file' as path, 'sex' as gender"
    ) in said
    assert saved["columns"] == ["path", "age", "gender"]
    assert saved["columns_read_as"] == {"file": "path", "sex": "gender"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["path,age"], "{csv}: no rows below the first line"),
        (["path,age", "a.png,abc", "gone,3"],
         "{csv}: none of its 2 rows can be used: 1 age, 1 absent; line 2: age 'abc' is not a number of "
         "years"),
        (["path,gender", "a.png,0", "b.png,1"],
         "{csv}: none of its 2 rows can be used: 2 gender; line 2: gender '0': datasets disagree on "
         "the meaning of numbers; write female or male"),
        (["path,gender", "gone.png,f"],
         "{csv}: none of its 1 rows can be used: 1 absent; line 2: no {folder}/gone.png, in either case "
         "of its suffix, NFC or NFD"),
        (["photo,age", "a.png,3"],
         "{csv}: no column 'path'; its columns: photo, age; the first line must name them"),
        (["path,age,subject,fold", "a.png,3,Ann,0", "b.png,4,Ann,1"],
         "labels.csv, line 3: subject 'Ann' is in fold 1, but in fold 0 in line 2; a test fold would "
         "leak into training"),
        (["path,age", "a.png,3", "b.png,4"],
         "{csv}: fold 2 is empty: 2 usable images of 2 subjects; five folds need at least five "
         "subjects"),
        (["path,age", "a.png,3", "b.png,1990", "c.png,1991", "d.png,-1", "e.png,x"],
         "{csv}: fold 1 is empty: 1 usable images of 1 subjects; five folds need at least five "
         "subjects; 4 of its 5 rows cannot be used: 3 age, 1 no label; line 3: age 1990 is above 130"),
        (["path,age,fold", *(f"{name}.png,3,0" for name in "abcdef")],
         "{csv}: fold 1 is empty: 6 usable images of 6 subjects; the given folds are 0: give 0 to 4, or "
         "none at all to divide by subject"),
        (["path,age,fold", *(f"{name}.png,3,{k % 3}" for k, name in enumerate("abcdef"))],
         "{csv}: fold 3 is empty: 6 usable images of 6 subjects; the given folds are 0, 1, 2: give 0 to "
         "4, or none at all to divide by subject"),
        (["path,age,fold", *(f"{name}.png,3,{k % 5 + 1}" for k, name in enumerate("abcdef"))],
         "{csv}: column fold counts from 1; subtract 1, as folds are 0 to 4"),
    ],
)  # fmt: skip
def test_datasets_that_cannot_be_built(tmp_path, rows, message):
    folder = lay_out(tmp_path / "manual", rows)
    assert refusal(folder) == message.format(csv=f"{folder}/labels.csv", folder=folder)


def test_another_encoding(tmp_path):
    folder = lay_out(tmp_path / "manual")
    (folder / "labels.csv").write_bytes("path,age\nZoë.png,3\n".encode("latin-1"))
    assert refusal(folder) == (
        f"{folder}/labels.csv, line 2: not UTF-8 (byte 0xeb); save it as UTF-8"
    )


def test_no_labels_file(tmp_path):
    folder = lay_out(tmp_path / "manual")
    (folder / "labels.csv").unlink()
    end = "; name the folder that holds it with --manual_dir"
    assert refusal(folder) == f"labeled_faces/default: no {folder}/labels.csv{end}"
    assert refusal(folder, "ours") == (
        f"labeled_faces/ours: no {folder}/ours/labels.csv or {folder}/labels.csv{end}"
    )
    (folder / "Labels.XLSX").touch()
    (folder / "train.csv").touch()
    assert refusal(folder) == (
        f"labeled_faces/default: no {folder}/labels.csv (there is Labels.XLSX, train.csv: save it as "
        f"labels.csv){end}"
    )


def test_no_manual_dir(tmp_path):
    assert refusal(tmp_path / "none") == (
        f"Manual directory {tmp_path}/none does not exist or is empty. Expected labels.csv and the "
        "photographs that it lists; name the folder that holds them with --manual_dir"
    )


@pytest.mark.parametrize("name", ["../x", "1.0.0", "a/b", "a b"])
def test_names_that_cannot_be_a_folders(tmp_path, name):
    with pytest.raises(InputError) as caught:
        Builder(config=name, data_dir=tmp_path)
    assert str(caught.value) == (
        f"labeled_faces/{name}: invalid name; use a letter, then letters, digits, dots, dashes and "
        "underscores"
    )


def test_links_are_followed_and_pipes_are_not_opened(tmp_path):
    folder = lay_out(tmp_path / "manual", [*ROWS, "link.png,30,f,Lea", "pipe.png,30,f,Lea"])
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(encode(Image.fromarray(draw(77))))
    (folder / "link.png").symlink_to(elsewhere)
    os.mkfifo(folder / "pipe.png")
    builder = build(folder)
    assert metadata(builder)["examples"] == 7
    assert listing(builder) == [["9", "pipe.png", "absent", f"{folder}/pipe.png is not a file"]]


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0", "HEIC; convert it to JPEG or PNG"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF; convert it to JPEG or PNG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n",
         "a Git LFS pointer; fetch the file with git lfs pull"),
        (b"\x1f\x8b\x08\0", "compressed by gzip; unpack it with gunzip"),
        (b"text", None),
    ],
)  # fmt: skip
def test_photographs_that_are_something_else_are_named(tmp_path, content, detail):
    folder = lay_out(tmp_path / "manual", [*ROWS, "odd.jpg,30,f,Odd"])
    (folder / "odd.jpg").write_bytes(content)
    assert listing(build(folder)) == [
        ["8", "odd.jpg", "not an image", f"odd.jpg: {detail}" if detail else ""]
    ]


def test_paths_in_another_spelling_are_found_and_told(tmp_path, capsys):
    on_disk = [
        "g.PNG",
        unicodedata.normalize("NFD", "Zoë.png"),
        unicodedata.normalize("NFC", "Žofie.Png"),
    ]
    listed = [
        "g.png",
        unicodedata.normalize("NFC", "Zoë.png"),
        unicodedata.normalize("NFD", "Žofie.PNG"),
    ]
    folder = lay_out(tmp_path / "manual", [*ROWS, *(f"{path},30,f,{path}" for path in listed)])
    (folder / "g.png").unlink()
    for seed, name in enumerate(on_disk):
        (folder / name).write_bytes(encode(Image.fromarray(draw(70 + seed))))
    (folder / on_disk[2]).rename(folder / "Žofie.png")
    builder = build(folder)
    assert set(examples(builder)) >= {"g.PNG", on_disk[1], "Žofie.png"}
    assert listing(builder) == []
    assert (
        "labeled_faces: notice: paths spelled otherwise on disk, in the case of the suffix or in "
        "Unicode form: 3, such as 'g.PNG' for 'g.png'"
    ) in capsys.readouterr().err.splitlines()


UNKNOWN = ("nan", "unknown", "None", "N/A", "-1", "NULL", "")


def test_unknown_subjects_are_not_one_person(tmp_path, capsys):
    unknown = [f"{name}.png,30,f,{text}" for name, text in zip("bcdefgh", UNKNOWN, strict=True)]
    builder = build(lay_out(tmp_path / "manual", [ROWS[0], "a.png,26,female,Ann", *unknown]))
    found = examples(builder)
    assert {key: example["subject"] for key, example in found.items()} == {"a.png": "Ann"} | {
        f"{name}.png": f"face of {name}.png" for name in "bcdefgh"
    }
    saved = metadata(builder)
    assert (saved["subjects_given"], saved["without_subject"], saved["subjects"]) == ("some", 7, 8)
    notice = (
        "7 of 8 faces have no subject: each counts as a subject of its own, so one person may be in two "
        "folds"
    )
    assert saved["subjects_notice"] == notice
    assert f"labeled_faces: notice: {notice}" in capsys.readouterr().err.splitlines()


def test_without_subjects_and_with_names_that_repeat(tmp_path, capsys):
    folder = lay_out(tmp_path / "manual", ["path,age"])
    for k, name in enumerate(
        ("001A43a", "001A28", "002A03", "002A16", "003A61", "004A10", "003A35")
    ):
        (folder / f"{name}.png").write_bytes(encode(Image.fromarray(draw(k))))
        with (folder / "labels.csv").open("a") as file:
            file.write(f"{name}.png,{name[4:6]}\n")
    saved = metadata(build(folder))
    assert (saved["subjects_given"], saved["without_subject"]) == ("none", 7)
    assert saved["subjects_notice"] == (
        "no face has a subject: each counts as a subject of its own, so one person may be in two folds; "
        "file names repeat a name or number, such as 001 in 001A43a.png and 001A28.png: add a column "
        "subject"
    )
    assert (
        f"labeled_faces: notice: {saved['subjects_notice']}" in capsys.readouterr().err.splitlines()
    )


def test_an_unknown_age_keeps_the_face_for_gender(tmp_path):
    rows = [
        "path,age,gender",
        "a.png,-1,f",
        "b.png,nan,m",
        "c.png,30,-1",
        "d.png,31,f",
        "e.png,32,N/A",
    ]
    found = examples(build(lay_out(tmp_path / "manual", [*rows, "f.png,-1,-1"])))
    assert {
        key: (str(example["age"]), int(example["gender"])) for key, example in found.items()
    } == {
        "a.png": ("nan", 0),
        "b.png": ("nan", 1),
        "c.png": ("30.0", -1),
        "d.png": ("31.0", 0),
        "e.png": ("32.0", -1),
    }


def test_a_photograph_that_changes_during_the_build(tmp_path, monkeypatch):
    folder = lay_out(tmp_path / "manual")
    divide = shards.divide

    def lose(items, **options):
        (folder / "a.png").unlink(missing_ok=True)
        return divide(items, **options)

    monkeypatch.setattr(shards, "divide", lose)
    with pytest.raises(RunError, match=r"a.png: was good when it was checked and is now absent"):
        build(folder)


# Cells of a spoiled row, and the reason to reject it; None keeps the face.
WAYS = {
    "date": ({"age_group": "9-Mar"}, "age group"),
    "float": ({"age_group": '"(25.0, 32.0)"', "age": "28.0"}, None),
    "negative": ({"age": "-28"}, "age"),
    "year": ({"age": "1992"}, "age"),
    "quote": ({"note": '"stray'}, "cells"),
    "missing": ({"path": "gone{number}.png"}, "absent"),
    "subject": ({"subject": "N/A"}, None),
    "suffix": ({"path": "{number}.PNG"}, None),
    "gender": ({"gender": "femal"}, "gender"),
    "age": ({"age": "-1", "age_group": "nan"}, None),
}


def test_of_rows_spoiled_in_ten_ways_exactly_those_are_reported(tmp_path):
    folder = tmp_path / "manual"
    folder.mkdir()
    ways = dict(zip(range(3, 120, 6), [*WAYS, *WAYS], strict=True))
    lines = ["path,age,age_group,gender,subject,note"]
    for number in range(120):
        (folder / f"{number}.png").write_bytes(encode(Image.fromarray(draw(number))))
        row = {"path": f"{number}.png", "age": "28", "age_group": "25-32", "gender": "f"}
        row |= {"subject": f"P{number // 2}", "note": "fine"} | WAYS.get(
            ways.get(number, ""), ({},)
        )[0]
        lines.append(",".join(row.values()).format(number=number))
    (folder / "labels.csv").write_text("\n".join(lines))
    builder = build(folder)
    rejected = {n: why for n, way in ways.items() if (why := WAYS[way][1])}
    assert [(int(line), reason) for line, _, reason, _ in listing(builder)] == [
        (number + 2, reason) for number, reason in rejected.items()
    ]
    found = examples(builder)
    assert set(found) == {f"{n}.png" for n in range(120) if n not in rejected}
    for number in set(range(120)) - rejected.keys():
        example, way = found[f"{number}.png"], ways.get(number, "")
        assert example["gender"] == 0
        assert np.isnan(example["age"]) if way == "age" else example["age"] == 28
        assert labels.age_group(example["age_label"], example["age"], policy="nearest") == (
            labels.UNKNOWN if way == "age" else 4
        )
        assert example["subject"] == (
            f"face of {number}.png" if way == "subject" else f"P{number // 2}"
        )


@pytest.mark.skipif("AGEFLAX_REAL_DATA" not in os.environ, reason="AGEFLAX_REAL_DATA is not set")
def test_real_faces(tmp_path):
    """The first 200 of the real faces, all of them good."""
    import tarfile

    source = Path(os.environ["AGEFLAX_REAL_DATA"]) / "faces"
    with (source / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "0"][:200]
    folder = tmp_path / "manual"
    folder.mkdir()
    wanted = {row["file"] for row in rows}
    with tarfile.open(source / "faces_0.tar") as archive:
        members = [member for member in archive if Path(member.name).name in wanted]
        archive.extractall(folder, members, filter="data")
    path_of = {Path(member.name).name: member.name for member in members}
    lines = [f"{path_of[row['file']]},{row['age']},{row['gender']}" for row in rows]
    (folder / "labels.csv").write_text("\n".join(["path,age,gender", *lines]))
    saved = metadata(build(folder))
    assert saved["examples"] == saved["with_age"] == 200
    assert saved["examples_by_fold"] == [40] * 5
    assert np.sum(list(saved["genders"].values())) == 200
