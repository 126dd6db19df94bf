"""python -m ageflax.compare: several runs on one page, and whether one is better."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ageflax import compare, comparison
from ageflax.comparison import _pairs as pairs
from tests.finished_runs import write_run
from tests.html_page import Page


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished once, for tests that only read: a weak, a strong one of years, and the weak one anew."""
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "weak", tasks=("age", "gender"), skill=0.5)
    write_run(root / "strong", tasks=("years", "gender"), skill=3.0, config={
        "optim": {"name": "adamw"}, "transfer": {"weights": "/home/jane/trunk.safetensors"},
    })  # fmt: skip
    write_run(root / "again", tasks=("age", "gender"), seed=5, skill=0.5)
    return {path.name: path for path in sorted(root.iterdir())}


def compared(tmp_path: Path, *words: Any) -> tuple[Page, dict[str, Any]]:
    """The page and the JSON that a command line gives."""
    output = tmp_path / "out" / "page.html"
    assert compare.main([*map(str, words), f"--output={output}"]) == 0
    return Page(output), json.loads(output.with_suffix(".json").read_text())


def refused(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    """What is said of a command line that cannot be followed."""
    assert compare.main([*map(str, words)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def pair(first: float, second: float, ends: list[float | None], p: float | None) -> dict[str, Any]:
    return {"first": "A", "second": "B", "faces": 100, "exact": {
        "first": first, "second": second, "difference": second - first, "interval": ends,
        "only_first": 3, "only_second": 6, "mcnemar_p": p, "holm_p": p,
    }}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "claimed", "text"),
    [
        (pair(0.5, 0.531, [0.012, 0.05], 0.0004), True,
         "B is better than A: +3.1 points exact, 95 % interval 1.2 to 5.0, p = 0.0004."),
        (pair(0.531, 0.5, [-0.05, -0.012], 0.00001), True,
         "A is better than B: +3.1 points exact, 95 % interval 1.2 to 5.0, p < 0.0001."),
        (pair(0.5, 0.51, [-0.01, 0.03], 0.2), False,
         "B against A: no difference can be claimed: +1.0 points exact, 95 % interval -1.0 to 3.0,"
         " p = 0.20."),
        (pair(0.5, 0.53, [0.01, 0.05], 0.051), False,
         "B against A: no difference can be claimed: +3.0 points exact, 95 % interval 1.0 to 5.0,"
         " p = 0.0510."),
        (pair(0.5, 0.53, [-0.01, 0.05], 0.01), False,
         "B against A: no difference can be claimed: +3.0 points exact, 95 % interval -1.0 to 5.0,"
         " p = 0.0100."),
        (pair(0.5, 0.5, [0.0, 0.0], None), False,
         "B against A: no difference can be claimed: +0.0 points exact, 95 % interval 0.0 to 0.0."),
        (pair(0.5, 1.0, [None, None], 0.5), False,
         "B against A: no difference can be claimed: +50.0 points exact, of too few persons for an"
         " interval, p = 0.50."),
    ],
)  # fmt: skip
def test_what_a_pair_allows_one_to_say(given, claimed, text):
    assert pairs.statements(given, pairs=1) == [
        {"figure": "exact", "claimed": claimed, "text": text}
    ]


def test_fewer_years_off_is_better():
    given = {"first": "A", "second": "B", "faces": 9, "mae": {
        "first": 5.0, "second": 4.5, "difference": -0.5, "interval": [-0.8, -0.2],
    }}  # fmt: skip
    (said,) = pairs.statements(given, pairs=3)
    assert said["text"] == (
        "B is better than A: -0.50 years mean absolute error, 95 % interval -0.80 to -0.20."
    )


def test_holm_is_the_step_down_procedure():
    corrected = comparison.holm([0.02, None, 0.01, 0.035])
    assert corrected[1] is None
    # 3 * 0.01; then 2 * 0.02; then 0.035, but never below the one before.
    assert [corrected[k] for k in (2, 0, 3)] == pytest.approx([0.03, 0.04, 0.04])
    assert comparison.holm([0.5, 0.6]) == [1.0, 1.0]
    assert comparison.holm([]) == []


def test_all_pairs_of_five_and_the_first_against_each_of_six():
    assert len(pairs.chosen(5)) == 10
    assert pairs.chosen(6) == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]


def test_a_better_run_is_said_to_be_so(tmp_path, runs):
    shown, found = compared(tmp_path, runs["weak"], runs["strong"], runs["again"])
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


