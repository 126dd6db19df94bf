"""How often intervals hold the age: in the terminal, on the page of a run, and in the card."""

import json

import numpy as np

from ageflax import labels
from ageflax.metrics import conformal
from ageflax.report import table
from tests.bundle.test_card import FIGURES, evaluation
from tests.report.small_runs import age, finish, page, write_fold
from tests.support import small_bundle

AGES = np.array([3.0, 3.0, 30.0, 30.0])
FOUND = conformal.coverage(
    (0.8, 0.95),
    np.array([[[2, 4], [0, 6]]] * 2 + [[[40, 49], [25, 49]]] * 2),
    np.stack([AGES, AGES], axis=1),
    np.arange(4),
    {"age": conformal.age_bands(AGES), "gender": (np.array([0, 0, 1, 1]), labels.GENDERS)},
)
ROWS = [
    ["true age", "faces", "80 % intervals hold, %", "years wide", "95 % intervals hold, %", "years wide"],
    ["all", "4", "50.0 [0, 100]", "6.5", "100.0 [100, 100]", "16.0"],
    ["0-5", "2", "100.0 [100, 100]", "3.0", "100.0 [100, 100]", "7.0"],
    ["30-44", "2", "0.0 [0, 0]", "10.0", "100.0 [100, 100]", "25.0"],
    ["female", "2", "100.0 [100, 100]", "3.0", "100.0 [100, 100]", "7.0"],
    ["male", "2", "0.0 [0, 0]", "10.0", "100.0 [100, 100]", "25.0"],
]  # fmt: skip


def test_the_terminal_shows_coverage_and_width_by_age_and_gender():
    lines = table.age_intervals({"age": {"age_interval": FOUND}, "gender": {}})
    assert lines == ["", *table.aligned(ROWS)]
    assert table.age_intervals({"age": {}}) == []


def test_the_page_of_a_run_has_them(tmp_path):
    write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 3))
    finish(tmp_path)
    assert "Intervals of ages" not in page(tmp_path).texts["h2"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    summary["tasks"]["age"]["age_interval"] = FOUND
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    shown = page(tmp_path)
    assert "Intervals of ages" in shown.texts["h2"]
    assert shown.tables["rates"] == [ROWS]


def test_the_card_has_them_for_every_test_and_says_what_is_promised(tmp_path):
    of_test = evaluation(tasks={"years": {"age_interval": FOUND}, "gender": {"age_interval": "?"}})
    small_bundle.write(
        tmp_path, figures={"age": FIGURES["age"] | {"age_interval": FOUND}}, evaluations=(of_test,)
    )
    card = (tmp_path / "README.md").read_text()
    assert card.count("".join(f"| {' | '.join(row)} |\n" for row in ROWS[1:])) == 2
    assert "promised for people and photographs like those of the training data alone" in card
    small_bundle.write(tmp_path / "without", figures=FIGURES)
    assert "Intervals of ages" not in (tmp_path / "without" / "README.md").read_text()
