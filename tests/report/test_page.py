import json

import pytest

from ageflax import report
from ageflax.errors import InputError
from ageflax.report import published
from tests.report.small_runs import age, finish, gender, jpeg, page, write_fold


def test_headline_of_two_folds(tmp_path):
    # Fold 0: three of four right; fold 2: one of four. Within one group: all, and two.
    write_fold(tmp_path, 0, {"age": [0, 1, 2, 2]}, age(0, 1, 2, 1))
    write_fold(tmp_path, 2, {"age": [0, 0, 0, 7]}, age(0, 1, 4, 4))
    finish(tmp_path)
    (table,) = page(tmp_path).tables["figures"]
    assert table == [
        ["figure", "mean", "± std", "floor", "fold 0", "fold 2"],
        ["Exact accuracy %", "50.0", "35.4", "62.5", "75.0", "25.0"],
        ["One-off accuracy %", "75.0", "35.4", "87.5", "100.0", "50.0"],
        ["Mean distance groups", "1.12", "1.24", "–", "0.25", "2.00"],
    ]


def test_one_fold_has_no_std_and_missing_folds_are_named(tmp_path):
    write_fold(tmp_path, 3, {"gender": [0, 1]}, gender(0.9, 0.2))
    finish(tmp_path)
    shown = page(tmp_path)
    assert shown.tables["figures"][0][1][1:4] == ["100.0", "–", "50.0"]
    assert any(
        text.startswith("1 of 5 folds finished: 3 (missing: 0, 1, 2 and 4)")
        for text in shown.texts["p.notice"]
    )


def test_all_folds_and_a_hold_out_lack_nothing(tmp_path):
    for fold in range(5):
        write_fold(tmp_path / "all", fold, {"gender": [0, 1]}, gender(0.9, 0.2))
    write_fold(tmp_path / "one", 4, {"gender": [0, 1]}, gender(0.9, 0.2), name="hold_out")
    for name in ("all", "one"):
        finish(tmp_path / name)
        assert "p.notice" not in page(tmp_path / name).texts
    assert "hold-out: folds 0 to 2 train" in page(tmp_path / "one").text


def test_confusion_is_pooled_and_a_class_never_predicted_is_named(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0, 0, 1]}, gender(0.9, 0.8, 0.7))
    write_fold(tmp_path, 1, {"gender": [0, 1, None]}, gender(0.9, 0.6, 0.1))
    finish(tmp_path)
    shown = page(tmp_path)
    assert shown.tables["matrix"][0] == [
        ["", "female", "male"],
        ["female", "3", "0"],
        ["male", "2", "0"],
    ]
    assert shown.tables["recall"][0][1:] == [
        ["female", "3", "100.0", "", "5", "60.0"],
        ["male", "2", "0.0", "", "never", "–"],
    ]


def test_no_labelled_face_shows_dashes(tmp_path):
    write_fold(tmp_path, 0, {"gender": [None, None]}, gender(0.9, 0.8))
    finish(tmp_path)
    shown = page(tmp_path)
    assert shown.tables["figures"][0][1] == ["Exact accuracy %", "–", "–", "–", "–"]
    assert shown.tables["recall"][0][1] == ["female", "0", "–", "", "never", "–"]
    assert "every labelled test face was classified correctly" in shown.text


def test_hostile_names_stay_text(tmp_path):
    hostile = "<script>alert('1')</script>\"&"
    write_fold(tmp_path, 0, {"gender": [0]}, gender(0.1), keys=[hostile])
    finish(tmp_path, data="<img src=x>/1.0.0", config={"config": {"note": hostile}})
    shown = page(tmp_path)
    assert "script" not in shown.tags
    assert shown.images == []
    assert shown.texts["span.key"] == [f"fold 0, {hostile}"]


def test_the_page_needs_nothing_else(tmp_path):
    lines = [{"step": k, "loss": 3 - k / 10, "validation_gender_exact": 0.5} for k in range(1, 9)]
    log = "".join(json.dumps(line) + "\n" for line in lines)
    write_fold(tmp_path, 0, {"gender": [0]}, gender(0.1), log=log)
    finish(tmp_path)
    shown = page(tmp_path, thumbnails=lambda keys: dict.fromkeys(keys, jpeg((1, 2, 3), (9, 9))))
    assert shown.drawings == ["Training loss", "Validation, gender: exact accuracy"]
    assert shown.unnamed == []
    shown.assert_needs_nothing_else()


