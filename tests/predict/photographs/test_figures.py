"""Figures over photographs, against values by hand."""

import numpy as np
import pytest

from ageflax import metrics
from ageflax.bundle import Description
from ageflax.predict import Answer, Face
from ageflax.predict.photographs import figures, table
from ageflax.predict.photographs.choice import NO_FACE, Photograph
from tests.predict import drawn_models
from tfds_builders.labeled_faces import rows

GROUPS = ("0-2", "4-6", "8-12", "15-20", "25-32", "38-43", "48-53", "60-100")


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """Function that gives the description of a model with other heads."""
    from ageflax.bundle import load

    def of(task):
        folder = tmp_path_factory.mktemp(task.replace("+", "_")) / "bundle"
        return load(drawn_models.write(folder, f"task={task}")).description

    return of


def photograph(k, cells, age=None, gender="female", group="0-2"):
    """The k-th photograph with a label, and an answer unless the age is None."""
    label = rows.parse(rows.Line(k + 2, {"path": f"{k}.jpg", **cells}))
    if age is None:
        return Photograph(label, reason=NO_FACE)
    face = Face(
        f"{k}.jpg", k, None, (0.0, 0.0, 1.0, 1.0), 0.9,
        Answer(group, {name: float(name == group) for name in GROUPS}), age, 1.0,
        Answer(gender, {"female": float(gender == "female"), "male": float(gender == "male")}),
        under={18: float(age < 18)},
    )  # fmt: skip
    return Photograph(label, face, 1)


def several(cells_and_answers):
    return [photograph(k, cells, *answer) for k, (cells, *answer) in enumerate(cells_and_answers)]


def test_ranges(described):
    tested = several([
        ({"age_group": "0-2", "gender": "f"}, 5.0),
        ({"age_group": "0-2", "gender": "m"}, 1.0, "male"),
        ({"age_group": "20-29", "gender": "f"}, 20.0, "male"),
        ({"age_group": "70+"}, 64.0),
        ({"age_group": "70-100"}, None),
    ])  # fmt: skip
    found = figures.measure(tested, described("years+gender"))
    assert list(found) == ["years", "gender"]
    ages = found["years"]
    assert list(ages) == ["faces", "ranges", "of_age"]
    ranges = ages["ranges"]
    assert {k: ranges[k] for k in ("faces", "outside", "inside", "bias", "answered")} == {
        "faces": 4, "outside": (3 + 6) / 4, "inside": 0.5, "bias": (3 - 6) / 4, "answered": 90 / 4,
    }  # fmt: skip
    assert list(ranges["groups"]["age"]) == ["0-2", "20-29", "70+"]
    assert list(ranges["groups"]["gender"]) == ["female", "male"]
    youngest = ranges["groups"]["age"]["0-2"]
    assert (youngest["faces"], youngest["outside"], youngest["answered"]) == (2, 1.5, 3.0)
    assert ranges["groups"]["gender"]["female"]["outside"] == 1.5
    assert ranges["groups"]["age"]["70+"]["intervals"]["outside"] == [None, None]  # one subject
    gender = found["gender"]
    assert (gender["faces"], gender["exact"], gender["majority_floor"]) == (3, 2 / 3, 2 / 3)
    assert gender["confusion"] == [[1, 1], [0, 1]]
    assert gender["groups"]["age"]["0-2"]["exact"] == 1.0
    assert "70+" not in gender["groups"]["age"]  # no gender there


def test_single_ages(described):
    tested = several([
        ({"age": "1"}, 2.0), ({"age": "4"}, 2.0), ({"age": "16"}, 22.0), ({"age_group": "80"}, 70.0),
        ({"gender": "m"}, 50.0, "male"), ({"age": "30"}, None),
    ])  # fmt: skip
    years = figures.measure(tested, described("years+gender"))["years"]
    assert years["faces"] == 4
    of_years = years["years"]
    expected = metrics.years(np.array([1, 4, 16, 80.0]), np.array([2, 2, 22, 70.0]))
    assert {key: of_years[key] for key in expected} == expected
    assert (of_years["mae"], of_years["median"], of_years["cs5"]) == (19 / 4, 4.0, 0.5)
    assert of_years["bias"] == (1 - 2 + 6 - 10) / 4
    assert {name: one["mae"] for name, one in of_years["groups"]["age"].items()} == {
        "0-5": 1.5, "13-17": 6.0, "75-130": 10.0,
    }  # fmt: skip


def test_both_kinds_of_labels_are_kept_apart(described):
    tested = several([({"age": "20"}, 30.0), ({"age_group": "20-29"}, 30.0)])
    years = figures.measure(tested, described("years"))["years"]
    assert (years["faces"], years["years"]["faces"], years["ranges"]["faces"]) == (2, 1, 1)
    assert (years["years"]["mae"], years["ranges"]["outside"]) == (10.0, 1.0)
    assert (years["years"]["answered"], years["ranges"]["answered"]) == (30.0, 30.0)
    assert list(years["ranges"]["groups"]["age"]) == ["20-29"]
    assert list(years["years"]["groups"]["age"]) == ["18-29"]


