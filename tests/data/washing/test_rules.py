"""Washing: every reason to leave a record out; no record gets lost."""

import csv
import dataclasses
import io
import json
import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ageflax.data import images
from ageflax.data.washing import rules
from ageflax.data.washing.near_duplicates import perceptual_hash
from ageflax.data.washing.report import REASONS, Record
from ageflax.data.washing.rules import READABLE, Thresholds, wash
from ageflax.errors import InputError


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def photograph(seed: int = 0, side: int = 8, kind: str = "PNG") -> bytes:
    return encode(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8), kind)


GOOD = Record("a.jpg", "Ann", "", 30.0, 0, face_score=3.0, second_face_score=math.nan)


def with_(**changes: object) -> Record:
    return dataclasses.replace(GOOD, **changes)


def reasons(records, contents, thresholds=rules.USUAL) -> list[str]:
    """Reason for each record, "" if kept."""
    report = wash(records, lambda row: contents[row], thresholds)
    found = {rejection.row: rejection.reason for rejection in report.rejected}
    return [found.get(row, "") for row in range(len(records))]


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        (GOOD, "", ""),
        (with_(face_score=-math.inf), "no face", ""),
        (with_(face_score=math.inf), "no face", ""),
        (with_(face_score=math.nan), "no face", ""),
        (with_(face_score=0.99), "low face score", "0.99"),
        (with_(face_score=1.0), "", ""),
        (with_(face_score=None, second_face_score=None), "", ""),
        (with_(second_face_score=1.5), "second face", "1.5"),
        (with_(gender=-1), "gender unknown", ""),
        (with_(age=math.nan), "age unknown", ""),
        (with_(age=math.nan, age_label="(25, 32)"), "", ""),
        (with_(age=-31.0), "age out of range", "-31"),
        (with_(age=2014.0), "age out of range", "2014"),
        (with_(age=100.5), "age out of range", "100.5"),
        (with_(age=0.0), "", ""),
        (with_(age=100.0), "", ""),
        # The first reason that applies.
        (with_(age=-1.0, gender=-1, face_score=-math.inf), "no face", ""),
    ],
)
def test_records_by_the_usual_rule(record: Record, reason: str, detail: str):
    assert rules.check_record(record, rules.USUAL) == (reason, detail)


@pytest.mark.parametrize(
    "record",
    [
        with_(face_score=-math.inf),
        with_(second_face_score=5.0),
        with_(gender=-1),
        with_(age=math.nan),
        with_(age=-31.0),
        with_(age=2014.0),
    ],
)
def test_readable_takes_any_record(record: Record):
    assert rules.check_record(record, READABLE) == ("", "")


def test_images_by_reason():
    grey = np.full((8, 8, 3), 128, np.uint8)
    barely = grey.copy()
    barely[0, 0] = 130
    contents = [
        photograph(),
        b"",
        b"<html>404</html>",
        photograph(kind="JPEG")[:300],
        encode(np.full((1, 1, 3), 9, np.uint8)),
        encode(np.zeros((8, 8, 3), np.uint8)),
        encode(grey),
        encode(barely),
        encode(np.zeros((8, 8), np.uint8), "JPEG"),
    ]
    found = reasons([with_(key=str(k)) for k in range(len(contents))], contents)
    assert found == [
        "", "empty", "not an image", "truncated", "too small", "all zero", "flat", "flat", "all zero",
    ]  # fmt: skip


def test_what_cannot_be_read_keeps_its_reason():
    def read(row: int) -> bytes:
        raise images.BadImageError(images.REASONS[row])

    report = wash([GOOD] * len(images.REASONS), read)
    assert report.counts == dict.fromkeys(images.REASONS, 1)


def test_image_thresholds():
    contents = [photograph(side=8), encode(np.full((8, 8, 3), 128, np.uint8))]
    assert reasons([GOOD] * 2, contents, Thresholds(smallest_side=9)) == ["too small"] * 2
    assert reasons([GOOD] * 2, contents, Thresholds(flatness=0.0)) == ["", ""]


def test_the_image_of_a_rejected_record_is_not_read():
    read = []

    def remember(row: int) -> bytes:
        read.append(row)
        return photograph(row)

    assert wash([with_(age=-1.0), GOOD], remember).kept == [1]
    assert read == [1]


# Files 0 and 1 are equal; file 2 shows the same pixels in another file; 3 is another picture.
PIXELS = np.random.default_rng(5).integers(0, 256, (8, 8, 3), np.uint8)
FILES = [encode(PIXELS), encode(PIXELS), encode(PIXELS, "BMP"), photograph(3)]


@pytest.mark.parametrize(
    ("ages", "thresholds", "expected"),
    [
        ([30, 30, 30, 30], Thresholds(), ["", "", "", ""]),
        ([30, 40, 30, 30], Thresholds(), ["", "", "", ""]),
        (
            [30, 30, 30, 30],
            Thresholds(duplicates_allowed=False),
            ["", "duplicate", "duplicate", ""],
        ),
        ([30, 40, 30, 30], Thresholds(conflicts_allowed=False), ["conflicting labels"] * 3 + [""]),
        ([30, 30, 30, 40], Thresholds(conflicts_allowed=False), ["", "", "", ""]),
        (
            [30, 40, 30, 30],
            Thresholds(duplicates_allowed=False, conflicts_allowed=False),
            ["conflicting labels"] * 3 + [""],
        ),
    ],
)
def test_identical_images(ages, thresholds, expected):
    records = [with_(key=f"{k}.png", age=float(age)) for k, age in enumerate(ages)]
    assert reasons(records, FILES, thresholds) == expected


