"""python -m ageflax.export: output, and refusals of one line each."""

import shutil
import sys

import pytest

from ageflax.export import __main__ as command


@pytest.fixture
def run(joint, tmp_path, capsys):
    """Runs the command; returns the exit code and what was printed."""

    def ran(*words, model=joint, output="model.onnx"):
        capsys.readouterr()
        code = command.main([f"--model={model}", f"--output={tmp_path / output}", *words])
        return code, capsys.readouterr()

    return ran


def test_it_writes_and_reports(run, tmp_path):
    code, printed = run()
    assert code == 0
    assert printed.out == ""
    assert f"written: {tmp_path / 'model.onnx'}, " in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_verify_prints_differences_and_fewer_bits_their_loss(run):
    code, printed = run("--verify")
    assert code == 0
    first, *lines = printed.out.splitlines()
    assert first == (
        "largest difference from JAX in float32, 64 random images, in batches of 1, 7 and 64:"
    )
    assert [line.split()[0] for line in lines] == [
        "years_probabilities", "gender_probabilities", "age",
    ]  # fmt: skip
    assert lines[-1].endswith(" years")
    code, printed = run("--precision=int8")
    assert code == 0
    assert "7 random images, in batches of 1 and 7:" in printed.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--crops=nine"], "--crops=nine: expected one of center, mirror, ten"),
        (["--precision=int4"], "--precision=int4: expected one of float32, float16, int8"),
        (["--layout=nchw"], "--layout=nchw: expected one of nhwc_rgb_uint8, nchw_bgr_float"),
        (["--opset=12"], "--opset=12: expected one of 13, 14,"),
        (["--opset=24"], "--opset=24: expected one of 13, 14,"),
        (["--layout=nchw_bgr_float", "--crops=ten"], "--crops=ten: --layout=nchw_bgr_float takes the crop"),
        (["--verify=/no/such"], "--verify=/no/such: no such file or folder"),
    ],
)  # fmt: skip
def test_bad_options(words, message, run, tmp_path):
    code, printed = run(*words)
    assert code == 2
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("model.pb", "expected a name that ends in .onnx or .stablehlo"),
        ("model", "expected a name that ends in .onnx or .stablehlo"),
        ("none/model.onnx", "create it first"),
        ("folder.onnx", "is a folder; give a file name"),
    ],
)
def test_bad_outputs(output, message, run, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    code, printed = run(output=output)
    assert code == 2
    assert message in printed.err


def test_bad_models(run, joint, tmp_path):
    code, printed = run(model=tmp_path / "none")
    assert (code, "no such file or folder" in printed.err) == (2, True)
    (tmp_path / "empty").mkdir()
    code, printed = run(model=tmp_path / "empty")
    assert (code, "neither a bundle" in printed.err) == (2, True)
    for fold in (0, 1):
        shutil.copytree(joint, tmp_path / f"run/fold_{fold}/bundle")
    code, printed = run(model=tmp_path / "run")
    assert code == 2
    assert f"a run of 2 folds; export one, such as {tmp_path}/run/fold_0/bundle" in printed.err
    assert run(output="first.onnx", model=tmp_path / "run/fold_0")[0] == 0
    code, printed = run(model=tmp_path / "first.onnx", output="second.onnx")
    assert (code, "an .onnx file already; name its bundle" in printed.err) == (2, True)


def test_bad_photographs(run, tmp_path):
    (tmp_path / "photos").mkdir()
    code, printed = run(f"--verify={tmp_path / 'photos'}")
    assert (code, "no image in it" in printed.err) == (2, True)
    (tmp_path / "photos/a.jpg").write_text("<html>")
    code, printed = run(f"--verify={tmp_path / 'photos'}")
    assert (code, "a.jpg: " in printed.err) == (2, True)
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("module", ["onnx", "onnxruntime"])
def test_without_the_extra_it_says_how_to_get_it(module, run, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    code, printed = run()
    assert code == 2
    assert f"{module}: not installed, needed to write ONNX" in printed.err
    assert run(output="model.stablehlo")[0] == 0
