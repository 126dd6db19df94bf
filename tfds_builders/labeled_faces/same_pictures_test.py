"""Photographs that are there twice, under one name, two names or none."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ageflax.data.washing import near_duplicates
from tests.support.built_dataset import examples
from tfds_builders.labeled_faces.dummy_build import build, encode


def picture(seed: int, side: int = 64) -> Image.Image:
    """Soft blobs of colour, like nothing else with another seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures 0 to 8; anew.jpg and small.jpg show what 0.png shows, copy.png is 1.png."""
    folder = tmp_path / "manual"
    folder.mkdir()
    for seed in range(9):
        (folder / f"{seed}.png").write_bytes(encode(picture(seed)))
    (folder / "anew.jpg").write_bytes(encode(picture(0), "JPEG", quality=50))
    (folder / "small.jpg").write_bytes(encode(picture(0, 48), "JPEG"))
    (folder / "copy.png").write_bytes(encode(picture(1)))
    return folder


def subjects(folder: Path, *rows: str) -> dict[str, str]:
    """Who is on which photograph; rows are `path,subject,fold`, those of 2.png to 8.png are added."""
    others = [f"{seed}.png,P{seed},," for seed in range(2, 9)]
    lines = [
        "path,subject,fold,age",
        *(f"{row},30" for row in rows),
        *(f"{row}30" for row in others),
    ]
    (folder / "labels.csv").write_text("\n".join(lines))
    return {key: example["subject"] for key, example in examples(build(folder)).items()}


def test_what_is_saved_anew_is_the_same_person(folder: Path):
    found = subjects(folder, "0.png,,", "anew.jpg,,", "1.png,,", "copy.png,,", "small.jpg,,")
    assert found["0.png"] == found["anew.jpg"] == found["small.jpg"] == "face of 0.png"
    assert found["1.png"] == found["copy.png"] == "face of 1.png"


def test_a_name_holds_for_the_nameless_copies(folder: Path):
    found = subjects(folder, "0.png,,", "anew.jpg,Ann,", "1.png,Bob,", "copy.png,,")
    assert found["0.png"] == found["anew.jpg"] == "Ann"
    assert found["1.png"] == found["copy.png"] == "Bob"


def test_two_names_stay_two(folder: Path):
    found = subjects(folder, "0.png,Ann,", "anew.jpg,Bea,", "1.png,,")
    assert (found["0.png"], found["anew.jpg"]) == ("Ann", "Bea")


def test_where_everybody_has_a_name_nothing_is_compared(folder: Path, monkeypatch):
    monkeypatch.delattr(near_duplicates, "alike")
    found = subjects(folder, "0.png,Ann,", "anew.jpg,Ann,")
    assert (found["0.png"], found["anew.jpg"], found["2.png"]) == ("Ann", "Ann", "P2")


def test_too_many_that_are_alike_are_told_and_left(folder: Path, monkeypatch, capsys):
    search = near_duplicates.close_pairs
    monkeypatch.setattr(near_duplicates, "close_pairs", lambda *a, **k: search(*a, **k, limit=0))
    found = subjects(folder, "0.png,,", "anew.jpg,,", "1.png,,", "copy.png,,")
    assert found["anew.jpg"] == "face of anew.jpg"
    assert found["copy.png"] == "face of 1.png"
    assert (
        "labeled_faces: notice: similar pictures are not taken for one subject: more than 0 "
        "pairs of images are within 4 bits of each other; ask for a smaller distance"
    ) in capsys.readouterr().err.splitlines()


def test_pictures_that_are_all_alike_are_no_copies(tmp_path: Path, capsys):
    folder = tmp_path / "manual"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.png").write_bytes(encode(picture(0)))
    rows = [f"{number}.png,30" for number in range(20)]
    (folder / "labels.csv").write_text("\n".join(["path,age", *rows]))
    builder = build(folder)
    found = examples(builder)
    assert len({example["subject"] for example in found.values()}) == 20
    assert [info.num_examples for info in builder.info.splits.values()] == [4] * 5
    assert (
        "labeled_faces: notice: 20 pictures are alike; groups of more than 5 are not taken for one "
        "subject; name the subject in labels.csv if they are"
    ) in capsys.readouterr().err.splitlines()


def test_five_copies_of_one_picture_still_make_five_folds(tmp_path: Path):
    folder = tmp_path / "manual"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(encode(Image.new("RGB", (1, 1), "red")))
    rows = [f"{number}.png,30" for number in range(5)]
    (folder / "labels.csv").write_text("\n".join(["path,age", *rows]))
    assert {example["split"] for example in examples(build(folder)).values()} == {
        f"fold_{number}" for number in range(5)
    }
