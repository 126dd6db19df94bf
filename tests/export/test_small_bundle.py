"""--format=bundle: a bundle in fewer bits that answers as before, with its terms and figures."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ageflax.bundle import files as bundle_files
from ageflax.bundle import load
from ageflax.export import __main__ as command
from ageflax.export import small_bundle
from ageflax.export.write import export
from ageflax.weights import transfer

TERMS = """\
For non-commercial research only
(trained on somebody's faces).

Ask before anything else."""
RESULT = {
    "data": {"name": "elsewhere", "edition": "labels.csv"},
    "protocol": {"name": "photographs", "crops": "mirror"},
    "faces": {"test": 30, "test_unreadable": 1},
    "photographs": {"answered": 28, "no_face": 1},
    "detector": "haar",
    "model": {"path": "elsewhere's", "sha256": "f" * 64},
    "tasks": {"gender": {"faces": 28, "exact": 0.75, "intervals": {"exact": [0.5, 0.875]}}},
}


@pytest.fixture
def run(joint, tmp_path, capsys):
    """Runs the command; returns the exit code and what was printed."""

    def ran(*words, model=joint, output="out"):
        capsys.readouterr()
        options = [f"--model={model}", f"--output={tmp_path / output}", "--format=bundle"]
        code = command.main([*options, *map(str, words)])
        return code, capsys.readouterr()

    return ran


@pytest.fixture
def photographs(tmp_path):
    """Three pictures, smooth as faces are."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for k in range(3):
        coarse = np.random.default_rng(k).integers(0, 256, (4, 4, 3), np.uint8)
        cv2.imwrite(str(folder / f"{k}.png"), cv2.resize(coarse, (36, 36)))
    return folder


def described(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize(("precision", "dtype", "ratio"), [("float16", "F16", 0.7), ("int8", "I8", 0.55)])  # fmt: skip
def test_fewer_bits_answer_nearly_the_same(precision, dtype, ratio, run, joint, photographs, tmp_path):  # fmt: skip
    code, printed = run(f"--precision={precision}", f"--verify={photographs}")
    assert code == 0
    assert "3 images of faces, in batches of 64:" in printed.out
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "LICENSE", "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (out, joint)]
    assert sizes[0] < ratio * sizes[1]  # the mean image and names stay as they are
    with safe_open(out / "model.safetensors", "numpy") as file:
        assert file.get_slice("params/trunk/conv2/kernel").get_dtype() == dtype
    storage = described(out)["storage"]
    before, after = load(joint), load(out)
    assert storage["precision"] == precision
    assert storage["sha256"] == before.members[0].sha256
    assert f"stored as {precision}, and computed in float32." in (out / "README.md").read_text()
    faces = np.stack([before.prepare(path.read_bytes()) for path in sorted(photographs.iterdir())])
    expected, found = before(faces), after(faces)
    for task in expected:
        away = np.abs(np.asarray(found[task]) - expected[task]).max()
        assert 0 < away < 0.05
        assert away == pytest.approx(storage["largest"][f"{task}_probabilities"], rel=0.05)
    same = described(joint)
    assert {key: described(out)[key] for key in same} == same


def test_float32_is_the_same_to_the_bit(run, joint, tmp_path):
    assert run()[0] == 0
    before, after = (load_file(f / "model.safetensors") for f in (joint, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all((before[name] == after[name]).all() for name in before)


def test_it_is_used_like_any_bundle(run, joint, tmp_path):
    run("--precision=int8")
    out = tmp_path / "out"
    assert export(load(out), tmp_path / "model.onnx").differences.overall["age"] < 1e-3
    loaded = transfer.load(str(out), model_name="levi_hassner", channels="bgr")
    assert {values.dtype for values in loaded.tensors.values()} == {np.dtype(np.float32)}
    assert loaded.tensors.keys() == {
        name for name in load_file(joint / "model.safetensors") if name.startswith("params/")
    }
    code, printed = run("--precision=float16", model=out, output="again")
    assert code == 2
    assert "its weights are int8 already; name the model it was made from" in printed.err


def test_the_same_command_writes_the_same_weights_over_them(run, tmp_path):
    contents = []
    for _ in range(2):
        assert run("--precision=int8")[0] == 0
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert contents[0] == contents[1]


def test_differences_stay_those_from_weights_that_were_not_stored_before(run, tmp_path):
    assert run("--precision=int8")[0] == 0
    before = described(tmp_path / "out")["storage"]
    variables = load(tmp_path / "out").variables
    made = dataclasses.replace(load(tmp_path / "out").description, storage={})
    bundle_files.write(  # as a run of zero steps does
        tmp_path / "again",
        made,
        {"params": variables.params},
        mean=variables.mean,
        std=variables.std,
    )
    assert run("--precision=int8", model=tmp_path / "again")[0] == 0
    assert described(tmp_path / "out")["storage"] == before


def test_terms_as_the_model_states_them(run, tmp_path):
    run()
    text = (tmp_path / "out/LICENSE").read_text()
    assert "ageflax's code, Apache-2.0, does not cover them" in text
    assert "Trained on drawn: Apache-2.0" in text


def test_terms_given_are_kept_and_stated_in_short(run, tmp_path):
    (tmp_path / "terms.txt").write_text(TERMS)
    assert run(f"--terms={tmp_path}/terms.txt")[0] == 0
    out = tmp_path / "out"
    assert (out / "LICENSE").read_text() == TERMS
    short = "For non-commercial research only (trained on somebody's faces)."
    assert described(out)["data"]["licence"] == short
    card = ModelCard.load(out / "README.md")
    assert card.data.to_dict()["license"] == "other"
    assert short in card.text
    # A file that lies where it is written to.
    assert run(f"--terms={out}/LICENSE")[0] == 0
    assert (out / "LICENSE").read_text() == TERMS


def test_figures_are_in_the_card_and_say_whose_they_are(run, joint, tmp_path):
    mine = RESULT | {"model": {"sha256": load(joint).members[0].sha256}}
    for name, result in (("other", RESULT), ("mine", mine)):
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    code, _ = run(f"--figures={tmp_path}/other.json", f"--figures={tmp_path}/mine.json")
    assert code == 0
    tests = described(tmp_path / "out")["evaluations"]
    assert [test["weights"]["own"] for test in tests] == [False, True]
    card = (tmp_path / "out/README.md").read_text()
    assert card.count("### elsewhere: whole photographs, faces found by haar") == 2
    assert card.count("| all | 28 | 75.0 % [50.0 %, 87.5 %] |") == 2
    assert card.count(f"Measured on another model, sha256 {'f' * 16}.") == 1
    assert "None were measured by this project" not in card
    # Figures of the small bundle itself are its own as well, and replace the earlier ones.
    small = RESULT | {"model": {"sha256": load(tmp_path / "out").members[0].sha256}}
    (tmp_path / "small.json").write_text(json.dumps(small))
    assert run(f"--figures={tmp_path}/small.json")[0] == 0
    (test,) = described(tmp_path / "out")["evaluations"]
    assert test["weights"]["own"] is True
    assert load(tmp_path / "out").description.evaluations == (test,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "damaged JSON"),
        ("[]", "not a test's result"),
        ("{}", "not a test's result"),
        (json.dumps(RESULT | {"model": None}), "not a test's result"),
        (json.dumps(RESULT | {"tasks": []}), "not a test's result"),
        (json.dumps(RESULT | {"faces": {}}), "not a test's result"),
        (json.dumps(RESULT | {"data": "x"}), "not a test's result"),
    ],
)
def test_figures_that_are_none(content, message, run, tmp_path):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    code, printed = run(f"--figures={tmp_path}/result.json")
    assert code == 2
    assert message in printed.err
    assert len(printed.err.splitlines()) <= 2  # one beside "verifying"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--crops=ten"], "--crops: not with --format=bundle"),
        (["--layout=nchw_bgr_float"], "--layout: not with --format=bundle"),
        (["--opset=13"], "--opset: not with --format=bundle"),
        (["--precision=int4"], "--precision=int4: expected one of float32, float16, int8"),
        (["--format=onnx"], "expected a name that ends in .onnx"),
        (["--format=onnx", "--output=x.stablehlo"], "x.stablehlo: expected a name that ends in .onnx"),
        (["--format=onnx", "--output=x.onnx", "--terms=x"], "--terms: only with --format=bundle"),
        (["--format=onnx", "--output=x.onnx", "--figures=x"], "--figures: only with --format=bundle"),
        (["--output=/no/such/folder"], "no folder /no/such; create it first"),
        (["--output=/etc/hostname"], "is a file; name a folder"),
        (["--verify=/no/such"], "--verify=/no/such: no such file or folder"),
        (["--terms=/no/such"], "--terms=/no/such: No such file"),
        (["--terms=/etc"], "--terms=/etc: Is a directory"),
        (["--terms=/dev/null"], "--terms=/dev/null: an empty file"),
    ],
)  # fmt: skip
def test_bad_options(words, message, run, tmp_path):
    code, printed = run(*words)
    assert code == 2
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_bad_terms(run, tmp_path):
    for content, message in ((b"\xff\xfe", "not a text file in UTF-8"), (b"x" * 100_001, "larger")):
        (tmp_path / "terms").write_bytes(content)
        code, printed = run(f"--terms={tmp_path}/terms")
        assert (code, message in printed.err) == (2, True)


