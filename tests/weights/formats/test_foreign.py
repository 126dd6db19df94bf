"""A file of another program is told by its content, whatever its name."""

import io
import pickle
import shlex
import struct
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from ageflax.import_weights import __main__ as command
from ageflax.import_weights.known import KNOWN
from ageflax.weights.formats import foreign
from tests.weights.formats import caffe_nets, dlib_writer, onnx_nets
from tests.weights.formats.torch_writer import legacy, tensor, zipped

LEVI = caffe_nets.levi()
WEIGHTS = caffe_nets.drawn(LEVI)
STATE = {"conv1.weight": tensor(np.ones((2, 3, 7, 7), np.float32))}
HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(64)


def archive(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, b"{}")
    return content.getvalue()


def dlib_start(loss):
    return dlib_writer.integer(1) + dlib_writer.word(loss) + bytes(40)


IMPORTED = [
    ("caffe", caffe_nets.caffemodel(LEVI, WEIGHTS, version=1)),
    ("caffe", caffe_nets.caffemodel(LEVI, WEIGHTS, version=2)),
    ("caffe", caffe_nets.caffemodel(LEVI, WEIGHTS, version=2, source="Input")),
    ("caffe", caffe_nets.caffemodel(LEVI, WEIGHTS, version=1, source="input_dim")),
    ("torch", zipped(STATE)),
    ("torch", legacy(STATE)),
    ("torch", save({"conv1.weight": np.ones((2, 3, 7, 7), np.float32)})),
    ("onnx", onnx_nets.levi().model(227).SerializeToString()),
    ("dlib", dlib_start("loss_metric_2")),
    ("dlib", dlib_start("loss_multiclass_log_")),
]


@pytest.mark.parametrize(("framework", "content"), IMPORTED)
def test_what_can_be_imported_comes_with_its_command(tmp_path, framework, content):
    path = tmp_path / "a model.bin"
    path.write_bytes(content)
    line = foreign.told(path)
    assert (
        ", not a bundle; import it: python -m ageflax.import_weights " in line and "\n" not in line
    )
    words = shlex.split(line.partition("import_weights ")[2].partition(" (ARCH: ")[0])
    options = vars(command._parser().parse_args(words))
    assert options["framework"] == framework and options["arch"] == "ARCH"
    assert (options["input"], options["output"]) == (path, tmp_path / "a model")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("age.h5", HDF5, "a Keras model, which ageflax does not read; convert it: python -m"
                         " tf2onnx.convert --keras=age.h5 --output=age.onnx; then python -m"
                         " ageflax.import_weights --from=onnx --arch=ARCH --input=age.onnx --output=age"),
        ("x", archive("metadata.json", "config.json", "model.weights.h5"), "--keras=x --output=x.onnx"),
        ("age.tflite", b"\x1c\0\0\0TFL3" + bytes(64), "--tflite=age.tflite --output=age.onnx"),
        ("x", archive("net/data.pkl", "net/constants.pkl"), "a TorchScript program; save its"),
        ("x", archive("net/archive_format", "net/version"), "a program of torch.export; save its"),
        ("x", pickle.dumps({"a": 1}), "a Python pickle; pickles can run code"),
        ("x", caffe_nets.deploy(LEVI).encode(), "without weights; name its .caffemodel"),
        ("x", b"# Levi\n" + caffe_nets.deploy(LEVI, version=1).encode(), "without weights"),
        ("x", caffe_nets.mean_file(np.ones((8, 8, 3), np.float32)), "a mean image of Caffe; --mean"),
        ("x.pb", b"\x0a\x10\x0a\x05input\x12\x07Plac", "a graph of TensorFlow"),
        ("x.mat", b"MATLAB 5.0 MAT-file, Platform", "a MATLAB file"),
        ("x.mat", b"MATLAB 7.3 MAT-file".ljust(512) + HDF5, "a MATLAB file"),
        ("x", b'<?xml version="1.0" ?>\n<net name="age_gender">', "a network of OpenVINO"),
        ("x", b'{"modelTopology": {}}', "a model of TensorFlow.js"),
        ("x", b"ML\xefR\rStableHLO_v1", "a StableHLO program; name the bundle or the .onnx"),
        ("x", struct.pack("<QQ", 0x112, 0), "weights of MXNet"),
        ("x", b"\xff\xd8\xff\xe0", "a picture; name a model"),
        ("x", b"<!DOCTYPE html>", "a web page in place of the model; download"),
        ("x", b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
        ("x", b"", ""),
        ("x", b"junk", ""),
        ("x", b"PK\x03\x04", ""),
        ("x", bytes(4096), ""),
        ("x.mlmodel", b"\x08\x04\x12\x10\x0a\x0e", ""),
    ],
)  # fmt: skip
def test_the_rest_is_named_with_what_to_do(tmp_path, monkeypatch, name, content, said):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(content)
    line = foreign.told(path.relative_to(tmp_path))
    assert said in line and "\n" not in line
    assert bool(said) == bool(line)


def test_a_saved_model_is_a_folder(tmp_path):
    assert foreign.told(tmp_path) == ""
    (tmp_path / "saved_model.pb").touch()
    assert f"--saved-model={tmp_path}" in foreign.told(tmp_path)


def test_a_text_of_many_lines_takes_no_time(tmp_path):
    (tmp_path / "x").write_bytes(b"a\n " * 2000)
    assert foreign.told(tmp_path / "x") == ""


@pytest.mark.parametrize("name", foreign.PUBLISHED)
def test_published_files_have_their_options_by_name(tmp_path, name):
    framework = {"caffemodel": "caffe", "onnx": "onnx", "pt": "torch", "dat": "dlib"}
    line = foreign.command(framework[name.rpartition(".")[2]], tmp_path / name)
    options = vars(command._parser().parse_args(shlex.split(line)[3:]))
    known = KNOWN[options["known"]]
    assert options["arch"] == known.arch
    assert options["arch"] in foreign.NETWORKS[options["framework"]]
    assert options["mean"] or known.mean or options["framework"] == "dlib"


@pytest.mark.parametrize("content", [b"\n", b"\x08", b"\x08\x01", b"\n\x05", b"P", b"\x80"])
def test_a_few_bytes_are_of_no_known_kind(content, tmp_path):
    (tmp_path / "net.model").write_bytes(content)
    assert foreign.kind(tmp_path / "net.model") is None