def test_figures_of_the_runs_are_those_of_their_summaries(tmp_path, runs):
    shown, found = compared(tmp_path, runs["weak"], runs["again"])
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


def test_size_speed_and_recipe(tmp_path, runs):
    shown, found = compared(tmp_path, runs["weak"], runs["strong"])
    assert found["runs"][0]["parameters"] == 12  # batch statistics are none
    assert shown.tables["speed"][0][1] == [
        "weak", "resnet18", "12", "drawn at random", "5 of 5", "1,000", "480", "15 min 10 s", "1 × cpu",
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


def test_groups_stand_side_by_side(tmp_path, runs):
    shown, found = compared(tmp_path, runs["weak"], runs["strong"])
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


def test_the_page_needs_nothing_else_and_names_everything(tmp_path, runs):
    shown, _ = compared(tmp_path, runs["weak"], runs["strong"])
    shown.assert_needs_nothing_else()
    assert shown.unnamed == []
    # The runs learn other tasks, so their losses are no curve of one panel.
    assert shown.drawings == [
        "Validation, age: exact accuracy", "Validation, gender: exact accuracy",
    ]  # fmt: skip
    shown, _ = compared(tmp_path, runs["weak"], runs["again"])
    assert shown.drawings[-1] == "Training loss"
    shown.assert_needs_nothing_else()


def test_the_same_runs_give_the_same_page(tmp_path, runs):
    first = compared(tmp_path, runs["weak"], runs["again"])[0].source
    assert compared(tmp_path, runs["weak"], runs["again"])[0].source == first


def test_published_figures_stand_beside_adience_alone(tmp_path, runs):
    shown, found = compared(tmp_path, runs["weak"], runs["again"])
    assert "published" not in shown.tables
    assert all(question["published"] == [] for question in found["questions"])
    for name in ("a", "b"):
        write_run(tmp_path / name, tasks=("years", "gender"), name="adience/aligned/1.0.0",
                  edition="server", policy="strict")  # fmt: skip
    shown, found = compared(tmp_path, tmp_path / "a", tmp_path / "b")
    of_years, of_gender = shown.tables["published"]
    assert [row[0] for row in of_years[1:5]] == [
        "measured here", "a, 5 folds", "b, 5 folds", "published by others, on the same dataset",
    ]  # fmt: skip
    assert of_years[6][:5] == ["Levi-Hassner, over-sample", "50.7", "5.1", "84.7", "2.2"]
    assert of_gender[6][:3] == ["Levi-Hassner, over-sample", "86.8", "1.4"]
    assert found["questions"][0]["published"][0]["exact"] == {"mean": 49.5, "deviation": 4.4}


def test_missing_folds_are_named_with_their_reason(tmp_path, runs, capsys):
    write_run(tmp_path / "part", tasks=("age", "gender"), folds=(0, 4), seed=1)
    (tmp_path / "part" / "fold_1").mkdir()
    (tmp_path / "part" / "fold_2").mkdir()
    failure = {"error": "killed by SIGKILL (out of memory?)\nsecond line"}
    (tmp_path / "part" / "fold_2" / "failure.json").write_text(json.dumps(failure))
    (tmp_path / "part" / "fold_4" / "predictions.csv").unlink()
    shown, found = compared(tmp_path, runs["weak"], tmp_path / "part")
    assert found["runs"][1]["missing"] == {
        "1": "begun and not finished",
        "2": "killed by SIGKILL (out of memory?)",
        "3": "not begun",
        "4": "finished, but its predictions.csv is gone",
    }
    assert "part: fold 2 missing: killed by SIGKILL (out of memory?)" in shown.texts["p.notice"]
    assert "part: fold 2 missing: killed by SIGKILL (out of memory?)" in capsys.readouterr().out
    # The pair is compared over fold 0, the one that both have with its predictions.
    count = len((runs["weak"] / "fold_0" / "predictions.csv").read_text().splitlines()) - 1
    assert found["questions"][0]["pairs"][0]["folds"] == [0]
    assert found["questions"][0]["pairs"][0]["faces"] == count


def test_folds_that_were_not_asked_for(tmp_path, runs):
    write_run(tmp_path / "one", tasks=("age", "gender"), folds=(3,), config={"folds": [3]})
    _, found = compared(tmp_path, runs["weak"], tmp_path / "one")
    assert set(found["runs"][1]["missing"].values()) == {"not asked for by this run's config"}


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
    # What was never begun has no recipe to differ in.
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


def test_other_faces_are_refused_or_left_out(tmp_path, runs, capsys):
    write_run(tmp_path / "more", tasks=("gender",), faces=300)
    output = f"--output={tmp_path / 'page.html'}"
    line = refused(capsys, runs["weak"], tmp_path / "more", output)
    assert line.startswith("ageflax.compare: weak (the first) and more (the second), gender:")
    assert line.endswith("--common compares the faces that both have")
    assert not (tmp_path / "page.html").exists()


def test_common_faces_are_counted(tmp_path, runs):
    shutil.copytree(runs["again"], tmp_path / "fewer")
    path = tmp_path / "fewer" / "fold_0" / "predictions.csv"
    lines = path.read_text().splitlines(keepends=True)
    changed = lines[1].replace("person_", "somebody_")
    path.write_text("".join([lines[0], changed, *lines[3:]]))
    shown, found = compared(tmp_path, runs["weak"], tmp_path / "fewer", "--common")
    (pair,) = found["questions"][0]["pairs"]
    assert pair["left_out"] == {
        "only_in_first": 1, "only_in_second": 0, "labelled_differently": 1,
    }  # fmt: skip
    assert pair["faces"] == 238
    assert "left out are 1 face that only the first has, 0 that only the second has" in shown.text


def test_other_label_policies_are_refused_or_compared_where_labels_agree(tmp_path, runs, capsys):
    shutil.copytree(runs["again"], tmp_path / "strict")
    rules = {"label_policy": "strict"}
    edit(tmp_path / "strict" / "summary.json", lambda s: s["protocol"].update(rules))
    output = f"--output={tmp_path / 'page.html'}"
    line = refused(capsys, runs["weak"], tmp_path / "strict", output)
    assert "runs over different label policies do not compare: weak nearest, strict strict" in line
    _, found = compared(tmp_path, runs["weak"], tmp_path / "strict", "--common")
    assert found["questions"][0]["pairs"][0]["faces"] == 240


def test_other_datasets_are_refused_even_so(tmp_path, runs, capsys):
    write_run(tmp_path / "other", tasks=("age",), name="adience/aligned/1.0.0")
    output = f"--output={tmp_path / 'page.html'}"
    for words in ((), ("--common",)):
        line = refused(capsys, runs["weak"], tmp_path / "other", output, *words)
        assert "runs over different datasets do not compare: weak labeled_faces" in line


def test_other_classes_are_refused(tmp_path, runs, capsys):
    shutil.copytree(runs["again"], tmp_path / "other")

    def rename(summary: dict[str, Any]) -> None:
        classes = summary["tasks"]["age"]["per_class"]
        classes["61-100"] = classes.pop("60-100")

    edit(tmp_path / "other" / "summary.json", rename)
    line = refused(capsys, runs["weak"], tmp_path / "other", f"--output={tmp_path / 'p.html'}")
    assert "the runs' classes of age differ" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["weak"], "one run compares with nothing"),
        (["weak", "weak"], "the same run is named twice"),
        (["weak", "nowhere"], "no run lies here"),
        (["weak", "again", "--names=a"], "--names has 1 names for 2 runs"),
        (["weak", "again", "--names=a,a"], "every run needs a name of its own, not 'a'"),
        (["weak", "again", "--names=a,"], "every run needs a name of its own, not ''"),
        (["weak", "again", "--output=page.pdf"], "expected a name that ends in .html"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, runs, capsys, words, said):
    (tmp_path / "nowhere").mkdir()
    folders = runs | {"nowhere": tmp_path / "nowhere"}
    given = [folders.get(word, word) for word in words]
    if not any(word.startswith("--output") for word in words):
        given.append(f"--output={tmp_path / 'page.html'}")
    assert said in refused(capsys, *given)


def test_nothing_finished_anywhere_is_refused(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    line = refused(capsys, tmp_path / "a", tmp_path / "b", f"--output={tmp_path / 'p.html'}")
    assert "no fold is finished in any of" in line


def test_damaged_predictions_fail_with_their_place(tmp_path, runs, capsys):
    shutil.copytree(runs["again"], tmp_path / "cut")
    path = tmp_path / "cut" / "fold_0" / "predictions.csv"
    path.write_text(path.read_text()[:-20])
    words = [str(runs["weak"]), str(tmp_path / "cut"), f"--output={tmp_path / 'p.html'}"]
    assert compare.main(words) == 1
    assert "fold_0/predictions.csv: line" in capsys.readouterr().err


def test_the_differences_are_those_of_the_faces(tmp_path, runs):
    """Counted here face by face, as the JSON has them."""
    _, found = compared(tmp_path, runs["weak"], runs["again"])
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
