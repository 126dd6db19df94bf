"""Intervals of ages in predictions: lines, tables, tracks, and where a model has none."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from ageflax.errors import InputError
from ageflax.predict import Predictor, tracking
from ageflax.predict.face import AgeInterval, Face
from ageflax.predict.frames import Frame, Seen
from tests.predict import drawn_models


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    """A bundle for years, calibrated for intervals."""
    return drawn_models.write(tmp_path_factory.mktemp("years") / "bundle", "task=years")


def test_lines_and_tables_have_the_interval_of_the_level(predict, years, portraits, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(portraits[0])
    spans = []
    for level in ("0.8", "0.95"):
        words = (f"--interval={level}", f"--csv={tmp_path / 'table.csv'}", tmp_path / "photo.jpg")
        code, (line,), told = predict(*words, model=years)
        assert code == 0
        assert not [each for each in told if "interval" in each]
        interval = line["age_interval"]
        assert interval["level"] == float(level)
        assert interval["low"] <= round(line["age"]) <= interval["high"]
        (row,) = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
        assert (row["age_low"], row["age_high"]) == (str(interval["low"]), str(interval["high"]))
        spans.append(interval["high"] - interval["low"])
    assert spans[0] < spans[1]
    _, (line,), _ = predict("--interval=0", tmp_path / "photo.jpg", model=years)
    assert "age_interval" not in line


def test_groups_give_the_years_of_whole_groups(fold, photo):
    (face,) = Predictor(fold, detector="none")(photo)
    assert face.age_interval is not None
    assert face.age_interval.low in (0, 4, 8, 15, 25, 38, 48, 60)
    assert face.age_interval.high in (2, 6, 12, 20, 32, 43, 53, 100)
    assert [one.level for one in face.age_intervals] == [0.8, 0.9, 0.95]
    assert json.loads(face.to_json())["age_interval"] == dataclasses.asdict(face.age_interval)


def test_a_level_that_the_model_does_not_have_is_refused(years):
    with pytest.raises(InputError, match=r"^--interval=0\.7: .* has 0\.8, 0\.9, 0\.95; 0 for none"):
        Predictor(years, detector="none", interval=0.7)


@pytest.mark.parametrize("why", ["none", "crops", "run", "gender"])
def test_where_there_can_be_none_it_is_said_once_and_absent(why, years, photo, tmp_path):
    model, crops, message = (
        years,
        None,
        "is of an earlier version, or had too few validation people",
    )
    if why == "none":
        model = drawn_models.write(tmp_path / "bundle", intervals=False)
    elif why == "crops":
        crops, message = "mirror", "are calibrated for crops=center, not mirror"
    elif why == "run":
        message = "are calibrated one by one; name one fold"
        for k in range(2):
            model = drawn_models.write(tmp_path / f"fold_{k}" / "bundle", seed=k).parent.parent
    else:
        model = drawn_models.write(tmp_path / "bundle", "task=gender")
    said: list[str] = []
    predictor = Predictor(model, detector="none", crops=crops, say=said.append)
    for _ in range(2):
        (face,) = predictor(photo)
        assert face.age_interval is None
        assert "age_interval" not in face.to_dict()
    told = [line for line in said if line.startswith("no age intervals: ")]
    assert len(told) == (why != "gender")
    assert all(message in line for line in told)


def test_along_a_track_most_frames_decide():
    def seen(number: int, low: int, high: int) -> Seen:
        face = Face("clip", 0, number, (0.0, 0.0, 9.0, 9.0), 1.0, None, 30.0, None, None,
                    age_interval=AgeInterval(0.8, low, high))  # fmt: skip
        return Seen(Frame("clip", 0, number, np.zeros((1, 1, 3), np.uint8)), (face,))

    spans = [(20, 30), (25, 35), (24, 40), (60, 70), (60, 70), (60, 70), (60, 70), (60, 70)]
    frames = [seen(k, *span) for k, span in enumerate(spans)]
    found = [one.faces[0].age_interval for one in tracking.followed(frames, 0.9)]
    assert [(one.low, one.high) for one in found if one] == [
        (20, 30),
        (25, 35),  # the newer frame weighs more
        (24, 35),
        (25, 30),
        (25, 30),
        (60, 70),
        (60, 70),
        (60, 70),
    ]
    unsmoothed = [one.faces[0].age_interval for one in tracking.followed(frames, 0.0)]
    assert [(one.low, one.high) for one in unsmoothed if one] == spans
