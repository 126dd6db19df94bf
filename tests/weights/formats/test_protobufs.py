"""Cut, damaged and hostile protobuf files are refused in one line and bounded memory."""

import random
import subprocess
import sys

import numpy as np
import pytest

from ageflax.errors import InputError
from ageflax.weights.formats import caffe, onnx_graph, protobufs
from ageflax.weights.matching import match
from tests.weights.formats import caffe_nets, onnx_nets


def _levi(version):
    layers = caffe_nets.levi(1 / 64)
    return caffe_nets.caffemodel(layers, caffe_nets.drawn(layers), version=version)


def _matched(read):
    return lambda path: match.match(read(path), "levi_hassner", crop=227)


FILES = {
    "caffemodel V1": (lambda: _levi(1), _matched(caffe.read_graph)),
    "caffemodel V2": (lambda: _levi(2), _matched(caffe.read_graph)),
    "binaryproto": (
        lambda: caffe_nets.mean_file(np.full((16, 16, 3), 100, np.float32)),
        caffe.read_mean,
    ),
    "onnx": (
        lambda: onnx_nets.levi().model(227).SerializeToString(),
        _matched(onnx_graph.read_graph),
    ),
}


@pytest.fixture(params=list(FILES))
def kind(request):
    content, read = FILES[request.param]
    return content(), read


def test_whole_files_are_read(kind, tmp_path):
    content, read = kind
    (tmp_path / "file").write_bytes(content)
    read(tmp_path / "file")


def test_a_file_cut_at_any_byte_of_its_first_kilobyte_is_refused_in_one_line(kind, tmp_path):
    content, read = kind
    path = tmp_path / "file"
    lengths = [*range(min(len(content), 1025)), *range(1025, len(content), len(content) // 20)]
    for length in lengths:
        path.write_bytes(content[:length])
        with pytest.raises(InputError) as refusal:
            read(path)
        assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)


def test_random_damage_is_refused_in_one_line_or_harmless(kind, tmp_path):
    content, read = kind
    path, draw = tmp_path / "file", random.Random(1)
    refused = 0
    for _ in range(250):
        damaged = bytearray(content)
        # More often in the structure than in the numbers.
        reach = draw.choice((200, 2000, len(content)))
        for _ in range(draw.choice((1, 1, 2, 8))):
            damaged[draw.randrange(min(reach, len(damaged)))] = draw.randrange(256)
        path.write_bytes(bytes(damaged))
        try:
            read(path)
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert 5 < refused <= 250


def _filled(head, wire, size=20_000_000):
    """Nested messages with field numbers `head`, the innermost full of `wire`."""
    content = wire * (size // len(wire))
    for number in reversed(head):
        length = len(content)
        varint = b""
        while length > 127:
            varint, length = varint + bytes([length & 127 | 128]), length >> 7
        content = bytes([number << 3 | 2]) + varint + bytes([length]) + content
    return content


BOMBS = {
    "caffe layers of nothing": lambda: _filled((), b"\x12\x00"),
    "caffe layers of V2": lambda: _filled((), b"\xa2\x06\x00"),
    "caffe blobs of nothing": lambda: _filled((2,), b"\x32\x00"),
    "caffe names of nothing": lambda: _filled((2,), b"\x1a\x00"),
    "caffe groups in groups": lambda: _filled((), b"\x0b"),
    "caffe varint without end": lambda: _filled((), b"\xff"),
    "onnx nodes of nothing": lambda: _filled((7,), b"\x0a\x00"),
    "onnx names of nothing": lambda: _filled((7, 1), b"\x0a\x00"),
    "onnx sides one by one": lambda: _filled((7, 5), b"\x08\x01"),
    "onnx sides in a list": lambda: _filled((7, 5, 1), b"\x01"),
    "onnx attributes": lambda: _filled((7, 1), b"\x2a\x00"),
    "onnx zeros": lambda: _filled((), b"\0"),
}
_READ_ALL = """
import resource, sys
from pathlib import Path
from ageflax.errors import InputError
from ageflax.weights.formats import caffe, onnx_graph

for folder in sys.argv[1:]:
    for path in sorted(Path(folder).iterdir()):
        # The address space as it is, and 100 MB: the file twice over, and some.
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, resource.RLIM_INFINITY))
        try:
            (caffe if path.name.startswith("caffe") else onnx_graph).read_graph(path)
            print("read:", path.name)
        except InputError as error:
            print("refused:", error)
"""


def test_files_made_to_fill_memory_are_refused_within_a_bound(tmp_path):
    for name, content in BOMBS.items():
        (tmp_path / name).write_bytes(content())
    ran = subprocess.run(
        [sys.executable, "-c", _READ_ALL, tmp_path], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == len(BOMBS)
    assert all(line.startswith("refused:") and str(tmp_path) in line for line in lines), lines


def test_a_caffemodel_that_is_another_network_is_told_by_what_differs(tmp_path):
    layers = caffe_nets.levi(1 / 64)
    weights = caffe_nets.drawn(layers)

    def refused(changed):
        (tmp_path / "file").write_bytes(caffe_nets.caffemodel(changed, weights, version=1))
        with pytest.raises(InputError) as refusal:
            match.match(caffe.read_graph(tmp_path / "file"), "levi_hassner", crop=227)
        return str(refusal.value)

    def with_settings(name, **changed):
        return [(k, n, given | changed if n == name else given) for k, n, given in layers]

    assert "conv with group 2" in refused(with_settings("conv2", group=2))
    assert "lrn with alpha" in refused(with_settings("norm1", alpha=5e-4))
    assert "found Pooling, expected max_pool" in refused(with_settings("pool2", pool=1))
    assert "max_pool with stride" in refused(with_settings("pool2", stride=3))
    assert "conv with pads" in refused(with_settings("conv1", pad=1))
    assert "not levi_hassner" in refused([layer for layer in layers if layer[0] != "LRN"])
    concat = [("Concat" if name == "relu3" else kind, name, given) for kind, name, given in layers]
    assert "found Concat, expected relu" in refused(concat)


def test_weights_that_do_not_fit_their_layer_are_refused(tmp_path):
    layers = caffe_nets.levi(1 / 64)
    good = caffe_nets.drawn(layers)

    def refused(**changed):
        content = caffe_nets.caffemodel(layers, good | changed, version=2)
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(InputError) as refusal:
            match.match(caffe.read_graph(tmp_path / "file"), "levi_hassner", crop=227)
        return str(refusal.value)

    kernel, bias = good["conv2"]
    assert "5 biases for 4 outputs" in refused(conv2=(kernel, np.ones(5, np.float32)))
    assert "3 arrays of weights" in refused(conv2=(kernel, bias, bias))
    assert "a kernel of 2 axes" in refused(conv2=(kernel[:, :, 0, 0], bias))
    assert "not finite" in refused(conv2=(kernel, bias * np.nan))
    assert "of (3, 3) pixels, expected 5x5" in refused(conv2=(kernel[..., :3, :3], bias))
    assert "has a map of 7x7 pixels" in refused(fc6=(good["fc6"][0][:, 1:], good["fc6"][1]))
    assert "--crop" in refused(fc6=(good["fc6"][0][:, 1:], good["fc6"][1]))


def test_names_are_printed_without_control_characters():
    assert protobufs.text(b"a\x1b[31m\n\xff") == "a?[31m?�"
    assert len(protobufs.text(b"x" * 1000)) == 80
