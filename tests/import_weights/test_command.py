"""The command: torch's formats end to end, bad input, and evaluation of an imported bundle."""

import os
import pickle
import shlex
import struct
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save

from ageflax import evaluate
from ageflax.bundle import load, loading
from ageflax.errors import InputError
from ageflax.import_weights import __main__ as command
from ageflax.predict import __main__ as predict
from tests.conftest import SMALL_FACES
from tests.import_weights.conftest import AGES
from tests.weights import foreign_states
from tests.weights.formats import caffe_nets
from tests.weights.formats.torch_writer import legacy, tensor, zipped

RGB = ("--channels=rgb", "--mean=imagenet")


def resnet18(outputs=8):
    """Small weights under torchvision's names, at width 1/16."""
    state = foreign_states.resnet()
    draw = np.random.default_rng(0)
    for name, values in state.items():
        if values.ndim == 4:
            state[name] = draw.normal(
                0, (1 / np.prod(values.shape[1:])) ** 0.5, values.shape
            ).astype(np.float32)
    state["fc.weight"] = draw.normal(0, 0.1, (outputs, 32)).astype(np.float32)
    state["fc.bias"] = draw.normal(0, 0.1, outputs).astype(np.float32)
    return state


CONTENTS = {
    "safetensors": save,
    "zip": lambda state: zipped({name: tensor(values) for name, values in state.items()}),
    "legacy": lambda state: legacy({"state_dict": {f"module.{n}": tensor(v) for n, v in state.items()}}),
}  # fmt: skip


