"""Runs that lack folds, tasks or figures."""

import json
import shutil
from typing import Any

from tests.report.comparison.command_line import compared, edit
from tests.support.finished_runs import write_run


def test_missing_folds_are_named_with_their_reason(tmp_path, runs, capsys):
    write_run(tmp_path / "part", tasks=("age", "gender"), folds=(0, 4), seed=1)
    (tmp_path / "part" / "fold_1").mkdir()
    (tmp_path / "part" / "fold_2").mkdir()
    failure = {"error": "killed by SIGKILL (out of memory?)\nsecond line"}
    (tmp_path / "part" / "fold_2" / "failure.json").write_text(json.dumps(failure))
    (tmp_path / "part" / "fold_4" / "predictions.csv").unlink()
    shown, found = compared(tmp_path, runs["weak"], tmp_path / "part")
    assert found["runs"][1]["missing"] == {
        "1": "started but not finished",
        "2": "killed by SIGKILL (out of memory?)",
        "3": "not started",
        "4": "finished, but predictions.csv is missing",
    }
    assert "part: fold 2 missing: killed by SIGKILL (out of memory?)" in shown.texts["p.notice"]
    assert "part: fold 2 missing: killed by SIGKILL (out of memory?)" in capsys.readouterr().out
    # The pair is compared over fold 0, the one that both have with its predictions.
    count = len((runs["weak"] / "fold_0" / "predictions.csv").read_text().splitlines()) - 1
    assert found["questions"][0]["pairs"][0]["folds"] == [0]
    assert found["questions"][0]["pairs"][0]["faces"] == count


def test_folds_outside_the_config(tmp_path, runs):
    write_run(tmp_path / "one", tasks=("age", "gender"), folds=(3,), config={"folds": [3]})
    _, found = compared(tmp_path, runs["weak"], tmp_path / "one")
    assert set(found["runs"][1]["missing"].values()) == {"not among the folds of this run's config"}


def test_a_run_without_a_finished_fold_is_a_row_of_dashes(tmp_path, runs):
    failed = tmp_path / "failed" / "fold_0"
    failed.mkdir(parents=True)
    (failed / "failure.json").write_text('{"error": "no space left on device"}')
    shown, found = compared(tmp_path, runs["weak"], tmp_path / "failed", runs["again"])
    assert shown.tables["figures runs"][1][2] == ["failed", "–", "–", "–"]
    assert "failed: fold 0 missing: no space left on device" in shown.texts["p.notice"]
    assert [(p["first"], p["second"]) for p in found["questions"][0]["pairs"]] == [
        ("weak", "again")
    ]
    # A run that never started has no recipe to differ in.
    assert list(found["differences"]) == ["seed"]


def test_no_fold_in_common_is_nothing_to_compare(tmp_path):
    for name, folds in {"a": (0,), "b": (1,)}.items():
        write_run(tmp_path / name, tasks=("gender",), folds=folds)
    shown, found = compared(tmp_path, tmp_path / "a", tmp_path / "b")
    (said,) = found["questions"][0]["pairs"][0]["statements"]
    assert said["text"] == "a and b: no face that both have answered, so nothing to compare."
    assert said["text"] in shown.texts["li"]


def test_a_run_of_one_task_beside_one_of_two(tmp_path, runs):
    write_run(tmp_path / "gender_only", tasks=("gender",), seed=1)
    shown, found = compared(tmp_path, runs["weak"], tmp_path / "gender_only")
    age, gender = found["questions"]
    assert age["pairs"] == [] and len(gender["pairs"]) == 1
    assert shown.tables["figures runs"][0][2][0] == "gender_only"
    assert set(shown.tables["figures runs"][0][2][1:]) == {"–"}


def test_an_older_summary_has_fewer_figures(tmp_path):
    def older(summary: dict[str, Any]) -> None:
        for figures in summary["tasks"].values():
            for key in ("intervals", "calibration", "groups", "years"):
                figures.pop(key, None)

    for seed, name in enumerate(("a", "b")):
        write_run(tmp_path / name, tasks=("age",), seed=seed)
        edit(tmp_path / name / "summary.json", older)
    shown, _ = compared(tmp_path, tmp_path / "a", tmp_path / "b")
    # Recall by age group is in every version.
    assert [table[0][0] for table in shown.tables["groups"]] == ["age group, recall %"]
    assert "to" not in shown.tables["figures runs"][0][1][1]


def test_figures_that_are_no_numbers(tmp_path, runs):
    shutil.copytree(runs["weak"], tmp_path / "nan")

    def spoil(summary: dict[str, Any]) -> None:
        summary["tasks"]["age"]["exact"]["mean"] = float("nan")
        summary["tasks"]["age"]["groups"]["gender"]["female"]["exact"] = None

    edit(tmp_path / "nan" / "summary.json", spoil)
    shown, _ = compared(tmp_path, tmp_path / "nan", runs["again"])
    assert shown.tables["figures runs"][0][1][1].startswith("– ±")
