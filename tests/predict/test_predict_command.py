"""The command: its output, files, messages and exit codes."""

import csv
import io
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

from ageflax.bundle import load
from ageflax.predict import Predictor
from ageflax.predict import __main__ as command
from ageflax.predict import command as command_run
from tests.predict import drawn_models
from tests.predict.conftest import decoded
from tests.support import default_model, small_bundle


@pytest.fixture
def folder(tmp_path, portraits):
    """Three photographs with awkward names, one of them in a subfolder, and a file that is not one."""
    (tmp_path / "in" / "deeper down").mkdir(parents=True)
    (tmp_path / "in" / "a b.jpg").write_bytes(portraits[0])
    (tmp_path / "in" / "deeper down" / "b 🙂.JPG").write_bytes(portraits[1])
    (tmp_path / "in" / "c.jpg").write_bytes(portraits[2])
    (tmp_path / "in" / "labels.csv").write_text("path,age")
    (tmp_path / "in" / ".hidden.jpg").write_bytes(b"")
    return tmp_path / "in"


def names(found):
    return [Path(face["source"]).name for face in found]


def test_a_line_a_face_with_the_keys_of_the_contract(predict, folder, fold):
    code, found, err = predict(folder / "a b.jpg")
    assert code == 0
    assert list(found[0]) == ["source", "frame", "box", "detection_score", "age_group", "age",
                              "age_deviation", "gender", "age_interval"]  # fmt: skip
    (face,) = found
    heads = json.loads((fold / "bundle" / "config.json").read_text())["heads"]
    assert face["source"] == str(folder / "a b.jpg")
    assert face["frame"] is None
    assert len(face["box"]) == 4
    for key, task in (("age_group", "age"), ("gender", "gender")):
        shares = face[key]["probabilities"]
        assert list(shares) == heads[task]
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert face[key]["label"] == max(shares, key=shares.get)
    assert 0 <= face["age"] <= 100
    assert err[-1].startswith("1 image, 1 face; ")


def test_folders_are_read_to_the_bottom_in_order_and_globs_too(predict, folder):
    code, found, _ = predict(folder)
    assert code == 0
    assert names(found) == ["a b.jpg", "c.jpg", "b 🙂.JPG"]
    code, found, _ = predict(f"{folder}/**/*.[jJ][pP][gG]")
    assert code == 0
    assert sorted(names(found)) == ["a b.jpg", "b 🙂.JPG", "c.jpg"]
    code, found, _ = predict(f"{folder}/dee*")
    assert names(found) == ["b 🙂.JPG"]


def test_none_gives_what_the_bundle_gives(predict, folder, fold):
    _, (face,), _ = predict(folder / "c.jpg", detector="none")
    model = load(fold / "bundle")
    probabilities = model(model.prepare((folder / "c.jpg").read_bytes())[None])
    for key, task in (("age_group", "age"), ("gender", "gender")):
        shares = list(face[key]["probabilities"].values())
        np.testing.assert_allclose(shares, np.asarray(probabilities[task])[0], atol=2e-6)
    assert face["age"] == pytest.approx(model.ages(probabilities).years[0], abs=1e-3)
    assert face["box"] == [0, 0, 256, 256]
    assert face["detection_score"] is None


def test_bytes_on_standard_input(predict, portraits, monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(portraits[0])))
    code, (face,), _ = predict("-")
    assert (code, face["source"]) == (0, "-")
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b"")))
    code, found, err = predict("-")
    assert (code, found) == (2, [])
    assert err[0] == "-: empty"


def test_the_table_says_what_the_lines_say(predict, folder, tmp_path):
    code, found, _ = predict(f"--csv={tmp_path / 'out.csv'}", folder)
    assert code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == [face["source"] for face in found]
    for row, face in zip(rows, found, strict=True):
        assert [float(row[key]) for key in ("x", "y", "width", "height")] == face["box"]
        assert row["frame"] == row["track"] == ""
        assert float(row["age"]) == face["age"]
        for task in ("age_group", "gender"):
            assert row[task] == face[task]["label"]
            for name, share in face[task]["probabilities"].items():
                assert float(row[f"{task}_probability_{name}"]) == share


