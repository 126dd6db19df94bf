import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ageflax.errors import RunError
from ageflax.evaluation.figures import answers_of, measure
from ageflax.evaluation.predictions import Predictions
from ageflax.evaluation.predictions_csv import read_predictions, write_predictions
from ageflax.metrics import ages
from tests.evaluation.test_figures import AGE, FACES, GENDER, YEARS, predictions, years_directly

TARGETS = {"age": AGE, "years": YEARS, "gender": GENDER}


def equal(one, other) -> None:
    """Asserts equal answers; years to the nine digits that are written."""
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name in ("years_predicted", "probabilities") and a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-6)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("task", ["age", "gender", "years"])
def test_what_is_written_is_read_back(task, tmp_path):
    target = TARGETS[task]
    given = predictions(task, target)
    path = tmp_path / "predictions.csv"
    write_predictions(path, given, FACES, {task: target})
    read = read_predictions(path, task, names=target.names)
    equal(read, answers_of(given, FACES, task, target))
    if task == "gender":
        # A file of gender alone has no ages.
        assert read.years_true is None


def test_a_head_without_a_distribution_is_read_back(tmp_path):
    given = years_directly(2, 4, 11, 18, 29, 50, 60, 104)
    path = tmp_path / "predictions.csv"
    write_predictions(path, given, FACES, {"years": YEARS})
    read = read_predictions(path, "years", names=YEARS.names)
    equal(read, answers_of(given, FACES, "years", YEARS))
    assert read.probabilities is None


def test_columns(tmp_path):
    path = tmp_path / "predictions.csv"
    tasks = {"age": AGE, "gender": GENDER}
    both = [predictions(task, target).probabilities for task, target in tasks.items()]
    given = Predictions(np.arange(1, 8), both[0] | both[1], np.zeros(0, int))
    write_predictions(path, given, FACES, tasks)
    header, first, *_, seventh, last = (line.split(",") for line in path.read_text().splitlines())
    assert header == [
        "key", "subject", "age_true", "age_predicted", "age_years_true", "age_years_predicted",
        *(f"age_probability_{name}" for name in AGE.names), "gender_true", "gender_predicted",
        "gender_probability_female", "gender_probability_male",
    ]  # fmt: skip
    assert first[:3] == ["face_1", "a", "4-6"]
    assert first[4] == "5"
    assert float(first[5]) == pytest.approx(ages(both[0]["age"], AGE).years[0])
    assert seventh[2] == seventh[4] == ""  # an unknown age
    assert last[14] == ""  # an unknown gender
    equal(read_predictions(path, "gender"), answers_of(given, FACES, "gender", GENDER))


def test_without_any_known_age_there_are_no_columns_of_years(tmp_path):
    path = tmp_path / "predictions.csv"
    unaged = dataclasses.replace(FACES, ages=np.full(8, np.nan, np.float32))
    write_predictions(path, predictions("age", AGE), unaged, {"age": AGE})
    assert "years" not in path.read_text().splitlines()[0]
    assert read_predictions(path, "age").years_true is None


def test_age_groups_of_years_are_named_by_the_result_beside_them(tmp_path):
    path = tmp_path / "predictions.csv"
    given = predictions("years", YEARS)
    write_predictions(path, given, FACES, {"years": YEARS})
    with pytest.raises(RunError, match=r"no result.json beside it names the age groups"):
        read_predictions(path, "years")
    result = {"tasks": measure(given, FACES, {"years": YEARS})}
    (tmp_path / "result.json").write_text(json.dumps(result))
    equal(read_predictions(path, "years"), answers_of(given, FACES, "years", YEARS))


def test_years_without_groups_beside_them_have_unknown_classes(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("key,subject,years_true,years_predicted\na,u,20,21.5\nb,v,,30\n")
    read = read_predictions(path, "years", names=YEARS.names)
    assert read.true.tolist() == [-1, -1]
    np.testing.assert_array_equal(read.years_true, [20.0, np.nan])


def written(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.csv"
    write_predictions(path, predictions("age", AGE), FACES, {"age": AGE})
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) - 40], r"line 8 has \d+ cells, expected 15"),
        (lambda text: text.replace(",4-6,", ",4-7,"), "age_true is '4-7', expected one of 0-2, 4-6"),
        (lambda text: text.replace(",5,", ",five,"), "line 2: age_years_true is not a number"),
        (lambda text: text.replace(",5,", ",nan,"), "line 2: age_years_true is not a number"),
        (lambda text: "", "no column key"),
        (lambda text: text.replace("age", "sex"), "no column age_true"),
        (lambda text: text.replace("face_3", 'fa"ce\n"_3'), "line 4 has 1 cells"),
        (lambda text: text.replace("face_3", '"face_3'), "unexpected end of data|expected after"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_with_the_line(damage, message, tmp_path):
    path = written(tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(RunError, match=message) as error:
        read_predictions(path, "age")
    assert str(error.value).startswith(f"{path}: ")
    assert "; remove the result.json beside it and start the run again" in str(error.value)


def test_an_absent_file_and_bytes_that_are_no_text_are_named(tmp_path):
    with pytest.raises(RunError, match=r"predictions.csv: No such file or directory"):
        read_predictions(tmp_path / "predictions.csv", "age")
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:100] + b"\xff\xfe\x00" * 20)
    with pytest.raises(RunError, match=r"predictions.csv: .*(decode|NUL)"):
        read_predictions(path, "age")
