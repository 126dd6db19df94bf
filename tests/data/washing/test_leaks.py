"""Pictures that occur in two folds or under two subjects, in datasets made up in memory."""

import csv
import io
import json
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ageflax.data.dataset import StoredDataset
from ageflax.data.washing import leaks, near_duplicates
from ageflax.errors import InputError


def picture(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)


def encode(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


class MadeUp(StoredDataset):
    """A dataset in memory.

    Args:
      rows: image, fold, subject and age of each face; the key is the row.
    """

    def __init__(self, *rows: tuple[bytes, int, str, float]):
        self._rows = rows

    @property
    def name(self) -> str:
        return "made_up/1.0.0"

    def __len__(self) -> int:
        return len(self._rows)

    def examples(self, rows: Any) -> list[dict[str, Any]]:
        return [
            {
                "image": self._rows[row][0],
                "key": str(row).encode(),
                "subject": self._rows[row][2].encode(),
                "age_label": b"",
                "age": self._rows[row][3],
                "gender": 0,
            }
            for row in rows
        ]

    def fold_of(self, row: int) -> int:
        return self._rows[row][1]


def find(*rows: tuple[bytes, int, str, float], distance: int = 4) -> leaks.Leaks:
    return leaks.find(MadeUp(*rows), distance=distance)


FACE = picture(0)
PNG, BMP = encode(FACE), encode(FACE, "BMP")
SAVED_ANEW = encode(FACE, "JPEG", quality=60)
SMALLER = encode(cv2.resize(FACE, (40, 40)), "JPEG")
OTHERS = [encode(picture(seed)) for seed in range(1, 9)]
NAN = float("nan")


def kinds(found: leaks.Leaks) -> list[tuple[str, int, int]]:
    return [(pair.kind, pair.first, pair.second) for pair in found.pairs]


def test_a_clean_dataset():
    found = find(*((content, k % 5, f"P{k}", 30.0) for k, content in enumerate(OTHERS)))
    assert kinds(found) == []
    assert found.unusable == {}
    assert found.identical_images == 0


def test_the_kinds_of_pairs():
    for content, kind in ((PNG, "same file"), (BMP, "same pixels"), (SAVED_ANEW, "alike"),
                          (SMALLER, "alike")):  # fmt: skip
        found = find((PNG, 0, "Ann", 30.0), (OTHERS[0], 0, "Bob", 3.0), (content, 1, "Ann", 30.0))
        assert kinds(found) == [(kind, 0, 2)]
        assert found.identical_images == (kind != "alike")


@pytest.mark.parametrize("content", [PNG, SAVED_ANEW])
@pytest.mark.parametrize(
    ("fold", "subject", "age", "expected"),
    [
        (0, "Ann", 30.0, None),
        (1, "Ann", 30.0, (True, False, False)),
        (0, "Bob", 30.0, (False, True, False)),
        (1, "Bob", 31.0, (True, True, True)),
        (1, "Bob", NAN, (True, True, True)),
    ],
)
def test_pairs_are_told_where_they_cross_folds_or_subjects(content, fold, subject, age, expected):
    found = find((PNG, 0, "Ann", 30.0), (content, fold, subject, age))
    if expected is None:
        assert not found.pairs
        return
    (pair,) = found.pairs
    crossings = found.crosses_folds(pair), found.crosses_subjects(pair), found.labels_differ(pair)
    assert crossings == expected


def test_unknown_ages_on_both_sides_do_not_differ():
    found = find((PNG, 0, "Ann", NAN), (PNG, 1, "Ann", NAN))
    assert not found.labels_differ(found.pairs[0])


def test_a_thousand_copies_are_told_once_each():
    found = find(*((PNG, k % 5, "Ann", 30.0) for k in range(1000)))
    assert found.identical_images == 1
    assert len(found.pairs) == 800  # with the first; every fifth is in the same fold
    assert {pair.first for pair in found.pairs} == {0}


def test_hashes_that_are_close_by_chance_are_looked_at_again(monkeypatch):
    monkeypatch.setattr("ageflax.data.washing.inspection.perceptual_hash", lambda image: 7)
    rows = [(content, 0, f"P{k}", 30.0) for k, content in enumerate([PNG, *OTHERS, SAVED_ANEW])]
    assert kinds(find(*rows)) == [("alike", 0, 9)]


def test_useless_images_are_told_by_reason_and_compared_with_nothing():
    black = encode(np.zeros((9, 9, 3), np.uint8))
    grey = encode(np.full((9, 9, 3), 128, np.uint8))
    dot = encode(np.full((1, 1, 3), 128, np.uint8))
    contents = [black, black, grey, grey, dot, b"", b"junk", PNG[:200], PNG]
    found = find(*((content, k % 5, f"P{k}", 30.0) for k, content in enumerate(contents)))
    assert list(found.unusable.values()) == [
        "all zero", "all zero", "flat", "flat", "too small", "empty", "not an image", "truncated",
    ]  # fmt: skip
    assert kinds(found) == []


def test_the_report_as_files(tmp_path):
    rows = [(PNG, 0, "Ann", 30.0), (b"", 2, "Cid", 1.0), (SAVED_ANEW, 1, "Bob", NAN)]
    found = find(*rows, (PNG, 0, "Dan", 30.0))
    found.write(tmp_path)
    none = {"pairs": 0, "across_folds": 0, "across_subjects": 0, "with_different_labels": 0}
    assert json.loads((tmp_path / "wash_report.json").read_text()) == {
        "dataset": "made_up/1.0.0",
        "faces": 4,
        "unusable": {"empty": 1},
        "groups_of_identical_images": 1,
        "distance": 4,
        "similarity": 0.96,
        "pairs": {
            "same file": none | {"pairs": 1, "across_subjects": 1},
            "same pixels": none,
            "alike": dict.fromkeys(none, 1),
        },
    }
    assert (tmp_path / "rejected.csv").read_text() == "key,fold,subject,reason\n1,2,Cid,empty\n"
    with (tmp_path / "pairs.csv").open(newline="") as file:
        exact, alike = csv.DictReader(file)
    assert (exact["kind"], exact["key_1"], exact["key_2"]) == ("same file", "0", "3")
    assert (alike["crosses_folds"], alike["crosses_subjects"]) == ("True", "True")
    assert (alike["subject_2"], alike["fold_2"], alike["age_2"]) == ("Bob", "1", "nan")
    assert float(alike["similarity"]) > 0.96


def test_progress_counts_every_face():
    done = []
    rows = [(PNG, 0, "Ann", 30.0)] * 70
    leaks.find(MadeUp(*rows), progress=done.append)
    assert sum(done) == 70


def test_more_pairs_than_anybody_reads_are_refused(monkeypatch):
    search = near_duplicates.close_pairs
    monkeypatch.setattr(near_duplicates, "close_pairs", lambda *a, **k: search(*a, **k, limit=1))
    monkeypatch.setattr("ageflax.data.washing.inspection.perceptual_hash", lambda image: 7)
    with pytest.raises(InputError, match="more than 1 pairs of images are within 4 bits"):
        find(*((content, 0, f"P{k}", 30.0) for k, content in enumerate(OTHERS)))