@pytest.fixture
def mixed(tmp_path, portraits):
    """A face, nobody, and a damaged photograph."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(portraits[0])
    cv2.imwrite(str(tmp_path / "in" / "b.png"), np.full((90, 90, 3), 127, np.uint8))
    (tmp_path / "in" / "c.jpg").write_bytes(portraits[2][:3000])
    return tmp_path / "in"


def test_every_input_has_a_record_where_asked_for(predict, mixed, tmp_path):
    code, found, _ = predict("--blank", f"--csv={tmp_path}/t.csv", mixed)
    assert code == 1
    assert len(found) == 3 and "faces" not in found[0]
    assert found[1:] == [
        {"source": f"{mixed}/b.png", "frame": None, "faces": 0},
        {"source": f"{mixed}/c.jpg", "frame": None, "faces": 0, "error": "truncated"},
    ]
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["faces"] for row in rows] == ["1", "0", "0"]
    assert [row["error"] for row in rows] == ["", "", "truncated"]
    assert float(rows[0]["age"]) == found[0]["age"] and rows[1]["age"] == rows[1]["gender"] == ""


@pytest.mark.parametrize("words", [(), ("--blank",)])
def test_one_array_or_one_table_says_what_the_lines_say(fold, mixed, capfd, words):
    told = {}
    for form in ("jsonl", "json", "csv"):
        options = [f"--model={fold}", "--detector=haar", f"--format={form}", *words]
        assert command.main([*options, str(mixed)]) == 1
        told[form] = capfd.readouterr().out
    lines = [json.loads(line) for line in told["jsonl"].splitlines()]
    assert json.loads(told["json"]) == lines
    rows = list(csv.DictReader(io.StringIO(told["csv"])))
    assert [row["source"] for row in rows] == [line["source"] for line in lines]
    assert [row["age"] for row in rows] == [str(line.get("age", "")) for line in lines]


def test_an_empty_array_is_one_and_a_table_takes_any_name(fold, mixed, portraits, capfdbinary):
    options = [f"--model={fold}", "--detector=haar"]
    assert command.main([*options, "--format=json", str(mixed / "b.png")]) == 0
    assert json.loads(capfdbinary.readouterr().out) == []
    name = os.fsdecode(os.fsencode(str(mixed)) + b"/caf\xe9.jpg")
    Path(name).write_bytes(portraits[0])
    assert command.main([*options, "--format=csv", name]) == 0
    assert os.fsencode(name) in capfdbinary.readouterr().out


def test_annotated_copies_lie_as_their_sources_do(predict, folder, tmp_path):
    out = tmp_path / "out"
    assert predict(f"--annotate={out}", folder)[0] == 0
    copies = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert copies == ["a b.jpg", "c.jpg", "deeper down/b 🙂.jpg"]
    before, after = (decoded((root / "c.jpg").read_bytes()) for root in (folder, out))
    assert before.shape == after.shape
    assert np.abs(before.astype(int) - after).max() > 100


def test_copies_of_one_name_and_copies_beside_their_sources_replace_nothing(predict, folder):
    again = folder / "deeper down" / "c.png"
    cv2.imwrite(str(again), np.zeros((40, 40, 3), np.uint8))
    before = (folder / "c.jpg").read_bytes()
    assert predict(f"--annotate={folder}", folder / "c.jpg", again)[0] == 0
    assert (folder / "c.jpg").read_bytes() == before
    assert (folder / "c_2.jpg").is_file()
    assert (folder / "c_3.jpg").is_file()


def test_a_video_has_frames_tracks_and_smoothing(predict, clip, tmp_path):
    code, found, _ = predict(f"--annotate={tmp_path}", clip)
    assert code == 0
    assert [face["frame"] for face in found] == list(range(30))
    assert [face["track"] for face in found] == [1] * 20 + [2] * 10
    assert found[19]["smoothing"] == {"kind": "exponential", "share": 0.8, "frames": 20}
    assert found[20]["smoothing"]["frames"] == 1
    copy = cv2.VideoCapture(str(tmp_path / "two people.mp4"))
    assert copy.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert copy.get(cv2.CAP_PROP_FPS) == 10


def test_smoothing_averages_what_plain_answers_say(predict, clip):
    _, plain, _ = predict("--smooth=0", "--every=5", clip)
    _, smooth, _ = predict("--smooth=0.5", "--every=5", clip)
    assert [face["frame"] for face in plain] == [0, 5, 10, 15, 20, 25]
    assert "smoothing" not in plain[0]
    first, second = (face["gender"]["probabilities"]["male"] for face in plain[:2])
    expected = (0.5 * first + second) / 1.5
    assert smooth[1]["gender"]["probabilities"]["male"] == pytest.approx(expected, abs=2e-6)


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(predict, folder):
    (folder / "broken.jpg").write_bytes((folder / "c.jpg").read_bytes()[:3000])
    (folder / "empty.png").write_bytes(b"")
    code, found, err = predict(folder, folder / "absent.jpg")
    assert code == 1
    assert names(found) == ["a b.jpg", "c.jpg", "b 🙂.JPG"]
    said = {line.rpartition("/")[2] for line in err}
    assert {"broken.jpg: truncated", "empty.png: empty", "absent.jpg: absent"} <= said
    assert err[-1].startswith("ageflax.predict: 3 could not be read: ")


def test_an_address_costs_the_other_inputs_nothing(predict, folder):
    code, found, err = predict("https://a.b/c.mp4", folder / "c.jpg")
    assert (code, len(found)) == (1, 1)
    assert any(line.startswith("https://a.b/c.mp4: an address; download it") for line in err)


def test_where_nothing_can_be_read_the_input_was_bad(predict, tmp_path):
    code, found, err = predict(tmp_path / "absent.jpg")
    assert (code, found) == (2, [])
    assert err == [f"{tmp_path}/absent.jpg: absent", "ageflax.predict: nothing could be read"]


def test_a_photograph_of_nobody_is_no_failure(predict, tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((90, 90, 3), 127, np.uint8))
    code, found, err = predict(tmp_path / "wall.png")
    assert (code, found) == (0, [])
    assert err[-1].startswith("1 image, 0 faces, 1 without a face; ")


def test_names_that_are_no_utf8(predict, portraits, clip, tmp_path):
    name = os.fsdecode(os.fsencode(str(tmp_path)) + b"/caf\xe9.jpg")
    Path(name).write_bytes(portraits[0])
    moving = os.fsdecode(os.fsencode(str(tmp_path)) + b"/film\xe9.mp4")
    Path(moving).write_bytes(clip.read_bytes())
    out = tmp_path / "out"
    code, found, _ = predict(
        "--every=29", f"--csv={tmp_path}/t.csv", f"--annotate={out}", name, moving
    )
    assert code == 0
    assert {face["source"] for face in found} == {name, moving}
    assert b"caf\xe9.jpg" in (tmp_path / "t.csv").read_bytes()
    assert len(list(out.iterdir())) == 2


def test_without_a_model_it_is_the_default_one(folder, tmp_path, capfd, monkeypatch):
    default_model.use(drawn_models.write(tmp_path / "default"), monkeypatch)
    photograph = str(folder / "c.jpg")
    outputs = []
    for words in ((), ("--model=default",), (f"--model={tmp_path / 'default'}",)):
        assert command.main(["--detector=haar", *words, photograph]) == 0
        outputs.append(capfd.readouterr().out)
    assert len(json.loads(outputs[0])["box"]) == 4
    assert len(set(outputs)) == 1
    (face,) = Predictor(detector="haar")(photograph)
    assert face.to_json() == outputs[0].strip()


def test_without_the_default_model_one_line_says_what_to_do(folder, tmp_path, capfd, monkeypatch):
    default_model.use(tmp_path, monkeypatch)
    assert command.main([str(folder / "c.jpg")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("ageflax.predict: default model: absent from this installation (")
    assert "--model=MODEL" in line


TERMS_ONCE = """
import sys
from pathlib import Path
from ageflax.predict import __main__ as command
from ageflax.weights import shipped