def test_identical_images_are_reported_whether_kept_or_not():
    records = [with_(key=f"{k}.png", age=float(age)) for k, age in enumerate([30, 40, 30, 30])]
    for thresholds in (Thresholds(), Thresholds(conflicts_allowed=False)):
        report = wash(records, lambda row: FILES[row], thresholds)
        (group,) = report.identical
        assert [record.key for record in group.records] == ["0.png", "1.png", "2.png"]
        assert (group.same_file, group.conflicting) == (False, True)
    assert [rejection.detail for rejection in report.rejected] == [
        "same image as 1.png",
        "same image as 0.png",
        "same image as 0.png",
    ]
    alike = wash(records[:1] * 2, lambda row: FILES[row])
    assert (alike.identical[0].same_file, alike.identical[0].conflicting) == (True, False)


def test_unknown_ages_do_not_conflict():
    records = [with_(age=math.nan), with_(age=math.nan)]
    report = wash(records, lambda row: FILES[0], READABLE)
    assert not report.identical[0].conflicting


def test_the_report_as_files(tmp_path):
    records = [
        with_(key="good.png"),
        with_(key="twin, quoted.png", age=math.nan, subject="Bob"),
        with_(key="old.png", age=2014.0),
        with_(key="none.png"),
    ]
    contents = [FILES[0], FILES[0], FILES[3], b""]
    report = wash(
        records, lambda row: contents[row], Thresholds(age_needed=False, min_age=-math.inf)
    )
    report.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "identical_images.csv",
        "rejected.csv",
        "wash_report.json",
    ]
    content = json.loads((tmp_path / "wash_report.json").read_text())
    assert content == {
        "records": 4,
        "kept": 2,
        "rejected": {"age out of range": 1, "empty": 1},
        "identical_images": {"groups": 1, "records": 2, "groups_with_conflicting_labels": 1},
        "thresholds": {
            "min_age": None,
            "max_age": 100.0,
            "age_needed": False,
            "gender_needed": True,
            "min_face_score": 1.0,
            "second_face_allowed": False,
            "smallest_side": 2,
            "flatness": 1.0,
            "duplicates_allowed": True,
            "conflicts_allowed": True,
        },
    }
    assert (tmp_path / "rejected.csv").read_text() == (
        "row,key,reason,detail\n2,old.png,age out of range,2014\n3,none.png,empty,\n"
    )
    with (tmp_path / "identical_images.csv").open(newline="") as file:
        assert [list(row.values()) for row in csv.DictReader(file)] == [
            ["0", "good.png", "Ann", "", "30.0", "0", "True", "True"],
            ["0", "twin, quoted.png", "Bob", "", "", "0", "True", "True"],
        ]


def test_sizes_are_those_of_the_kept_files():
    contents = [photograph(0), b"", photograph(1, side=20)]
    report = wash([GOOD] * 3, lambda row: contents[row])
    assert report.kept == [0, 2]
    assert report.sizes == [len(contents[0]), len(contents[2])]
    assert report.hashes == [perceptual_hash(images.decode(contents[k])) for k in (0, 2)]


CONTENTS = [*FILES, b"", b"junk", encode(np.zeros((4, 4, 3), np.uint8))]


@given(
    st.lists(
        st.builds(
            Record,
            key=st.text(max_size=3),
            age_label=st.sampled_from(["", "(0, 2)"]),
            age=st.floats(),
            gender=st.integers(-1, 2),
            face_score=st.none() | st.floats(),
            second_face_score=st.none() | st.floats(),
        ),
        max_size=20,
    ),
    st.builds(
        Thresholds,
        min_age=st.floats(-10, 20),
        max_age=st.floats(20, 200),
        age_needed=st.booleans(),
        gender_needed=st.booleans(),
        min_face_score=st.none() | st.floats(-2, 2),
        second_face_allowed=st.booleans(),
        smallest_side=st.integers(1, 9),
        flatness=st.floats(0, 10),
        duplicates_allowed=st.booleans(),
        conflicts_allowed=st.booleans(),
    ),
)
@settings(max_examples=60, deadline=None)
def test_the_books_balance_whatever_comes(records: list[Record], thresholds: Thresholds):
    report = wash(records, lambda row: CONTENTS[row % len(CONTENTS)], thresholds)
    summary = report.as_json()
    assert summary["kept"] + sum(summary["rejected"].values()) == summary["records"] == len(records)
    assert set(summary["rejected"]) <= set(REASONS)
    json.dumps(summary, allow_nan=False)
    again = wash(records, lambda row: CONTENTS[row % len(CONTENTS)], thresholds)
    assert again.as_json() == summary


def test_images_in_flight_are_few_and_progress_counts_them():
    lock, now, most, done = threading.Lock(), 0, 0, []

    def read(row: int) -> bytes:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        content = photograph(row % 7)
        with lock:
            now -= 1
        return content

    report = wash([GOOD] * 600, read, progress=done.append)
    assert len(report.kept) == sum(done) == 600
    assert most <= 64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_age": 50.0, "max_age": 40.0}, "washing: min_age=50.0 is above max_age=40.0"),
        ({"min_age": math.nan}, "washing: min_age=nan is above max_age=100.0"),
        ({"min_face_score": math.nan}, "washing: min_face_score is not a number"),
        ({"smallest_side": 0}, "washing: smallest_side=0 is below 1 pixel"),
        ({"flatness": -1.0}, "washing: flatness=-1.0 is not in 0 to 127.5 grey levels"),
        ({"flatness": math.nan}, "washing: flatness=nan is not in 0 to 127.5 grey levels"),
    ],
)
def test_thresholds_that_make_no_sense(values, message):
    with pytest.raises(InputError) as caught:
        Thresholds(**values)
    assert str(caught.value) == message
