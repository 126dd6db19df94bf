"""Intervals, reliability, groups and years on the page, each if summary.json has it."""

import json
from pathlib import Path
from typing import Any

import pytest

from ageflax import report
from tests.report.small_runs import age, finish, gender, page, write_fold
from tests.support.finished_runs import write_run
from tests.support.html_page import Page

GENDERS = {
    "female": {"faces": 3, "exact": 2 / 3, "one_off": 1.0, "mae": 4.0, "cs5": 0.5, "bias": -1.5},
    "male": {"faces": 0, "exact": None, "one_off": None, "mae": None, "cs5": None, "bias": None},
}


def bins(*held: tuple[int, int, float, float]) -> list[dict[str, Any]]:
    """Fifteen of them; `held` are place, faces, confidence and accuracy."""
    found: list[dict[str, Any]] = [
        {"low": k / 15, "high": (k + 1) / 15, "faces": 0, "confidence": None, "accuracy": None}
        for k in range(15)
    ]
    for place, faces, confidence, accuracy in held:
        found[place] |= {"faces": faces, "confidence": confidence, "accuracy": accuracy}
    return found


def add(workdir: Path, task: str, **keys: Any) -> None:
    """Adds figures of a task to summary.json."""
    path = workdir / "summary.json"
    summary = json.loads(path.read_text())
    summary["tasks"][task] |= keys
    path.write_text(json.dumps(summary))


def small(workdir: Path) -> None:
    write_fold(workdir, 0, {"age": [0, 1]}, age(0, 3))
    finish(workdir)


def test_a_summary_of_an_older_version_lacks_only_what_it_lacks(tmp_path):
    small(tmp_path)
    shown = page(tmp_path)
    assert "95 % interval" not in shown.text
    for heading in ("Reliability", "By gender and age", "Faces within k years"):
        assert heading not in shown.texts["h2"]
    assert {"figures", "matrix", "recall", "folds"} == set(shown.tables)


def test_intervals_stand_beside_mean_and_deviation(tmp_path):
    small(tmp_path)
    intervals = {"level": 0.95, "persons": 1234, "resamples": 2000, "seed": 0}
    add(tmp_path, "age", intervals=intervals | {"exact": [0.412, 0.588], "one_off": [None, None]})
    shown = page(tmp_path)
    table = shown.tables["figures"][0]
    assert [row[3] for row in table] == ["95 % interval", "41.2 to 58.8", "–", "–"]
    assert "1,234 subjects, each with all of their faces" in shown.text


NOTICE = (
    "no face has a subject: each counts as a subject of its own, so one person may be in two folds"
)


@pytest.mark.parametrize(
    ("given", "drawn"),
    [
        ("none", "bootstrap: 1,234 faces, not people, are drawn with replacement 2,000 times."),
        ("some", "bootstrap: 1,234 subjects (a face without one counts as one), each with all"),
    ],
)
def test_without_subjects_the_page_says_so_and_draws_faces(tmp_path, given, drawn):
    write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 3), leaks=1)
    finish(tmp_path)
    intervals = {"level": 0.95, "persons": 1234, "resamples": 2000, "seed": 0}
    add(tmp_path, "age", intervals=intervals | {"exact": [0.412, 0.588], "one_off": [None, None]})
    summary = json.loads((tmp_path / "summary.json").read_text())
    summary["data"]["subjects"] = {"given": given, "without": 2, "notice": NOTICE}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    shown = page(tmp_path)
    assert f"N{NOTICE[1:]}." in shown.texts["p.notice"]
    assert drawn in shown.text
    assert "The test folds share no subject with training" not in shown.text
    assert ("whole subjects held out" in shown.text) == (given == "some")


def test_one_subject_has_no_interval(tmp_path):
    small(tmp_path)
    intervals = {"level": 0.95, "persons": 1, "resamples": 2000, "seed": 0, "exact": [None, None]}
    add(tmp_path, "age", intervals=intervals)
    assert "No interval can be computed from 1 subject." in page(tmp_path).text


@pytest.mark.parametrize(
    ("confidence", "words"),
    [
        (
            0.9,
            "mean probability of 90.0 % and 75.0 % of them are right: the model is overconfident.",
        ),
        (
            0.6,
            "mean probability of 60.0 % and 75.0 % of them are right: the model is underconfident.",
        ),
        (0.752, "mean probability of 75.2 %, in line with the 75.0 % that are right."),
    ],
)
def test_reliability_in_words_and_bars(tmp_path, confidence, words):
    small(tmp_path)
    held = bins((9, 4, confidence, 0.75))
    add(tmp_path, "age", calibration={"ece": 0.153, "nll": 0.5, "bins": held, "ece_scaled": None})
    shown = page(tmp_path)
    assert "Expected calibration error 15.3 points" in shown.text
    assert words in shown.text
    assert shown.tables["bins"][0][1:] == [
        ["60 to 67", "4", f"{100 * confidence:.1f}", "75.0"],
    ]
    assert any(title.startswith("Reliability of age") for title in shown.drawings)
    assert "Temperature" not in shown.text