def test_the_same_run_gives_the_same_page(tmp_path):
    write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 3))
    finish(tmp_path)
    first = page(tmp_path).source
    assert page(tmp_path).source == first
    assert not (tmp_path / "report.html.partial").exists()


def test_a_leak_is_a_warning_in_words(tmp_path):
    write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 1), leaks=12, checkpoint="best")
    write_fold(tmp_path, 1, {"age": [0, 1]}, age(0, 1), leaks=0, checkpoint="best")
    finish(tmp_path)
    (notice,) = [text for text in page(tmp_path).texts["p.notice"] if "leaks" in text]
    assert "(12 in fold 0)" in notice
    assert "they also chose the tested checkpoint" in notice


def test_a_model_no_better_than_the_floor_is_reported(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0, 0, 1]}, gender(0.9, 0.9, 0.9))
    finish(tmp_path)
    assert any("has not learned" in text for text in page(tmp_path).texts["p.notice"])


def test_published_figures_stand_beside_adience_alone(tmp_path):
    truth = {"age": [0, 1], "gender": [0, 1]}
    write_fold(tmp_path, 0, truth, age(0, 1) | gender(0.9, 0.4))
    finish(tmp_path, data="adience/aligned/1.0.0")
    of_age, of_gender = page(tmp_path).tables["published"]
    assert of_age[2][:5] == ["this run, 1 fold, over-sample", "100.0", "", "100.0", ""]
    assert of_age[5][:5] == ["Levi-Hassner, over-sample", "50.7", "5.1", "84.7", "2.2"]
    assert of_gender[5][:3] == ["Levi-Hassner, over-sample", "86.8", "1.4"]
    assert [row[0] for row in of_age if len(row) == 1] == [
        "measured here", "published by others, on the same dataset",
    ]  # fmt: skip
    # A heading, two kinds and the run's own row in each.
    assert len(of_age) + len(of_gender) == 8 + len(published.ADIENCE)
    finish(tmp_path, data="adience/aligned/1.0.0", edition="unknown (md5 0, 1, 2, 3, 4)")
    assert "published" not in page(tmp_path).tables
    finish(tmp_path)
    shown = page(tmp_path)
    assert "published" not in shown.tables
    assert "cannot be compared with these" in shown.text
    assert "Levi & Hassner" not in shown.text


def test_no_folder_of_the_user_is_shown(tmp_path):
    command = [
        "main.py", "--config=configs/levi.py", "--workdir=/home/jane doe/runs/q0",
        "--config.data.dir=~/secret/tfds", "--config.x=('/srv/jane/a', 1)",
        "--init=hf://owner/name", r"--y=C:\Users\jane\z",
    ]  # fmt: skip
    write_fold(tmp_path, 0, {"gender": [0]}, gender(0.1))
    data = {"dir": "/home/jane/tfds", "manual_dir": "relative/path"}
    finish(tmp_path, config={"config": {"data": data}, "command": command})
    shown = page(tmp_path)
    assert shown.texts["pre"] == [
        "python -m ageflax.main --config=configs/levi.py --workdir=q0 --config.data.dir=tfds"
        """ '--config.x=('"'"'a'"'"', 1)' --init=hf://owner/name --y=z"""
    ]
    assert not any(word in shown.source for word in ("jane", "secret", "/home", "/srv"))
    assert ["data.dir", "tfds"] in shown.tables["config"][0]
    assert ["data.manual_dir", "relative/path"] in shown.tables["config"][0]


def test_protocol_and_terms(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0]}, gender(0.1))
    versions = {"ageflax": "0.1.0", "jax": "0.10.2"}
    finish(tmp_path, config={"config": {}, "versions": versions, "devices": {"cpu": 4}})
    shown = page(tmp_path)
    said = dict(zip(shown.texts["dt"], shown.texts["dd"], strict=True))
    assert said["Dataset"] == "synthetic_faces/default/1.0.0, 40 faces"
    assert said["Faces left out"] == "3 without a usable label, 1 unreadable"
    assert said["Test crops"].startswith("ten crops")
    assert said["Tested checkpoint"] == "last; step 8"
    assert said["Devices"] == "4 × cpu"
    assert said["Wall time"] == "1 h 02 min for 1 fold"
    assert ["0", "1,234", "5", "1", "8", "–", "1 h 02 min"] in shown.tables["folds"][0]
    assert "Terms of the data: Apache-2.0 (drawn)." in shown.text


def test_nothing_finished_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no finished fold"):
        report.write(tmp_path)
