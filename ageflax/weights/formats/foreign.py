"""Tells what a file of another program is, and which command imports it.

Judged by content: the first bytes, and the end of an archive, which lists its files.
"""

import dataclasses
import re
import shlex
from pathlib import Path

from ageflax.weights.matching import match, names

_START, _END = 4096, 1_000_000  # bytes read
_SHORTEST = 8  # bytes that tell a protocol buffer

# Networks that import_weights makes bundles of, by its --from. Caffe's ResNets have their strides in
# other layers.
DLIB = tuple(name for name in names.LAYOUTS if name.startswith("dlib_"))
NETWORKS = {
    "caffe": ("levi_hassner", "vgg16"),
    "torch": tuple(name for name in names.LAYOUTS if name not in DLIB),
    "onnx": match.MATCHED,
    "dlib": DLIB,
}
# Options for published files, by their authors' names.
PUBLISHED = {
    "age_net.caffemodel": "--arch=levi_hassner --known=levi_age --mean=mean.binaryproto",
    "gender_net.caffemodel": "--arch=levi_hassner --known=levi_gender --mean=mean.binaryproto",
    "dex_imdb_wiki.caffemodel": "--arch=vgg16 --known=dex_age",
    "dex_chalearn_iccv2015.caffemodel": "--arch=vgg16 --known=dex_apparent_age",
    "gender.caffemodel": "--arch=vgg16 --known=dex_gender",
    "VGG_FACE.caffemodel": "--arch=vgg16 --known=vgg_face --mean=93.5940,104.7624,129.1863",
    "vgg_ilsvrc_16_age_imdb_wiki.onnx": "--arch=vgg16 --known=dex_age",
    "vgg_ilsvrc_16_age_chalearn_iccv2015.onnx": "--arch=vgg16 --known=dex_apparent_age",
    "vgg_ilsvrc_16_gender_imdb_wiki.onnx": "--arch=vgg16 --known=dex_gender",
    "dnn_age_predictor_v1.dat": "--arch=dlib_age_resnet --known=dlib_age",
    "dnn_gender_classifier_v1.dat": "--arch=dlib_gender_cnn --known=dlib_gender",
    "res34_fair_align_multi_7_20190809.pt": "--arch=resnet34 --known=fairface",
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """Kind of a file.

    Attributes:
      name: noun phrase.
      framework: key of NETWORKS; "" for a file that cannot be imported.
      advice: way out for a file that cannot be imported.
      converter: option of tf2onnx that takes the file, if that is the way.
    """

    name: str
    framework: str = ""
    advice: str = ""
    converter: str = ""


_CAFFE = Kind("weights of Caffe", "caffe")
_TORCH = Kind("weights of PyTorch", "torch")
_ONNX = Kind("an ONNX file", "onnx")
_KERAS = Kind("a Keras model", converter="--keras")
_SAVED_MODEL = Kind("a SavedModel of TensorFlow", converter="--saved-model")
_STATE = "save its state_dict() with torch.save, and import that file"
_TENSORFLOW = Kind(
    "a graph of TensorFlow", advice="import the ONNX, PyTorch or Caffe file of the same model"
)
_AGAIN = "download the file again"
_PROTOTXT = Kind("a network definition of Caffe without weights", advice="name its .caffemodel")
_SIGNATURES = (
    (0, b"\x89HDF\r\n\x1a\n", _KERAS),
    (4, b"TFL3", Kind("a TensorFlow Lite model", converter="--tflite")),
    (0, b"\x01\x01\x01\x0dloss_", Kind("a network of dlib", "dlib")),
    (0, b"\x01\x01\x01\x14loss_", Kind("a network of dlib", "dlib")),
    (8, b'{"', Kind("weights in safetensors", "torch")),
    (0, b"MATLAB ", Kind(
        "a MATLAB file", advice="import the Caffe or ONNX file of the same model")),
    (0, b"ML\xefR", Kind(
        "a StableHLO program", advice="name the bundle or the .onnx file of the same model")),
    (0, b"\x12\x01\0\0\0\0\0\0", Kind(
        "weights of MXNet", advice="import the ONNX file of the same model")),
    (0, b"\xff\xd8\xff", Kind("a picture", advice="name a model, and the picture after the options")),
    (0, b"\x89PNG", Kind("a picture", advice="name a model, and the picture after the options")),
    (0, b"version https://git-lfs", Kind(
        "a Git LFS pointer in place of the model", advice="run git lfs pull")),
)  # fmt: skip
# Names in an archive's list, and the kind; the first that occurs decides.
_ARCHIVES = (
    (b"/constants.pkl", Kind("a TorchScript program", advice=_STATE)),
    (b"/data.pkl", _TORCH),
    (b"model.weights.h5", _KERAS),
    (b"archive_format", Kind("a program of torch.export", advice=_STATE)),
    (b"serialized_exported_program", Kind("a program of torch.export", advice=_STATE)),
)
_TEXTS = (
    (rb"\A\s*(<!doctype|<html)", Kind("a web page in place of the model", advice=_AGAIN)),
    (rb"\A\s*<\?xml[^>]*>\s*<net\b", Kind(
        "a network of OpenVINO", advice="import the ONNX, PyTorch or Caffe file of the same model")),
    (rb"\A\s*\{[^}]*\"(modelTopology|weightsManifest|weights)\"\s*:", Kind(
        "a model of TensorFlow.js", advice="import the ONNX or PyTorch file of the same model")),
    (rb"^\s*(layers?\s*\{|input\s*:|input_dim\s*:)", _PROTOTXT),
)  # fmt: skip
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # PyTorch's number, pickled
PICKLE = Kind("a Python pickle", advice="pickles can run code and are not opened")
_MEAN = Kind("a mean image of Caffe", advice="--mean of ageflax.import_weights takes it")


def _protobuf(start: bytes, path: Path) -> Kind | None:
    """Kind of a protocol buffer, by its first fields: ONNX, Caffe or TensorFlow."""
    first, second = start[2:3], start[3:4]
    if start[:1] == b"\x08" and start[1:4] == b"\x01\x10\x03":
        return _MEAN
    if start[:1] == b"\x08" and start[1:2] < b"\x20":
        inner = start[4:5] if second < b"\x80" else start[5:6]
        if first == b"\x12" and inner == b"\x0a":  # a message, where ONNX has its producer's name
            return _TENSORFLOW if path.suffix == ".pb" else None
        return _ONNX if first in b"\x12\x1a\x22\x28\x32\x3a\x42" else None
    if start[:1] == b"\x0a" and start[1:2] < b"\x80":
        end = 2 + start[1]
        if start[2:end].decode("latin-1").isprintable():
            return _CAFFE if start[end : end + 1] in b"\x12\x1a\x20\x28\x32\xa2" else None
    return _TENSORFLOW if path.suffix == ".pb" else None


def kind(path: Path) -> Kind | None:
    """Kind of a foreign file, or of a SavedModel's folder; None if it is not known.

    Raises:
      OSError: the system refuses to read it.
    """
    if path.is_dir():
        return _SAVED_MODEL if (path / "saved_model.pb").is_file() else None
    with path.open("rb") as file:
        start = file.read(_START)
        if start.startswith(b"PK\x03\x04"):
            file.seek(max(0, path.stat().st_size - _END))
            listed = file.read()
            return next((found for name, found in _ARCHIVES if name in listed), None)
    if start.startswith(b"\x80") and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _TORCH if start.startswith(_LEGACY) else PICKLE
    for place, signature, found in _SIGNATURES:
        if start[place:].startswith(signature):
            return found
    if start and b"\0" not in start:
        for pattern, found in _TEXTS:
            if re.search(pattern, start, re.MULTILINE | re.IGNORECASE):
                return found
    if path.suffix == ".caffemodel" and start:
        return _CAFFE
    return _protobuf(start, path) if len(start) >= _SHORTEST else None


def command(framework: str, path: Path) -> str:
    """Command that imports a file, in capitals what its user must know."""
    networks, options = NETWORKS[framework], PUBLISHED.get(path.name)
    output = path.with_suffix("") if path.suffix else path.with_suffix(".bundle")
    words = [f"--input={path}", f"--output={output}"]
    line = (
        f"python -m ageflax.import_weights --from={framework} {options or '--arch=ARCH'}"
        f" {shlex.join(words)}"
    )
    return (
        line if options else f"{line} (ARCH: {', '.join(networks)}; --help has the other options)"
    )


def told(path: Path) -> str:
    """Says what a foreign file is and what to do with it; "" if it is not known.

    Raises:
      OSError: the system refuses to read it.
    """
    found = kind(path)
    if found is None:
        return ""
    if found.framework:
        return f"{found.name}, not a bundle; import it: {command(found.framework, path)}"
    if found.converter:
        onnx = path.with_suffix(".onnx")
        words = shlex.join([f"{found.converter}={path}", f"--output={onnx}"])
        return (
            f"{found.name}, which ageflax does not read; convert it: python -m tf2onnx.convert {words};"
            f" then {command('onnx', onnx)}"
        )
    return f"{found.name}; {found.advice}"
