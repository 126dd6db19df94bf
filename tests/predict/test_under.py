"""The probability of being under an age, on request."""

import csv

import numpy as np
import pytest

from ageflax.bundle import load
from ageflax.errors import InputError
from ageflax.predict import Predictor
from tests.predict import drawn_models
from tests.predict.conftest import decoded


@pytest.fixture(scope="module")
def of_years(tmp_path_factory):
    """A bundle with a distribution over years. Read only."""
    return drawn_models.write(tmp_path_factory.mktemp("years") / "bundle", "task=years+gender")


def test_lines_and_table_tell_it_for_each_age_and_only_when_asked(
    predict, of_years, portraits, tmp_path
):
    (tmp_path / "a.jpg").write_bytes(portraits[0])
    words = ("--under=18,21", f"--csv={tmp_path / 't.csv'}", tmp_path / "a.jpg")
    code, (face,), _ = predict(*words, model=of_years, detector="none")
    assert code == 0
    model = load(of_years)
    shares = np.asarray(model(model.prepare(portraits[0])[None])["years"])[0]
    for age in (18, 21):
        assert face[f"probability_under_{age}"] == pytest.approx(shares[:age].sum(), abs=1e-4)
    with (tmp_path / "t.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["probability_under_18"]) == face["probability_under_18"]
    told = [name for name in row if "under" in name]
    assert told == ["probability_under_18", "probability_under_21"]
    code, (plain,), _ = predict(tmp_path / "a.jpg", model=of_years, detector="none")
    assert {key for key in face if "under" not in key} == set(plain)


def test_an_age_alone_will_do_in_python(of_years, portraits):
    (face,) = Predictor(of_years, detector="none", under=18)(decoded(portraits[0]))
    assert list(face.under) == [18]
    assert 0 < face.under[18] < 1


@pytest.mark.parametrize("age", [0, 101, [18, -1]])
def test_other_ages_are_refused(of_years, age):
    with pytest.raises(InputError, match=r"--under=.*: expected whole years, 1 to 100"):
        Predictor(of_years, detector="none", under=age)


@pytest.mark.parametrize("words", ["", "18,", "0", "18;21", "eighteen", "101", "-1"])
def test_words_that_are_no_ages_are_refused_in_a_line(predict, words, capfd):
    with pytest.raises(SystemExit, match="2"):
        predict(f"--under={words}", "a.jpg")
    assert "expected a whole number, 1 to 100" in capfd.readouterr().err


def test_a_model_without_a_distribution_over_years_refuses(predict, fold, tmp_path):
    """Age groups such as 15-20 do not tell it, nor does an age alone."""
    directly = drawn_models.write(tmp_path / "bundle", "task=years", "loss.years=l1")
    for model in (fold, directly):
        code, found, err = predict("--under=18", "a.jpg", model=model)
        assert (code, found) == (2, [])
        assert "--under=18" in err[0] and "gives no distribution over years" in err[0]
