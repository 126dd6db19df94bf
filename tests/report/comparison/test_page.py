"""The page and the JSON beside it."""

import json
import shutil

import numpy as np
import pytest

from ageflax.report.comparison import text
from tests.report.comparison.command_line import compared, edit
from tests.support.finished_runs import write_run


def test_a_better_run_is_claimed(beside):
    shown, found = beside("weak", "strong", "again")
    age, gender = found["questions"]
    assert (age["name"], age["tasks"]) == (
        "age", {"weak": "age", "strong": "years", "again": "age"},
    )  # fmt: skip
    assert [(p["first"], p["second"]) for p in gender["pairs"]] == [
        ("weak", "strong"), ("weak", "again"), ("strong", "again"),
    ]  # fmt: skip
    better, nothing = age["pairs"][0], age["pairs"][1]
    assert better["faces"] == 240
    assert better["exact"]["difference"] == pytest.approx(
        better["exact"]["second"] - better["exact"]["first"]
    )
    assert better["exact"]["holm_p"] >= better["exact"]["mcnemar_p"]
    assert [said["claimed"] for said in better["statements"]] == [True, True, True]
    assert better["statements"][0]["text"].startswith("strong is better than weak: +")
    assert "(Holm, 3 pairs)" in better["statements"][0]["text"]
    assert not any(said["claimed"] for said in nothing["statements"])
    texts = shown.texts["li.claimed"]
    assert better["statements"][0]["text"] in texts
    assert age["pairs"][2]["statements"][0]["text"] in texts
    assert "corrected by Holm's method" in shown.text


def test_figures_of_the_runs_are_those_of_their_summaries(runs, beside):
    shown, found = beside("weak", "again")
    summary = json.loads((runs["weak"] / "summary.json").read_text())
    assert found["runs"][0]["tasks"] == summary["tasks"]
    figures = summary["tasks"]["gender"]
    exact, (low, high) = figures["exact"], figures["intervals"]["exact"]
    table = shown.tables["figures runs"][1]
    assert table[0] == ["run", "exact %", "faces", "folds"]
    assert table[1][0] == "weak" and table[1][2:] == ["240", "5"]
    assert table[1][1] == (
        f"{100 * exact['mean']:.1f} ± {100 * exact['std']:.1f}{100 * low:.1f} to {100 * high:.1f}"
    )


def test_without_subjects_nothing_is_called_by_subject(runs, tmp_path):
    for name in ("weak", "again"):
        shutil.copytree(runs[name], tmp_path / name)
        path = tmp_path / name / "summary.json"
        summary = json.loads(path.read_text())
        summary["data"]["subjects"] = {"given": "none", "without": 240, "notice": "nobody is named"}
        path.write_text(json.dumps(summary))
    shown, found = compared(tmp_path / "page", tmp_path / "weak", tmp_path / "again")
    assert found["dataset"]["subjects"]["given"] == "none"
    assert "Nobody is named." in shown.texts["p.notice"]
    assert "95 % interval by bootstrap over faces" in " ".join(shown.text.split())
    assert "subject" not in shown.text.replace("validation: subject", "")
    assert "[95 % interval by face]" in text(found)


def test_size_speed_and_recipe(runs, beside):
    shown, found = beside("weak", "strong")
    assert found["runs"][0]["parameters"] == 12  # batch statistics are none
    assert shown.tables["speed"][0][1] == [
        "weak", "resnet18", "12", "random", "5 of 5", "1,000", "480", "15 min 10 s", "1 × cpu",
    ]  # fmt: skip
    rows = {row[0]: row[1:] for row in shown.tables["differences"][0]}
    assert rows == {
        "config key": ["weak", "strong"],
        "task": ["age+gender", "years+gender"],
        "optim.name": ["–", "adamw"],
        "transfer.weights": ["–", "trunk.safetensors"],
    }
    assert found["differences"]["optim.name"] == [None, "adamw"]
    assert "jane" not in shown.source


def test_groups_stand_side_by_side(runs, beside):
    shown, found = beside("weak", "strong")
    tables = {table[0][0]: table for table in shown.tables["groups"]}
    assert list(tables) == [
        "gender, exact %", "gender, MAE, years", "age group, recall %", "age in years, MAE, years",
        "age group, exact %", "gender, recall %",
    ]  # fmt: skip
    weak, strong = (run["tasks"] for run in found["runs"])
    female = tables["gender, exact %"][1]
    assert (female[0], female[2], female[4]) == (
        "female",
        f"{100 * weak['age']['groups']['gender']['female']['exact']:.1f}",
        f"{100 * strong['years']['groups']['gender']['female']['exact']:.1f}",
    )
    assert tables["age in years, MAE, years"][-1][0] == "75 and over"


