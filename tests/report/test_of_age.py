"""Who passes as of age, on the page of a run."""

import json

import numpy as np
import pytest

from ageflax import metrics
from ageflax.report import of_age
from tests.report.small_runs import age, finish, page, write_fold


def figures(low, high):
    ages = np.array([low, high], np.float64).T
    rng = np.random.default_rng(0)
    estimated, minor = rng.uniform(10, 40, len(low)), rng.random(len(low))
    genders, subjects = np.arange(len(low)) % 2, np.arange(len(low))
    return metrics.of_age(ages, estimated, minor, genders=genders, subjects=subjects)


@pytest.fixture
def shown(tmp_path):
    """Shows the page of a run whose summary has these figures."""

    def show(found):
        write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 3))
        finish(tmp_path)
        summary = json.loads((tmp_path / "summary.json").read_text())
        summary["tasks"]["age"]["of_age"] = found
        (tmp_path / "summary.json").write_text(json.dumps(summary))
        return page(tmp_path), (tmp_path / "report.html").read_text()

    return show


def test_the_page_has_rates_by_gender_two_curves_and_what_they_are_not_for(shown):
    years = list(range(13, 31))
    one, text = shown(figures(years, years))
    assert "Who passes as of age" in one.texts["h2"]
    few, everyone, women, men = one.tables["rates"]
    assert few[0] == ["18 or older?", "13-17 passed, %", "female", "male", "18-24 challenged, %",
                      "25-30 challenged, %"]  # fmt: skip
    assert few[1] == ["faces", "5", "3", "2", "7", "6"]
    assert len(few) == 2 + 5 + 4
    assert [len(rows) for rows in (everyone, women, men)] == [2 + 9 + 18] * 3
    assert everyone[1] == ["faces", "5", "7", "6"]
    assert women[1] == ["faces", "3", "3", "3"]
    assert 'aria-label="Passed minors and challenged adults by age"' in text
    assert 'aria-label="Passed minors against challenged adults"' in text
    assert "No rule here verifies an age on its own, and none has any meaning in law" in one.text


def test_ranges_have_rates_of_both_sides_and_no_curve(shown):
    one, text = shown(figures([0, 40], [9, 49]))
    assert one.tables["rates"][0][1] == ["faces", "1", "1", "1"]
    assert "Passed minors" not in text


def test_nobody_of_known_age_and_earlier_versions_have_no_section():
    assert of_age.section({}, name="x") is None
    assert of_age.section({"of_age": figures([np.nan], [np.nan])}, name="x") is None
    adults = of_age.section({"of_age": figures([20.0], [20.0])}, name="x")
    assert adults is not None
    assert adults["trade"] is None
    assert adults["buffer"] is not None