def test_each_container_of_torch_gives_the_same_bundle(run, tmp_path):
    state = resnet18()
    faces = np.random.default_rng(1).integers(0, 256, (2, 48, 48, 3), np.uint8)
    answers, model = [], None
    for make in CONTENTS.values():
        code, output, said = run(
            make(state),
            *RGB,
            f"--classes={AGES}",
            "--crop=48",
            "--resize=48",
            framework="torch",
            arch="resnet18",
        )
        assert code == 0, said
        assert "not used: 20 num_batches_tracked" in said
        model = load(output)
        answers.append(np.asarray(model(faces)["age"]))
    assert model is not None
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])
    head = model.variables.params["heads"]["age"]
    np.testing.assert_array_equal(head["kernel"], state["fc.weight"].T)
    np.testing.assert_array_equal(head["bias"], state["fc.bias"])
    kernel = model.variables.params["trunk"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, state["conv1.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_allclose(model.variables.mean.reshape(3), [123.675, 116.28, 103.53])
    np.testing.assert_allclose(
        model.variables.std.reshape(3), [58.395, 57.12, 57.375]
    )  # the mean's


def test_the_order_of_channels_is_that_of_the_option(run):
    content = CONTENTS["zip"](resnet18())
    words = ("--mean=1,2,3", "--deviation=4,5,6", f"--classes={AGES}", "--crop=48", "--resize=48")
    given = {"framework": "torch", "arch": "resnet18"}
    code, output, _ = run(content, "--channels=bgr", *words, **given)
    assert code == 0
    bgr = load(output)
    code, output, _ = run(content, "--channels=rgb", *words, **given)
    rgb = load(output)
    assert bgr.variables.mean.reshape(3).tolist() == [3, 2, 1] and rgb.variables.mean.reshape(
        3
    ).tolist() == [1, 2, 3]
    assert bgr.variables.std.reshape(3).tolist() == [6, 5, 4]
    faces = np.random.default_rng(1).integers(0, 256, (2, 48, 48, 3), np.uint8)
    np.testing.assert_allclose(bgr(faces[..., ::-1])["age"], rgb(faces)["age"], atol=1e-6)


def test_vgg16_in_the_names_of_torchvision_and_timm(run):
    for layout in ("torchvision", "timm"):
        state = foreign_states.vgg(layout)
        words = ("--channels=rgb", "--mean=none", "--classes=-,-,-,-,-,-,-,-,f,m")
        code, output, said = run(save(state), *words, framework="torch", arch="vgg16")
        assert code == 0, said
        head = {"torchvision": "classifier.6", "timm": "head.fc"}[layout]
        found = load(output).variables.params["heads"]["gender"]["kernel"]
        np.testing.assert_array_equal(found, state[f"{head}.weight"][8:].T)


def test_a_clip_vit_has_no_classes_and_becomes_a_trunk(run):
    state = foreign_states.vit("clip", depth=2)
    code, _, said = run(
        save(state), "--channels=rgb", "--mean=clip", framework="torch", arch="vit_b16"
    )
    assert code == 0, said
    assert "no heads (the file has no last layer)" in said and "QuickGELU" in said
    code, _, said = run(
        save(state),
        "--channels=rgb",
        "--mean=clip",
        "--classes=f,m",
        framework="torch",
        arch="vit_b16",
    )
    assert code == 2 and "no last layer for --classes; use --classes=none" in said


def test_an_imported_model_is_evaluated(run, tmp_path, data_dir, small_faces, capsys):
    layers = caffe_nets.levi(outputs=2, crop=227)
    content = caffe_nets.caffemodel(layers, caffe_nets.drawn(layers), version=1)
    code, output, said = run(content, "--known=levi_gender", "--mean=78.4,87.8,114.9")
    assert code == 0, said
    words = [
        f"--model={output}",
        f"--output={tmp_path / 'result'}",
        f"--config.data.dir={data_dir}",
    ]
    words += [f"--config.data.name={SMALL_FACES}", "--config.fold=0", "--config.eval.batch_size=16"]
    assert evaluate.main(words) == 0, capsys.readouterr().err
    lines = (tmp_path / "result" / "predictions.csv").read_text().splitlines()
    assert "gender_probability_female,gender_probability_male" in lines[0]
    rows = [row for row in range(len(small_faces)) if small_faces.fold_of(row) == 0]
    assert len(lines) == 1 + len(rows)
    model = load(output)
    faces = np.stack([model.prepare(e["image"]) for e in small_faces.examples(rows[:2])])
    columns = [
        lines[0].split(",").index(f"gender_probability_{name}") for name in ("female", "male")
    ]
    written = [[float(line.split(",")[k]) for k in columns] for line in lines[1:3]]
    np.testing.assert_allclose(model(faces)["gender"], written, atol=2e-6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mean=none",), "does not name its 8 outputs"),
        ((f"--classes={AGES}",), "--mean: needed, since the file of weights does not hold it"),
        (("--known=levi_age",), "--mean: needed"),
        (("--known=levi_gender", "--mean=none"), "2 names (Male, Female) for 8 outputs"),
        (("--known=dex_age", "--mean=none"), "not levi_hassner; use --arch=vgg16"),
        (("--known=none", "--mean=none"), "expected one of levi_age"),
        (("--known=levi_age", "--mean=absent.binaryproto"), "absent.binaryproto: no such file"),
        (("--known=levi_age", "--mean=1,2"), "three numbers"),
        (("--known=levi_age", "--mean=1,2,nan"), "three numbers"),
        (("--known=levi_age", "--mean=none", "--deviation=1,0,1"), "three positive numbers"),
        (("--known=levi_age", "--mean=none", "--deviation=x"), "three positive numbers"),
        (("--known=levi_age", "--mean=none", "--channels=grey"), "--channels=rgb"),
        (("--known=levi_age", "--mean=none", "--crop=0", "--resize=-1"), "--resize=-1"),
        (("--known=levi_age", "--mean=none", "--crop=240", "--resize=230"), "crop <= resize"),
        (("--known=levi_age", "--mean=none", "--crop=300"), "--crop"),
        (("--known=levi_age", "--mean=none", "--crop=16"), "not levi_hassner"),
        (("--known=levi_age", "--mean=none", "--crop_margin=-1"), "a share from 0 to 4"),
        (("--known=levi_age", "--mean=none", "--crop_margin=nan"), "a share from 0 to 4"),
        (("--known=levi_age", "--mean=none", "--interpolation=cubic"), "expected one of bilinear, area"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_in_one_line(refused, small_levi, words, said):
    assert said in refused(small_levi, *words)


@pytest.mark.parametrize(
    ("framework", "arch", "said"),
    [
        ("caffe", "vgg16", "not vgg16"),
        ("caffe", "resnet18", "not importable from caffe; use one of levi_hassner, vgg16"),
        ("caffe", "vit_b16", "not importable from caffe"),
        ("caffe", "googlenet", "--arch=googlenet: expected one of"),
        ("onnx", "levi_hassner", "weights of Caffe; use --from=caffe"),
        ("torch", "levi_hassner", "not importable from torch"),
        ("torch", "resnet18", "weights of Caffe; use --from=caffe"),
    ],
)
def test_a_wrong_format_or_network(refused, small_levi, framework, arch, said):
    words = ("--mean=none", f"--classes={AGES}", "--channels=bgr")
    assert said in refused(small_levi, *words, framework=framework, arch=arch)


def test_another_network_of_torch(refused):
    content = CONTENTS["zip"](resnet18())
    line = refused(content, *RGB, f"--classes={AGES}", framework="torch", arch="resnet34")
    assert "the file's network is resnet18" in line
    wide = resnet18() | {"layer1.0.conv1.weight": np.ones((5, 4, 3, 3), np.float32)}
    line = refused(
        CONTENTS["zip"](wide), *RGB, f"--classes={AGES}", framework="torch", arch="resnet18"
    )
    assert "not the weights of resnet18" in line and "(3, 3, 4, 5) in the file" in line
    two = resnet18() | {"fc.0.weight": np.ones((8, 32), np.float32)}
    assert "several classifiers" in refused(
        save(two), *RGB, "--classes=f,m", framework="torch", arch="resnet18"
    )


def test_code_in_a_checkpoint_is_not_executed(refused, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'was_run'}",)

    line = refused(pickle.dumps(Evil()), *RGB, "--classes=f,m", framework="torch", arch="resnet18")
    assert "posix.system" in line
    assert not (tmp_path / "was_run").exists()


def test_a_header_that_claims_all_memory_is_refused(refused):
    for length in (2**63, 2**64 - 1, 2**31):
        content = struct.pack("<Q", length) + b'{"a":{}}'
        line = refused(content, *RGB, "--classes=f,m", framework="torch", arch="resnet18")
        assert "cut short" in line


def test_a_mean_image_of_another_size(refused, small_levi, tmp_path):
    (tmp_path / "mean").write_bytes(caffe_nets.mean_file(np.ones((128, 128, 3), np.float32)))
    line = refused(small_levi, "--known=levi_age", f"--mean={tmp_path / 'mean'}")
    assert "--resize=128" in line


def test_an_occupied_output(run, small_levi, tmp_path):
    words = ("--known=levi_age", "--mean=none")
    assert run(small_levi, *words)[0] == 0
    assert run(small_levi, *words)[0] == 0  # an earlier bundle is replaced
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    for place in ("full", "weights.file"):
        code = command.main(
            ["--from=caffe", "--arch=levi_hassner", f"--input={tmp_path / 'weights.file'}",
             f"--output={tmp_path / place}", *words]
        )  # fmt: skip
        assert code == 2
    assert (tmp_path / "full" / "thesis.tex").exists()


def test_help_waits_for_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys; sys.argv = ['x', '--help']\n"
        "from ageflax.import_weights import __main__ as m\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "print([n for n in ('jax', 'numpy', 'google.protobuf') if n in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--classes" in ran.stdout
    assert ran.stderr.strip() == "[]"


def test_a_model_from_elsewhere_is_refused_with_the_command_that_imports_it(
    small_levi, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("age_net.caffemodel").write_bytes(small_levi)
    Path("mean.binaryproto").write_bytes(caffe_nets.mean_file(np.ones((256, 256, 3), np.float32)))
    said = "age_net.caffemodel: weights of Caffe, not a bundle; import it: python -m "
    with pytest.raises(InputError) as refusal:
        load("age_net.caffemodel")
    assert str(refusal.value).startswith(said)
    assert predict.main(["--model=age_net.caffemodel", "photo.jpg"]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"ageflax.predict: --model={said}") and line.count("\n") == 1
    words = shlex.split(line.partition("python -m ageflax.import_weights ")[2])
    assert command.main(words) == 0, capsys.readouterr().err
    assert loading.open_model("age_net").heads == {"age": tuple(AGES.split(","))}


def test_a_model_is_opened_as_any_other(run, small_levi):
    code, output, _ = run(small_levi, "--known=levi_age", "--mean=none")
    assert code == 0
    opened = loading.open_model(output)
    sizes = [leaf.size for leaf in jax.tree.leaves(opened.variables)]
    assert sum(sizes) > 40_000