def test_the_page_needs_nothing_else_and_names_everything(runs, beside):
    shown, _ = beside("weak", "strong")
    shown.assert_needs_nothing_else()
    assert shown.unnamed == []
    # The runs learn other tasks, so their losses are no curve of one panel.
    assert shown.drawings == [
        "Validation, age: exact accuracy", "Validation, gender: exact accuracy",
    ]  # fmt: skip
    shown, _ = beside("weak", "again")
    assert shown.drawings[-1] == "Training loss"
    shown.assert_needs_nothing_else()


def test_the_same_runs_give_the_same_page(tmp_path, runs, beside):
    again = compared(tmp_path, runs["weak"], runs["again"])[0].source
    assert again == beside("weak", "again")[0].source


def test_published_figures_stand_beside_adience_alone(tmp_path, beside):
    shown, found = beside("weak", "again")
    assert "published" not in shown.tables
    assert all(question["published"] == [] for question in found["questions"])
    for name in ("a", "b"):
        write_run(tmp_path / name, tasks=("years", "gender"), faces=60, name="adience/aligned/1.0.0",
                  edition="server", policy="strict")  # fmt: skip
    shown, found = compared(tmp_path, tmp_path / "a", tmp_path / "b")
    of_years, of_gender = shown.tables["published"]
    assert [row[0] for row in of_years[1:5]] == [
        "measured here", "a, 5 folds", "b, 5 folds", "published by others, on the same dataset",
    ]  # fmt: skip
    assert of_years[6][:5] == ["Levi-Hassner, over-sample", "50.7", "5.1", "84.7", "2.2"]
    assert of_gender[6][:3] == ["Levi-Hassner, over-sample", "86.8", "1.4"]
    assert found["questions"][0]["published"][0]["exact"] == {"mean": 49.5, "deviation": 4.4}


def test_hostile_names_stay_text(tmp_path, runs):
    hostile = "<script>alert('1')</script>\"&"
    shutil.copytree(runs["weak"], tmp_path / "other")
    edit(tmp_path / "other" / "config.json", lambda c: c["config"].update(note=hostile))
    failed = tmp_path / "other" / "fold_4"
    shutil.rmtree(failed)
    failed.mkdir()
    (failed / "failure.json").write_text(json.dumps({"error": "<img src=x>"}))
    edit(tmp_path / "other" / "summary.json", lambda s: s.update(folds=[0, 1, 2, 3]))
    shown, _ = compared(tmp_path, runs["weak"], tmp_path / "other", f"--names={hostile},b")
    assert "script" not in shown.tags
    assert shown.images == []
    assert shown.tables["figures runs"][0][1][0] == hostile
    assert "b: fold 4 missing: <img src=x>" in shown.texts["p.notice"]


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    for seed, name in enumerate(("first", "second")):
        write_run(tmp_path / name / "levi", tasks=("gender",), seed=seed)
    _, found = compared(tmp_path, tmp_path / "first" / "levi", tmp_path / "second" / "levi")
    assert [run["name"] for run in found["runs"]] == ["first/levi", "second/levi"]


def test_the_differences_are_those_of_the_faces(runs, beside):
    """Counted here face by face, as the JSON has them."""
    _, found = beside("weak", "again")
    right = []
    for name in ("weak", "again"):
        rows = [
            line.split(",")
            for k in range(5)
            for line in (runs[name] / f"fold_{k}" / "predictions.csv").read_text().splitlines()[1:]
        ]
        header = (runs[name] / "fold_0" / "predictions.csv").read_text().splitlines()[0].split(",")
        true, guess = header.index("gender_true"), header.index("gender_predicted")
        right.append(np.array([row[true] == row[guess] for row in rows]))
    exact = found["questions"][1]["pairs"][0]["exact"]
    assert exact["only_first"] == int((right[0] & ~right[1]).sum())
    assert exact["only_second"] == int((right[1] & ~right[0]).sum())
    assert exact["difference"] == pytest.approx(right[1].mean() - right[0].mean())


def test_the_table_on_the_terminal(tmp_path, runs, capsys):
    _, found = compared(tmp_path, runs["weak"], runs["again"])
    lines = capsys.readouterr().out.splitlines()
    start = lines.index(next(line for line in lines if line.startswith("gender")))
    assert lines[start].split() == ["gender", "folds", "faces", "exact,", "%"]
    figures = found["runs"][0]["tasks"]["gender"]
    exact, (low, high) = figures["exact"], figures["intervals"]["exact"]
    assert lines[start + 1].split() == [
        "weak", "5", "240", f"{100 * exact['mean']:.1f}", "+-", f"{100 * exact['std']:.1f}",
        f"[{100 * low:.1f},", f"{100 * high:.1f}]",
    ]  # fmt: skip
    floor = figures["majority_floor"]["mean"]
    assert lines[start + 3].split()[:4] == ["best", "constant", "answer", f"{100 * floor:.1f}"]
    assert lines[start + 4] == found["questions"][1]["pairs"][0]["statements"][0]["text"]
