"""Damaged and malicious bundles: each refused in one line, with little memory."""

import json
import os
import shutil
import struct
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ageflax.bundle import ensemble, load
from ageflax.errors import InputError
from tests.support import small_bundle

KERNEL = "params/trunk/conv1/kernel"
DAMAGED = "model.safetensors: damaged, cut short or not safetensors: "


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return small_bundle.write(tmp_path_factory.mktemp("original") / "bundle")


@pytest.fixture
def folder(original, tmp_path):
    """A copy to damage."""
    return shutil.copytree(original, tmp_path / "bundle")


def refused(folder) -> str:
    """Error message of loading, which must be one short line; loading must take little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            load(folder)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 700
    assert message.isprintable()
    return message


def raw(folder, header, content=b""):
    """Replaces the bundle's weights file by one with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def parts(folder):
    """Header and content of the bundle's weights file."""
    content = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def test_a_header_that_claims_more_than_there_can_be(folder):
    content = (folder / "model.safetensors").read_bytes()
    for length in (2**63, 2**64 - 1, len(content) - 7, 10**9):
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", length) + content[8:])
        assert DAMAGED in refused(folder)


@pytest.mark.parametrize("text", [b"{" * 3000, b"[]", b'{"a": 1}', b"\xff\xfe{}", b"{}}", b'{"a'])
def test_a_header_that_is_none(folder, text):
    raw(folder, text)
    assert DAMAGED in refused(folder)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"data_offsets": [0, 4]}, DAMAGED),
        ({"data_offsets": [-4, 4]}, DAMAGED),
        ({"data_offsets": [2**62, 2**63]}, DAMAGED),
        ({"data_offsets": "all"}, DAMAGED),
        ({"shape": [2**31, 2**31, 2**31]}, DAMAGED),
        ({"shape": [1.5]}, DAMAGED),
        ({"shape": [True, 7]}, DAMAGED),
        ({"dtype": "I64"}, DAMAGED),
        ({"dtype": "I32"}, "dtype int32, expected float32"),
        ({"dtype": "C64"}, DAMAGED),
        ({"dtype": "F32\x1b[2J"}, DAMAGED),
    ],
)
def test_an_entry_that_lies(folder, entry, message):
    header, content = parts(folder)
    header[KERNEL] |= entry
    raw(folder, header, content)
    assert message in refused(folder)


def test_tensors_that_share_their_bytes(folder):
    header, content = parts(folder)
    header["params/again"] = dict(header[KERNEL])
    raw(folder, header, content)
    assert DAMAGED in refused(folder)


def test_a_name_given_twice(folder):
    header, content = parts(folder)
    text = json.dumps(header)
    first = min(header.keys() - {"__metadata__"}, key=lambda name: header[name]["data_offsets"])
    twice = f'{text[:-1]}, "{first}": {json.dumps(header[KERNEL])}}}'
    raw(folder, twice.encode(), content)
    assert "damaged" in refused(folder)


def test_a_weights_file_that_is_larger_than_its_network(folder):
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(3_000_000_000)  # sparse: takes no disk space
    assert "model.safetensors: 3000000000 bytes, more than the" in refused(folder)


def test_a_description_of_a_gigabyte(folder):
    with (folder / "config.json").open("r+b") as file:
        file.truncate(1_000_000_000)
    assert "config.json: 1000000000 bytes, more than the limit of 16000000" in refused(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>Sorry</html>", "a web page, not weights: the download failed"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        (b"\x00" * 100, "not safetensors"),
    ],
)
def test_what_is_often_there_instead(folder, content, message):
    (folder / "model.safetensors").write_bytes(content)
    assert message in refused(folder)


def test_a_pickle_is_refused_unopened(folder, tmp_path):
    call = b"cos\nsystem\n(S'touch %b'\ntR." % str(tmp_path / "ran").encode()
    (folder / "model.safetensors").write_bytes(b"\x80\x02" + call)
    with pytest.raises(InputError, match="a pickle, not safetensors; refused, because"):
        load(folder)
    assert not (tmp_path / "ran").exists()


def changed(folder, **tensors):
    save_file(load_file(folder / "model.safetensors") | tensors, folder / "model.safetensors")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(folder, value):
    changed(folder, mean=np.full((1, 1, 3), value, np.float32))
    assert "mean has values that are not finite" in refused(folder)


def test_numbers_that_no_network_has(folder):
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("/var"))
    for damage, message in (
        ({"deviation": np.zeros((1, 1, 3), np.float32)}, "deviation has zeros, expected positive"),
        ({"deviation": -np.ones((1, 1, 3), np.float32)}, "deviation has negative values"),
        ({name: -tensors[name]}, f"{name} has negative values, expected a variance"),
        ({"mean": np.zeros((32, 31, 3), np.float32)}, "mean or deviation does not fit"),
        (
            {"params/extra": np.zeros(3, np.float32)},
            "such as params/extra: (3,) in the file, expected absent",
        ),
        (
            {KERNEL: np.zeros((1, 1), np.float32)},
            f"such as {KERNEL}: (1, 1) in the file, expected (7, 7, 3,",
        ),
        ({KERNEL + "/x": np.zeros(3, np.float32)}, "1 differ"),
    ):
        save_file(tensors | damage, folder / "model.safetensors")
        assert message in refused(folder)


def test_a_link_is_followed_to_a_file_and_shows_nothing_of_another(original, folder, tmp_path):
    weights = folder / "model.safetensors"
    weights.unlink()
    weights.symlink_to(original / "model.safetensors")  # as in the hub's cache
    assert load(folder).variables.params
    weights.unlink()
    weights.symlink_to("/dev/zero")
    assert "not a bundle: model.safetensors is absent" in refused(folder)
    weights.unlink()
    os.mkfifo(weights)
    assert "not a bundle: model.safetensors is absent" in refused(folder)
    secret = tmp_path / "secret"
    secret.write_text("password: opensesame, " * 30)
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
        assert "opensesame" not in refused(folder)


def test_paths_that_are_none():
    for path in ("", "x" * 5000, "no\0name", "/proc/self/mem", "/dev/null"):
        with pytest.raises(InputError):
            load(path)
        with pytest.raises(InputError):
            ensemble(path)


def test_half_precision_and_the_first_formats_files_are_read(original, folder):
    expected = load_file(original / "model.safetensors")
    halved = {name: values.astype(np.float16) for name, values in expected.items()}
    del halved["deviation"]  # absent in format 1: divisor 1
    save_file(halved, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    for key in ("loss", "age_groups", "parameters", "cross_validation", "calibration"):
        del config[key]
    (folder / "config.json").write_text(json.dumps(config | {"format": 1}))
    model = load(folder)
    np.testing.assert_array_equal(model.variables.std, np.ones((1, 1, 3), np.float32))
    kernel = model.variables.params["trunk"]["conv1"]["kernel"]
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel, expected[KERNEL], atol=1e-3)
    assert model.config["age_groups"][2] == [8, 12]


def test_a_runs_fold_is_its_bundle(original, tmp_path):
    shutil.copytree(original, tmp_path / "fold_0" / "bundle")
    assert load(tmp_path / "fold_0").members[0].path == tmp_path / "fold_0" / "bundle"
    with pytest.raises(InputError, match=r"a run of several folds; name one fold_K"):
        load(tmp_path)


def test_weights_are_as_readable_as_the_other_files(original):
    modes = {path.name: path.stat().st_mode for path in original.iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]
