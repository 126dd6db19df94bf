"""python -m ageflax.evaluate --photos: its files, messages and exit codes."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ageflax import evaluate as command
from ageflax.evaluation.result import FoldResult
from ageflax.predict import Predictor
from ageflax.predict.photographs import evaluate
from tests.predict import drawn_models
from tests.predict.test_quality import QUALITY

ROWS = ("path,age,gender,subject", "a.jpg,26,f,Ann", "sub/b.jpg,31,m,Bob", "c.jpg,64,f,Cid")


def test_every_row_is_answered_or_has_its_reason(run, folder, listed, years):
    listed(
        *ROWS,
        "wall.png,40,m,Dan",
        "cut.jpg,41,m,Eve",
        "gone.jpg,42,m,Flo",
        "a.jpg,x,f,Gus",
        "a.jpg,26,f,Ann",
    )
    code, result, rows, printed = run(years)
    assert code == 0
    assert [row["key"] for row in rows] == ["a.jpg", "sub/b.jpg", "c.JPG", "wall.png", "cut.jpg",
                                            "gone.jpg", "a.jpg", "a.jpg"]  # fmt: skip
    reasons = ["", "", "", "no face", "truncated", "absent", "age", "duplicate row"]
    assert [row["reason"] for row in rows] == reasons
    assert rows[5]["detail"] == f"no {folder}/gone.jpg, in either case of its suffix, NFC or NFD"
    assert rows[6]["detail"] == "age 'x' is not a number of years"
    assert [(row["subject"], row["age_true"], row["gender_true"]) for row in rows[:4]] == [
        ("Ann", "26", "female"), ("Bob", "31", "male"), ("Cid", "64", "female"), ("Dan", "40", "male"),
    ]  # fmt: skip
    assert all(row[column] == "" for row in rows[3:] for column in ("x", "age", "gender"))
    assert result["photographs"] == {
        "rows": 8, "left_out": {"age": 1, "duplicate row": 1}, "unlisted": 1,
        "unreadable": {"absent": 1, "truncated": 1}, "no_face": 1, "answered": 3, "found": 0.75,
        "several_faces": 0,
    }  # fmt: skip
    assert printed.out.startswith(
        f"{folder}: a face in 3 of 4 photographs (75.0 %), which the figures count; {years}, detector haar,"
        " crops mirror; 95 % intervals by subject\n\nage "
    )
    said = printed.err.splitlines()
    assert (
        "2 of 8 rows are left out: 1 age, 1 duplicate row; line 8: age 'x' is not a number of years"
        in said
    )
    assert f"without a row in the list: 1 photograph in {folder}" in said
    assert (
        "photographs that cannot be read: 1 absent, 1 truncated; the first: cut.jpg: truncated"
        in said
    )
    assert said[-1].startswith("results: ")


def test_its_answers_are_those_of_predict(run, folder, listed, years):
    listed(*ROWS)
    _, result, rows, _ = run(years)
    faces = Predictor(years, detector="haar", quick=False)([folder / row["key"] for row in rows])
    for row, face in zip(rows, faces, strict=True):
        record = face.to_dict()
        assert [float(row[key]) for key in ("x", "y", "width", "height")] == record["box"]
        assert float(row["age"]) == pytest.approx(record["age"], abs=1e-3)
        for task in ("age_group", "gender"):
            assert row[task] == record[task]["label"]
            for name, share in record[task]["probabilities"].items():
                assert float(row[f"{task}_probability_{name}"]) == pytest.approx(share, abs=1e-5)
    errors = [
        abs(float(str(face.age)) - float(row["age_true"]))
        for row, face in zip(rows, faces, strict=True)
    ]
    of_years = result["tasks"]["years"]["years"]
    assert of_years["mae"] == pytest.approx(np.mean(errors), abs=1e-3)
    assert of_years["median"] == pytest.approx(np.median(errors), abs=1e-3)
    assert set(result["tasks"]) == {"years", "gender"}


def test_quality_and_its_reason_are_the_last_columns(run, folder, listed, years, tmp_path):
    listed(*ROWS, "wall.png,40,m,Dan")
    assert "quality" not in run(years)[2][0]
    judging = shutil.copytree(years, tmp_path / "judging")
    config = json.loads((judging / "config.json").read_text())
    (judging / "config.json").write_text(json.dumps(config | {"quality": QUALITY.to_json()}))
    _, _, rows, _ = run(judging)
    assert list(rows[0])[-3:] == ["detail", "quality", "quality_reason"]
    faces = Predictor(judging, detector="haar", quick=False)([folder / "a.jpg", folder / "c.JPG"])
    for row, face in zip((rows[0], rows[2]), faces, strict=True):
        assert float(row["quality"]) == pytest.approx(face.quality, abs=1e-4)
        assert row["quality_reason"] == (face.quality_reason or "")
    assert (rows[3]["quality"], rows[3]["quality_reason"]) == ("", "")


def test_the_result_is_that_of_a_test(run, folder, listed, years):
    listed(*ROWS)
    _, result, _, _ = run(years, "--crops=center")
    assert FoldResult.from_json({**result, "tasks": {}}, "here").to_json() == {
        **result,
        "tasks": {},
    }
    assert result["protocol"]["name"] == "photographs"
    assert result["protocol"]["crops"] == "center"
    assert result["detector"] == "haar"
    assert result["labels"] == str(folder / "labels.csv")
    assert result["model"]["kind"] == "bundle"
    assert result["data"]["name"] == "photos"
    assert result["data"]["subjects"] == {"given": "all", "without": 0, "notice": ""}
    assert result["faces"] == {"train": None, "validation": None, "test": 3, "test_unreadable": 0}
    assert result["command"][:3] == ["python", "-m", "ageflax.evaluate"]
    assert result["images_per_second"] > 0


def test_of_several_faces_the_one_in_the_middle_is_labelled(run, folder, listed, years, two):
    (folder / "two.png").write_bytes(two)
    listed("path,age_group", "two.png,20-29")
    code, result, (row,), printed = run(years)
    assert (code, row["faces"], result["photographs"]["several_faces"]) == (0, "2", 1)
    assert 256 < float(row["x"]) < 512
    assert "several faces in 1 photograph: the largest near the middle is taken" in printed.err
    assert result["tasks"]["years"]["ranges"]["faces"] == 1


def test_fgnet_by_its_names(run, folder, years, portraits):
    for path in folder.rglob("*"):
        path.unlink(missing_ok=True) if path.is_file() else None
    for name, content in zip(("001A02.JPG", "001A43a.JPG", "002A30.jpg"), portraits, strict=True):
        (folder / name).write_bytes(content)
    code, result, rows, printed = run(years, "--labels=fgnet")
    assert code == 0
    assert [(row["subject"], row["age_true"]) for row in rows] == [
        ("001", "2"),
        ("001", "43"),
        ("002", "30"),
    ]
    assert result["tasks"]["years"]["years"]["intervals"]["persons"] == 2
    assert result["data"]["edition"] == "fgnet"
    assert (
        "fgnet: 3 photographs of 2 people, where the whole dataset has 1,002 of 82" in printed.err
    )


def test_crops_need_no_detector(run, folder, listed, years):
    listed("path,age", "wall.png,40", "a.jpg,26")
    code, result, rows, _ = run(years, detector="none")
    assert (code, result["photographs"]["answered"]) == (0, 2)
    assert [float(rows[0][key]) for key in ("x", "y", "width", "height")] == [0, 0, 96, 96]


def test_a_model_without_ages_is_tested_by_gender(run, listed, tmp_path):
    model = drawn_models.write(tmp_path / "gender", "task=gender")
    listed(*ROWS)
    code, result, rows, printed = run(model)
    assert (code, list(result["tasks"])) == (0, ["gender"])
    assert f"{model} answers no ages: gender alone is tested" in printed.err
    assert (rows[0]["age"], "age_group" in rows[0]) == ("", False)
    listed("path,age", "a.jpg,26")
    code, _, _, printed = run(model, output="other")
    assert code == 2
    assert printed.err.endswith(
        f"labels.csv: no photograph has a label for gender, the heads of {model}\n"
    )


def test_a_model_of_groups_answers_in_years_too(run, listed, fold):
    listed("path,age,age_group", "a.jpg,26,", "sub/b.jpg,,60-69", "c.jpg,35,")
    code, result, _, printed = run(fold)
    assert code == 0
    ages = result["tasks"]["age"]
    assert list(ages) == ["faces", "years", "ranges", "of_age", "age_interval", "groups_of_model"]
    assert (ages["years"]["faces"], ages["ranges"]["faces"]) == (2, 1)
    assert ages["groups_of_model"]["faces"] == 2
    assert "\nage group " in printed.out


def test_without_a_face_there_is_nothing_to_say(run, listed, years):
    listed("path,age", "wall.png,40", "cut.jpg,41")
    code, result, rows, printed = run(years)
    assert (code, result, rows, printed.out) == (2, None, [], "")
    assert printed.err.splitlines()[-1] == (
        "ageflax.evaluate: none of the 2 photographs has an answer: 1 truncated, 1 no face, by"
        " --detector=haar; none takes images that are faces already"
    )


def test_the_list_that_a_model_was_trained_on_is_refused(run, folder, listed, years, tmp_path):
    from ageflax.predict.photographs.listing import find

    listed(*ROWS)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "model.safetensors"):
        (copy / name).write_bytes((years / name).read_bytes())
    described = json.loads((copy / "config.json").read_text())
    described["data"]["edition"] = find(folder, None, lambda line: None).edition
    (copy / "config.json").write_text(json.dumps(described))
    code, _, _, printed = run(copy)
    assert code == 2
    assert (
        "the model was trained on " in printed.err
        and "without --photos its held-out" in printed.err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--photos={folder}/gone"], "--photos={folder}/gone: no such folder"),
        (["--photos={folder}", "--labels=gone.csv"], "--labels: no gone.csv; name a file"),
        (["--photos={folder}", "--detector=nobody"], "--detector=nobody: no such file; expected auto"),
        (["--photos={folder}", "--crops=twelve"], "--crops=twelve: expected center, mirror, ten"),
        (["--photos={folder}", "--model=gone"], "--model=gone: no such file or folder"),
        (["--photos={folder}", "--config.fold=1"], "--config.fold=1: not with --photos; --help lists"),
        (["--photos={folder}", "--foto=x"], "--foto=x: not with --photos"),
        (["--photos=gs://bucket"], "gs://bucket: an address, not a path on this machine"),
        (["--photos={folder}", "--output=/dev/null/x"], "--output=/dev/null/x: cannot be written"),
        (["--labels=fgnet"], "--labels: only with --photos=FOLDER"),
        (["--detector=none"], "--detector: only with --photos=FOLDER"),
        (["--crops=ten"], "--crops: only with --photos=FOLDER; for a dataset, --config.eval.crops"),
    ],
)  # fmt: skip
def test_wrong_options_are_a_line_and_exit_code_2(
    folder, listed, years, capsys, tmp_path, words, message
):
    listed(*ROWS)
    try:
        given = [word.format(folder=folder) for word in words]
        code = command.main([f"--model={years}", f"--output={tmp_path / 'out'}", *given])
    except SystemExit as error:  # from argparse
        code = error.code
    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert message.format(folder=folder) in printed.err.splitlines()[-1]
    assert "Traceback" not in printed.err


def test_a_training_run_and_the_labels_are_not_written_over(run, folder, listed, years, tmp_path):
    listed(*ROWS)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    code, _, _, printed = run(years, output="run")
    assert (code, "holds a training run" in printed.err) == (2, True)
    labels = tmp_path / "own" / "predictions.csv"
    labels.parent.mkdir()
    (folder / "labels.csv").rename(labels)
    before = labels.read_text()
    code, _, _, printed = run(years, f"--labels={labels}", output="own")
    assert (code, labels.read_text()) == (2, before)
    assert "its predictions.csv is the --labels file" in printed.err


def test_without_an_output_the_folder_is_named_after_both(
    folder, listed, years, tmp_path, monkeypatch, capsys
):
    listed(*ROWS)
    monkeypatch.chdir(tmp_path)
    assert command.main([f"--model={years}", f"--photos={folder}", "--detector=none"]) == 0
    (found,) = (tmp_path / "runs" / "evaluate").iterdir()
    assert found.name.endswith("_years_on_photos")


def test_a_disk_that_fills_up_leaves_no_result_beside_other_predictions(
    run, listed, years, monkeypatch
):
    listed(*ROWS)
    assert run(years)[0] == 0

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluate.predictions_csv, "write", full)
    code, result, _, printed = run(years)
    assert (code, result) == (1, None)
    assert "No space left on device" in printed.err


def test_names_that_are_no_utf8(run, folder, years, portraits):
    name = os.fsdecode(b"1_caf\xe9_30_f.jpg")
    (folder / name).write_bytes(portraits[0])
    code, _, rows, _ = run(years, "--labels=agedb", detector="none")
    assert code == 0
    assert [(row["key"], row["subject"]) for row in rows if not row["reason"]] == [
        (name, name[2:6])
    ]


@pytest.mark.skipif("AGEFLAX_REAL_DATA" not in os.environ, reason="needs real photographs")
def test_real_photographs(years, tmp_path, capsys):
    """One face in ten of the photographs at hand; the model knows nothing, its counts are exact."""
    data = Path(os.environ["AGEFLAX_REAL_DATA"])
    if not (data / "elsewhere").is_dir():
        pytest.skip("no such photographs")
    lines = (data / "elsewhere" / "labels.csv").read_text().splitlines()
    (tmp_path / "few.csv").write_text("\n".join([lines[0], *lines[1::10]]))
    code = command.main([
        f"--model={years}", f"--photos={data / 'elsewhere'}", f"--labels={tmp_path / 'few.csv'}",
        f"--detector={data / 'detector' / 'face_detection_yunet_2023mar.onnx'}",
        f"--output={tmp_path / 'out'}",
    ])  # fmt: skip
    assert code == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["photographs"]["answered"] == 27
    assert result["tasks"]["years"]["ranges"]["faces"] == 27