def test_temperatures_of_the_folds_and_the_error_with_them(tmp_path):
    write_run(tmp_path, tasks=("gender",), folds=(0, 1))
    add(tmp_path, "gender", calibration={
        "ece": 0.1, "nll": None, "bins": bins((9, 4, 0.8, 0.7)), "ece_scaled": 0.0123,
    })  # fmt: skip
    text = page(tmp_path).text
    words = (
        "Temperature fitted on validation faces: 1.10 to 1.15; with it, the error is 1.2 points."
    )
    assert words in text
    assert "Negative log likelihood" not in text


def test_reliability_of_no_face(tmp_path):
    small(tmp_path)
    add(tmp_path, "age", calibration={"ece": None, "nll": None, "bins": bins()})
    shown = page(tmp_path)
    assert "No labelled face has a probability" in shown.text
    assert not any(title.startswith("Reliability") for title in shown.drawings)


def test_groups_have_a_bar_each_and_empty_ones_dashes(tmp_path):
    small(tmp_path)
    add(tmp_path, "age", groups={"gender": GENDERS})
    shown = page(tmp_path)
    assert shown.tables["groups"][0] == [
        ["gender", "faces", "exact %", "one-off %", "MAE, years", "CS@5 %", "bias, years"],
        ["female", "3", "66.7", "", "100.0", "", "4.00", "", "50.0", "", "-1.50"],
        ["male", "0", "–", "", "–", "", "–", "", "–", "", "–"],
    ]
    # Shares are drawn against 1, errors against the largest.
    row = shown.source[shown.source.index("female</th><td>3") :]
    widths = [part.split("%")[0] for part in row.split("width:")[1:5]]
    assert widths == ["66.7", "100.0", "100.0", "50.0"]


def test_errors_of_children_and_the_old(tmp_path):
    small(tmp_path)
    band = {"mae": None, "cs5": None, "bias": None, "faces": 0}
    bands = {
        "0-5": {"faces": 1, "mae": 1.0, "cs5": 1.0, "bias": 1.0},
        "6-12": band,
        "13-17": {"faces": 3, "mae": 3.0, "cs5": 1.0, "bias": -1.0},
        "18-29": band,
        "75-130": {"faces": 1, "mae": 12.0, "cs5": 0.0, "bias": -12.0},
    }
    add(tmp_path, "age", years={"bands": bands})
    shown = page(tmp_path)
    table = shown.tables["groups"][0]
    assert [row[0] for row in table] == [
        "age in years", "0 to 5", "6 to 12", "13 to 17", "18 to 29", "75 and over",
    ]  # fmt: skip
    assert table[1] == ["0 to 5", "1", "1.00", "", "100.0", "", "+1.00"]
    words = "Mean absolute error in years: 2.5 for 4 faces under 18, 12.0 for 1 face 60 and over."
    assert words in shown.text


def test_shares_within_k_years(tmp_path):
    small(tmp_path)
    add(tmp_path, "age", years={"cs": {str(k): k / 10 for k in range(11)}})
    shown = page(tmp_path)
    header, shares = shown.tables["within"][0]
    assert header == ["k, years", *map(str, range(11))]
    assert shares == ["faces %", *(f"{10 * k:.1f}" for k in range(11))]
    assert "Share of faces within k years of the true age" in shown.drawings


def test_false_adults_and_false_minors(tmp_path):
    small(tmp_path)
    found = {"age": 18, "minors": 8, "adults": 1, "false_adult": 0.125, "false_minor": 0.0}
    add(tmp_path, "age", years={"adulthood": found})
    shown = page(tmp_path)
    assert "1 of 8 faces under 18 was estimated at 18 or above." in shown.text
    assert "0 of 1 face 18 or above were estimated below 18." in shown.text
    assert shown.tables["adulthood"][0][1:] == [
        ["false adult", "under 18", "8", "12.5", ""],
        ["false minor", "18 or above", "1", "0.0", ""],
    ]
    add(tmp_path, "age", years={"adulthood": found | {"minors": 0, "false_adult": None}})
    shown = page(tmp_path)
    assert "No face under 18 was tested." in shown.text
    assert shown.tables["adulthood"][0][1][3] == "–"


def test_a_figure_that_is_no_number_is_a_dash(tmp_path):
    small(tmp_path)
    add(tmp_path, "age", exact={"mean": float("nan"), "std": None, "folds": [float("nan")]})
    assert page(tmp_path).tables["figures"][0][1] == ["Exact accuracy %", "–", "–", "50.0", "–"]


@pytest.mark.parametrize("tasks", [("years", "gender"), ("age", "gender"), ("gender",)])
def test_a_whole_run_has_every_section(tmp_path, tasks):
    write_run(
        tmp_path, tasks=tasks, name="adience/aligned/1.0.0", edition="server", policy="strict"
    )
    report.write(tmp_path)
    shown = Page(tmp_path / "report.html")
    sections = ["Figures", "Learning curves", "Confusion", "Reliability", "By gender and age"]
    if tasks != ("gender",):
        sections += ["Faces within k years", "Minors taken for adults, adults for minors"]
    assert shown.texts["h2"] == [*sections, "Worst mistakes", "Protocol"]
    assert len(shown.tables["published"]) == len(tasks)
    assert shown.unnamed == []
    shown.assert_needs_nothing_else()
    assert "jane" not in shown.source


def test_predictions_that_are_gone_leave_the_wall_empty_and_say_so(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0]}, gender(0.1))
    finish(tmp_path)
    (tmp_path / "fold_0" / "predictions.csv").unlink()
    assert "None: the run left no predictions.csv." in page(tmp_path).text
