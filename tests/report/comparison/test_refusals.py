"""Runs that cannot be compared, and runs compared over their common faces."""

import shutil
from typing import Any

import pytest

from ageflax import compare
from tests.report.comparison.command_line import compared, edit, refused
from tests.support.finished_runs import write_run


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
    assert "the runs have different label policies: weak nearest, strict strict" in line
    _, found = compared(tmp_path, runs["weak"], tmp_path / "strict", "--common")
    assert found["questions"][0]["pairs"][0]["faces"] == 240


def test_other_datasets_are_refused_even_so(tmp_path, runs, capsys):
    write_run(tmp_path / "other", tasks=("age",), name="adience/aligned/1.0.0")
    output = f"--output={tmp_path / 'page.html'}"
    for words in ((), ("--common",)):
        line = refused(capsys, runs["weak"], tmp_path / "other", output, *words)
        assert "the runs have different datasets: weak labeled_faces" in line


def test_other_classes_are_refused(tmp_path, runs, capsys):
    shutil.copytree(runs["again"], tmp_path / "other")

    def rename(summary: dict[str, Any]) -> None:
        classes = summary["tasks"]["age"]["per_class"]
        classes["61-100"] = classes.pop("60-100")

    edit(tmp_path / "other" / "summary.json", rename)
    line = refused(capsys, runs["weak"], tmp_path / "other", f"--output={tmp_path / 'p.html'}")
    assert "the runs have different classes of age" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["weak"], "need at least two runs to compare"),
        (["weak", "weak"], "the same run is given twice"),
        (["weak", "nowhere"], "not a run"),
        (["weak", "again", "--names=a"], "--names: 1 names for 2 runs"),
        (["weak", "again", "--names=a,a"], "'a': expected a different, non-empty name"),
        (["weak", "again", "--names=a,"], "'': expected a different, non-empty name"),
        (["weak", "again", "--output=page.pdf"], "expected a name that ends in .html"),
    ],
)
def test_refusals(tmp_path, runs, capsys, words, said):
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
    assert "no finished fold in any of" in line


def test_damaged_predictions_fail_with_their_place(tmp_path, runs, capsys):
    shutil.copytree(runs["again"], tmp_path / "cut")
    path = tmp_path / "cut" / "fold_0" / "predictions.csv"
    path.write_text(path.read_text()[:-20])
    words = [str(runs["weak"]), str(tmp_path / "cut"), f"--output={tmp_path / 'p.html'}"]
    assert compare.main(words) == 1
    assert "fold_0/predictions.csv: line" in capsys.readouterr().err
