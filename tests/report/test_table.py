import copy

import pytest

from ageflax.report import table


def figure(mean: float | None, std: float | None = 0.0123) -> dict:
    return {"mean": mean, "std": std, "folds": [mean]}


def summary() -> dict:
    years = {
        "faces": 18490, "exact": figure(0.588), "majority_floor": figure(0.177),
        "one_off": figure(0.906), "one_off_floor": figure(0.427), "mae": figure(10.04, 0.92),
        "mae_floor": figure(17.21), "cs5": figure(0.532), "cs5_floor": figure(0.251),
        "intervals": {"exact": [0.571, 0.603], "mae": [9.84, 10.46]},
    }  # fmt: skip
    gender = {
        "faces": 18302, "exact": figure(0.835), "majority_floor": figure(0.507),
        "intervals": {"exact": [0.8166, 0.8534]},
    }  # fmt: skip
    return {
        "folds": [0, 3],
        "protocol": {"name": "cross_validation", "label_policy": "nearest", "crops": "ten"},
        "data": {"name": "labeled_faces/ours/1.0.0"},
        "tasks": {"years": years, "gender": gender},
    }


def test_figures_stand_with_their_intervals_and_floors():
    lines = table.text(summary()).splitlines()
    assert lines[0] == (
        "labeled_faces/ours/1.0.0, cross_validation, test folds 0, 3; labels nearest, crops ten;"
        " 95 % intervals by subject"
    )
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[1:]]
    assert rows == [
        ["faces", "exact, %", "95 %", "floor", "one-off, %", "floor", "MAE, years", "95 %", "floor",
         "CS@5, %", "floor"],
        ["years", "18490", "58.8 +- 1.2", "[57.1, 60.3]", "17.7", "90.6 +- 1.2", "42.7",
         "10.0 +- 0.9", "[9.8, 10.5]", "17.2", "53.2 +- 1.2", "25.1"],
        ["gender", "18302", "83.5 +- 1.2", "[81.7, 85.3]", "50.7"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "unit"), [("all", "subject"), ("some", "subject or face"), ("none", "face")]
)
def test_intervals_are_by_face_where_subjects_are_unknown(given, unit):
    data = {"name": "labeled_faces/ours/1.0.0", "subjects": {"given": given, "notice": "..."}}
    title = table.text(summary() | {"data": data}).splitlines()[0]
    assert title.endswith(f"; 95 % intervals by {unit}")


def test_the_widest_table_fits_120_columns():
    lines = table.text(summary()).splitlines()
    assert max(map(len, lines[1:])) <= 120
    assert len({line.index("[") for line in lines[2:]}) == 1  # columns stand under each other


def test_figures_that_one_fold_or_one_subject_lacks_are_dashes():
    short = copy.deepcopy(summary())
    del short["tasks"]["years"]
    short["tasks"]["gender"] |= {"exact": figure(0.5, None), "intervals": {"exact": [None, None]}}
    assert table.text(short).splitlines()[2].split() == ["gender", "18302", "50.0", "-", "50.7"]
    short["tasks"]["gender"]["exact"] = figure(None)
    assert table.text(short).splitlines()[2].split() == ["gender", "18302", "-", "-", "50.7"]
