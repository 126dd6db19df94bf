"""Bad photographs and rows: each is listed, and none is fatal to the others."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ageflax.data.building import shards
from ageflax.errors import InputError, RunError
from tests.support.built_dataset import metadata
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


def listing(builder: Builder) -> list[list[str]]:
    with (Path(builder.data_path) / "rejected.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


SPOILED = {
    "empty.jpg": (b"", "empty"),
    "page.jpg": (b"<html>404</html>", "not an image"),
    "cut.jpg": (encode(Image.fromarray(draw(9, 64)), "JPEG")[:400], "truncated"),
    "black.jpg": (encode(Image.new("RGB", (9, 9)), "JPEG"), "all zero"),
}


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
    ]
    folder = lay_out(tmp_path / "manual", rows)
    (folder / "folder").mkdir()
    for name, (content, _) in SPOILED.items():
        (folder / name).write_bytes(content)
    builder = build(folder)
    bare = "gender '0': datasets disagree on the meaning of numbers; write female or male"
    assert listing(builder) == [
        *([str(8 + k), name, why, ""] for k, (name, (_, why)) in enumerate(SPOILED.items())),
        ["12", "gone.jpg", "absent", ""],
        ["13", "folder", "absent", ""],
        ["14", f"{'x' * 300}.jpg", "absent", ""],
        ["15", "g.png", "age", "age 'abc' is not a number of years"],
        ["16", "g.png", "gender", bare],
        ["17", "/etc/passwd", "path",
         "path '/etc/passwd' is absolute; write it relative to the folder of labels.csv"],
        ["18", "../g.png", "path", "path '../g.png' leaves the folder of labels.csv"],
        ["19", "g.png", "cells", "3 cells, expected 4 as in the first line"],
        ["20", "a.png", "duplicate row", "says the same as line 2"],
        ["21", "h.png", "conflicting rows", "lines 21, 22 disagree on h.png"],
        ["22", "h.png", "conflicting rows", "lines 21, 22 disagree on h.png"],
    ]  # fmt: skip
    saved = metadata(builder)
    assert saved["rows"] == 21 == saved["examples"] + sum(saved["rejected"].values())
    said = [line for line in capsys.readouterr().err.splitlines() if "labeled_faces: " in line]
    assert said == [
        "labeled_faces: WARNING: 15 of 21 rows (71.4%) cannot be used and are left out:",
        "labeled_faces: WARNING: 1 cells, 2 path, 1 age, 1 gender, 1 duplicate row, 2 conflicting "
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
        "labeled_faces: notice: 1 of 107 rows are left out; each is listed in "
        f"{builder.data_path}/rejected.csv"
    ) in capsys.readouterr().err.splitlines()


def test_columns_that_are_not_used_are_named(tmp_path, capsys):
    rows = ["path,age,sex", *(f"{name}.png,30,f" for name in "abcde")]
    build(lay_out(tmp_path / "manual", rows))
    assert "labeled_faces: notice: columns not used: sex" in capsys.readouterr().err.splitlines()


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
         "{csv}: none of its 1 rows can be used: 1 absent; line 2: gone.png: absent"),
        (["file,age", "a.png,3"], "{csv}: no column 'path'; its columns: file, age"),
        (["path,age,subject,fold", "a.png,3,Ann,0", "b.png,4,Ann,1"],
         "labels.csv, line 3: subject 'Ann' is in fold 1, but in fold 0 in line 2; a test fold would "
         "leak into training"),
        (["path,age", "a.png,3", "b.png,4"],
         "fold 2 is empty: 2 usable images of 2 subjects; five folds need at least five subjects"),
        (["path,age,fold", *(f"{name}.png,3,0" for name in "abcdef")],
         "fold 1 is empty: 6 usable images of 6 subjects; five folds need at least five subjects"),
    ],
)  # fmt: skip
def test_datasets_that_cannot_be_built(tmp_path, rows, message):
    folder = lay_out(tmp_path / "manual", rows)
    assert refusal(folder) == message.format(csv=f"{folder}/labels.csv")


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
    assert listing(builder) == [["9", "pipe.png", "absent", ""]]


def test_a_photograph_that_changes_during_the_build(tmp_path, monkeypatch):
    folder = lay_out(tmp_path / "manual")
    divide = shards.divide

    def lose(items, **options):
        (folder / "a.png").unlink(missing_ok=True)
        return divide(items, **options)

    monkeypatch.setattr(shards, "divide", lose)
    with pytest.raises(RunError, match=r"a.png: was good when it was checked and is now absent"):
        build(folder)


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