shipped.FOLDER = Path(sys.argv[1])
for _ in range(2):
    assert command.main(["--detector=none", sys.argv[2]]) == 0
"""


def test_the_default_models_terms_are_on_standard_error_once(folder, tmp_path):
    default = small_bundle.write(tmp_path / "default")
    words = [sys.executable, "-c", TERMS_ONCE, str(default), str(folder / "c.jpg")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert [set(json.loads(line)) >= {"box", "age"} for line in done.stdout.splitlines()] == [
        True
    ] * 2
    told = f"default model: By form, for research only; terms: {default / 'LICENSE'}"
    assert done.stderr.splitlines().count(told) == 1
    assert done.stderr.startswith(told)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "PATH: needed, or --webcam"),
        (("photo.jpg", "--webcam"), "PATH: needed, or --webcam"),
        (
            ("photo.jpg", "--detector=nobody"),
            "--detector=nobody: no such file; expected auto, yunet",
        ),
        (("-", "-"), "-: named twice"),
        (("nowhere/*.jpg",), r"nowhere/*.jpg: no file matches"),
        (("photo.jpg", "--csv=/dev/null/x.csv"), "--csv=/dev/null/x.csv: cannot be written"),
        (("photo.jpg", "--csv=/"), "--csv=/: is a folder"),
        (("photo.jpg", "--annotate=/dev/null/x"), "--annotate=/dev/null/x: cannot be written"),
        (("--webcam=98",), "--webcam=98: no such camera"),
        (("photo.jpg", "--crops=two"), "invalid choice: 'two'"),
        (("photo.jpg", "--every=0"), "0: expected a whole number, 1 to"),
        (("photo.jpg", "--smooth=1"), "1: expected 0 or more, and less than 1"),
        (("photo.jpg", "--every=x"), "x: expected a whole number"),
    ],
)
def test_bad_arguments_are_a_line_and_exit_code_2(fold, capfd, words, message):
    # The last occurrence of an option wins.
    options = [f"--model={fold}", "--detector=none", *words]
    try:
        code = command.main(options)
    except SystemExit as error:  # from argparse
        code = error.code
    err = capfd.readouterr().err
    assert code == 2
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "model.onnx", ""),
        (b"junk" * 20, "model.onnx", ""),
        (b"junk", "model.h5", "not an .onnx file"),
        (
            b"\x89HDF\r\n\x1a\n",
            "model.h5",
            "a Keras model, which ageflax does not read; convert it",
        ),
        (None, "model.h5", "no such file or folder"),
    ],
)
def test_a_model_that_is_none(predict, tmp_path, content, name, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, found, err = predict("photo.jpg", model=tmp_path / name)
    assert (code, found, len(err)) == (2, [], 1)
    assert message in err[0] and name in err[0]


def test_a_folder_that_is_no_model_and_a_folder_without_pictures(predict, tmp_path):
    code, _, err = predict("photo.jpg", model=tmp_path)
    assert code == 2 and "neither a bundle" in err[0]
    code, _, err = predict(tmp_path)
    assert code == 2
    assert err == [
        f"ageflax.predict: {tmp_path}: no photograph or video in this folder or below it"
    ]


def test_the_table_does_not_replace_a_photograph(predict, folder):
    before = (folder / "c.jpg").read_bytes()
    code, _, err = predict(f"--csv={folder}/c.jpg", folder)
    assert code == 2 and "is also an input" in err[0]
    assert (folder / "c.jpg").read_bytes() == before


def test_calibrated_scales_by_the_models_temperature_and_says_so(predict, folder, fold):
    config = json.loads((fold / "bundle" / "config.json").read_text())
    temperatures = config["calibration"]
    _, (plain,), _ = predict(folder / "c.jpg")
    code, (scaled,), _ = predict("--calibrated", folder / "c.jpg")
    assert code == 0
    assert scaled["calibrated"] is True
    for key, task in (("age_group", "age"), ("gender", "gender")):
        before = np.array(list(plain[key]["probabilities"].values()))
        expected = before ** (1 / temperatures[task])
        after = list(scaled[key]["probabilities"].values())
        np.testing.assert_allclose(after, expected / expected.sum(), atol=1e-4)
        assert scaled[key]["label"] == plain[key]["label"]
    assert scaled["age"] == plain["age"]


def test_calibrated_needs_a_temperature_for_every_head(predict, folder, tmp_path):
    model = drawn_models.write(tmp_path / "bundle", calibration={"age": 1.5})
    code, found, err = predict("--calibrated", folder / "c.jpg", model=model)
    assert (code, found) == (2, [])
    assert "has no temperature for gender" in err[0]


def test_a_camera_is_looked_at_frame_by_frame(predict, clip, monkeypatch):
    opened = cv2.VideoCapture
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda what, *more: opened(str(clip) if what == 0 else what, *more)
    )
    code, found, _ = predict("--webcam", "--every=3")
    assert code == 0
    frames = [face["frame"] for face in found]
    # Frames that arrive while others are processed are dropped; the last one is not.
    assert frames == sorted(set(frames)) and set(frames) <= set(range(0, 30, 3))
    assert frames[-1] == 27
    assert {face["source"] for face in found} == {"webcam:0"}
    assert all("track" in face for face in found)


def test_a_reader_that_has_enough_ends_it_quietly(fold, folder):
    command_line = [sys.executable, "-c", "import sys; from ageflax.predict import __main__ as m;"
                    "sys.exit(m.main(sys.argv[1:]))"]  # fmt: skip
    process = subprocess.Popen(
        [*command_line, f"--model={fold}", "--detector=none", *[str(folder)] * 90],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    json.loads(process.stdout.readline())
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert "Traceback" not in err and "Broken" not in err


def test_ctrl_c_is_130(predict, folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_run.sources, "frames", interrupted)
    code, _, err = predict(folder)
    assert code == 130
    assert err == ["ageflax.predict: interrupted"]


def test_the_network_is_compiled_quickly_for_a_few_photographs_alone(
    predict, folder, clip, monkeypatch
):
    asked = []

    def noted(*words, quick, **options):
        asked.append(quick)
        return Predictor(*words, quick=quick, **options)

    monkeypatch.setattr(command_run, "Predictor", noted)
    monkeypatch.setattr(command_run, "_FEW", 3)
    photograph = folder / "c.jpg"
    for words in ([folder], [folder, photograph], [photograph, clip]):
        assert predict("--every=29", *words, detector="none")[0] == 0
    assert asked == [True, False, False]


def test_help_waits_for_nothing_heavy():
    probe = (
        "import sys\nfrom ageflax.predict import __main__\n"
        "try: __main__.main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'jax', 'cv2', 'numpy', 'scipy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Exit codes: 0 everything was read" in done.stdout