def test_who_is_of_age_is_told_by_ages_and_by_ranges_on_one_side(described):
    tested = several([
        ({"age": "16"}, 26.0), ({"age_group": "13-17"}, 14.0), ({"age_group": "15-20"}, 14.0),
        ({"age_group": "20-29", "gender": "f"}, 17.0), ({"age": "24"}, 40.0),
    ])  # fmt: skip
    figures_of_age = figures.measure(tested, described("years"))["years"]["of_age"]
    groups = figures_of_age["groups"]["all"]
    assert {name: one["faces"] for name, one in groups.items()} == {
        "13-17": 2, "18-24": 1, "under 18": 2, "18 and over": 2,
    }  # fmt: skip
    assert groups["13-17"]["challenge"]["share"][0] == 1 / 2
    assert groups["18 and over"]["probability"]["share"] == [1 / 2] * 9
    directly = figures.measure(tested, described("joint"))["age"]["of_age"]
    assert list(directly["thresholds"]) == ["challenge"]


def test_groups_of_the_model_count_for_labels_within_one(described):
    tested = several([
        ({"age_group": "25-32"}, 28.0, "female", "25-32"),
        ({"age_group": "60-69"}, 50.0, "female", "48-53"),
        ({"age_group": "70+"}, 20.0, "female", "15-20"),
        ({"age": "100.5"}, 70.0, "female", "60-100"),
        ({"age": "5"}, 5.0, "female", "4-6"),
        ({"age_group": "20-29"}, 28.0, "female", "25-32"),  # in none
        ({"age": "7"}, 5.0, "female", "4-6"),
    ])  # fmt: skip
    ages = figures.measure(tested, described("joint"))["age"]
    assert ages["faces"] == 7
    groups = ages["groups_of_model"]
    assert (groups["faces"], groups["exact"], groups["one_off"]) == (5, 3 / 5, 4 / 5)
    assert groups["per_class"]["60-100"]["faces"] == 3
    assert "groups_of_model" not in figures.measure(tested, described("years"))["years"]


def test_intervals_draw_subjects(described):
    answers = 30 + 10 * np.random.default_rng(0).normal(size=60)
    cells = [
        {"age": str(20 + k % 40), "subject": f"s{k % 7}", "gender": "mf"[k % 2]} for k in range(60)
    ]
    tested = several(zip(cells, answers.tolist(), strict=True))
    found = figures.measure(tested, described("years"))["years"]["years"]
    errors = np.abs(answers - np.array([float(cell["age"]) for cell in cells]))
    drawn = metrics.intervals(np.array([cell["subject"] for cell in cells]), {"mae": errors})
    assert found["intervals"]["mae"] == pytest.approx(drawn["mae"], rel=1e-12)
    assert {key: found["intervals"][key] for key in ("level", "persons", "resamples")} == {
        "level": 0.95, "persons": 7, "resamples": 2000,
    }  # fmt: skip
    women = [k for k, cell in enumerate(cells) if cell["gender"] == "f"]
    alone = np.where(np.isin(np.arange(60), women), errors, np.nan)
    low, high = found["groups"]["gender"]["female"]["intervals"]["mae"]
    assert low < np.nanmean(alone) < high


def test_without_subjects_photographs_are_drawn(described):
    tested = several([({"age": str(20 + k)}, 30.0) for k in range(20)])
    assert (
        figures.measure(tested, described("years"))["years"]["years"]["intervals"]["persons"] == 20
    )


def test_the_table(described):
    tested = several([
        ({"age_group": "0-2", "gender": "f"}, 5.0),
        ({"age_group": "0-2", "gender": "m"}, 1.0, "male"),
        ({"age_group": "20-29", "gender": "f"}, 15.0, "male"),
        ({"age": "40"}, 42.0),
    ])  # fmt: skip
    lines = table.text(figures.measure(tested, described("years+gender"))).splitlines()
    heads = [line.split("  ")[0] for line in lines]
    assert heads == ["age", "all", "30-44", "", "age range", "all", "0-2", "20-29", "female", "male", "",
                     "gender", "all", "0-2", "20-29", "female", "male", "",
                     "Rules that pass a face as of age, or challenge it; no proof of age", "18 or older?", "faces",
                     *(f"P(under 18) < {p} %" for p in (2, 5, 10, 20, 50)),
                     *(f"age >= {age}" for age in (18, 21, 25, 30))]  # fmt: skip
    assert lines[1].split() == ["all", "1", "2.00", "-", "2.00", "100.0", "-", "+2.0", "42.0"]
    assert lines[4].split("  ")[-1] == "mean answer"
    assert lines[5].split()[:3] == ["all", "3", "2.67"]
    assert max(map(len, lines)) <= 120


def test_only_answers_to_known_labels_are_measured(described):
    assert figures.measure(several([({"gender": "f"}, 5.0)]), described("years")) == {}
    assert list(figures.measure(several([({"age": "3"}, 5.0)]), described("gender"))) == []
    assert isinstance(described("years"), Description)