def test_folders_of_others_and_the_model_itself_are_not_written_to(run, joint, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").touch()
    code, printed = run(output="full")
    assert (code, "holds thesis.tex; name another folder" in printed.err) == (2, True)
    shutil.copytree(joint, tmp_path / "own")
    code, printed = run(model=tmp_path / "own", output="own")
    assert (code, "is the exported model itself" in printed.err) == (2, True)
    for fold in (0, 1):
        shutil.copytree(joint, tmp_path / f"run/fold_{fold}/bundle")
    code, printed = run(model=tmp_path / "run")
    assert (code, "a run of 2 folds; export one" in printed.err) == (2, True)


def test_answers_that_are_too_far_off_are_not_written(run, photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(small_bundle, "_MOST_YEARS", 1e-9)
    monkeypatch.setattr(small_bundle, "_MOST", 1.0)
    code, printed = run("--precision=int8", f"--verify={photographs}")
    assert code == 1
    assert "not written: age differs from float32 by" in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]
    # Of noise the differences are told alone.
    assert run("--precision=int8")[0] == 0


def test_weights_beyond_half_precision_are_not_written(run, joint, tmp_path):
    large = shutil.copytree(joint, tmp_path / "large")
    tensors = load_file(large / "model.safetensors")
    tensors["params/trunk/conv2/kernel"] = 1e5 * np.ones_like(tensors["params/trunk/conv2/kernel"])
    save_file(tensors, large / "model.safetensors")
    code, printed = run("--precision=float16", model=large)
    assert code == 2
    assert "params/trunk/conv2/kernel has values that are not finite" in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["large"]


def test_a_model_with_an_age_only_is_kept(tmp_path, run):
    from tests.export import bundles

    model = bundles.write(
        tmp_path / "l1",
        bundles.small("levi_hassner", width=0.05, task="years", loss={"years": "l1"}),
    )
    assert run("--precision=int8", model=model)[0] == 0
    assert set(described(tmp_path / "out")["storage"]["largest"]) == {"age"}
