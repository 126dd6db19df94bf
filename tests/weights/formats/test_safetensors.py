import json
import pickle
import struct
import sys
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from ageflax.errors import InputError
from ageflax.weights.formats import safetensors

TENSORS = {
    "fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fc.bias": np.array([1.5, -2], np.float32),
    "count": np.array(7, np.int64),
}
WHOLE = save(TENSORS)


def file_of(content: bytes, folder, name="w.safetensors"):
    path = folder / name
    path.write_bytes(content)
    return path


def with_header(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def described(**changes):
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        safetensors.read(path)
    message = str(caught.value)
    assert str(path).replace("\0", " ") in message  # as shown on a terminal
    return message


def test_tensors_come_back_as_they_were_saved(tmp_path):
    read = safetensors.read(file_of(WHOLE, tmp_path))
    assert read.keys() == TENSORS.keys()
    for name, values in TENSORS.items():
        assert read[name].dtype == values.dtype
        np.testing.assert_array_equal(read[name], values)


def test_floats_of_all_widths_become_float32_and_integers_stay(tmp_path):
    halves = np.array([1.5, -0.25, 3], np.float32)
    data = b"".join(
        halves.astype(t).tobytes() for t in (ml_dtypes.bfloat16, np.float16, np.float64)
    )
    header = {
        name: {"dtype": name, "shape": [3], "data_offsets": [start, stop]}
        for name, start, stop in (("BF16", 0, 6), ("F16", 6, 12), ("F64", 12, 36), ("U8", 36, 39))
    }
    read = safetensors.read(file_of(with_header(header, data + b"\x01\x02\xff"), tmp_path))
    for name in ("BF16", "F16", "F64"):
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], halves)
    np.testing.assert_array_equal(read["U8"], np.array([1, 2, 255], np.uint8))


def test_a_double_beyond_float32_is_not_finite(tmp_path):
    path = file_of(save({"w": np.array([1e300])}), tmp_path)
    assert refused(path) == f"{path}: w has values that are not finite"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(tmp_path, value):
    content = save({"a": np.ones(2, np.float32), "b": np.array([0, value], np.float32)})
    assert "b has values that are not finite" in refused(file_of(content, tmp_path))


def test_an_absent_file_a_folder_and_an_empty_one(tmp_path):
    assert "no such file" in refused(tmp_path / "absent.safetensors")
    assert "a folder" in refused(tmp_path)
    assert "an empty file" in refused(file_of(b"", tmp_path))
    assert "no such file" in refused(tmp_path / "nul\0byte")
    assert "too long" in refused(tmp_path / ("x" * 300))


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
def test_a_file_cut_short_anywhere_is_refused(tmp_path, length):
    assert "\n" not in refused(file_of(WHOLE[:length], tmp_path))


def test_one_byte_too_many_is_refused(tmp_path):
    assert "damaged" in refused(file_of(WHOLE + b"\0", tmp_path))


@pytest.mark.parametrize("claimed", [2**63, 2**64 - 1, 2**31, 10**8 + 1, len(WHOLE), 0, 1])
def test_a_header_longer_than_its_file_takes_no_memory(tmp_path, claimed):
    path = file_of(struct.pack("<Q", claimed) + WHOLE[8:], tmp_path)
    tracemalloc.start()
    message = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "damaged, cut short or not safetensors" in message
    assert peak < 1_000_000


def test_tensors_that_share_their_bytes_are_refused(tmp_path):
    # Otherwise a header of a kilobyte could claim any amount of memory.
    entry = described()["w"]
    path = file_of(with_header({f"w{k}": entry for k in range(9)}, b"\0" * 8), tmp_path)
    assert "damaged" in refused(path)


@pytest.mark.parametrize(
    "header",
    [
        b"not json", b"[1, 2]", b"{}x", b'{"w": ', b'{"w": 1}', b'{"w": null}', b"{" * 2000, b'{"w":[]}',
        b'{"\xff": 1}', b'{"w":{"a":' + b"[" * 100_000, '{"w": 1}'.encode("utf-16"),
        described(shape="2"), described(shape=[2.0]), described(shape=[-2]), described(shape=[True, 2]),
        described(data_offsets=[0]), described(data_offsets=[0, 8, 16]), described(data_offsets=[-8, 0]),
        described(data_offsets=8), described(data_offsets=["0", "8"]), described(data_offsets=[0, 1e3]),
        {"w": {"dtype": "F32", "shape": [2]}}, {"a\nb": described()["w"]}, {"a" * 300: described()["w"]},
    ],
)  # fmt: skip
def test_a_header_that_is_none_is_refused(tmp_path, header):
    message = refused(file_of(with_header(header, b"\0" * 8), tmp_path))
    assert "not safetensors" in message or "not printable or too long" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "header",
    [
        described(data_offsets=[8, 16]), described(data_offsets=[0, 2**63]), described(data_offsets=[8, 0]),
        described(shape=[3]), described(shape=[2**62, 2**62]), described(shape=[2**64]),
        described(shape=[2**64, 0], data_offsets=[0, 0]), described(shape=[1] * 100, data_offsets=[0, 4]),
        described(dtype="F8"), described(dtype=["F32"]), described(dtype="x" * 999),
    ],
)  # fmt: skip
def test_tensors_outside_the_file_or_of_no_known_type_are_refused(tmp_path, header):
    data = (
        b"\0" * header["w"]["data_offsets"][1] if header["w"]["data_offsets"][1] < 9 else b"\0" * 8
    )
    message = refused(file_of(with_header(header, data), tmp_path))
    assert ": w " in message or "damaged" in message
    assert len(message) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(("dtype", "shape"), [("C64", [1]), ("F8_E4M3", [8])])
def test_a_dtype_that_no_weights_have_is_named(tmp_path, dtype, shape):
    path = file_of(with_header(described(dtype=dtype, shape=shape), b"\0" * 8), tmp_path)
    assert f"{path}: w has dtype {dtype}; expected one of F64, F32, F16, BF16," in refused(path)


class Payload:
    """Leaves a trace if unpickled."""

    def __reduce__(self):
        return (exec, ("import sys; sys.modules['ageflax_was_run'] = 1",))


def pytorch_zip(folder, payload: bytes) -> bytes:
    with zipfile.ZipFile(folder / "z", "w") as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/data/0", b"\0" * 8)
    return (folder / "z").read_bytes()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, "zip"])
@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w.safetensors"])
def test_a_pickle_is_refused_and_none_of_its_code_runs(tmp_path, protocol, name):
    content = pickle.dumps(Payload(), protocol=2 if protocol == "zip" else protocol)
    if protocol == "zip":
        content = pytorch_zip(tmp_path, content)
    message = refused(file_of(content, tmp_path, name))
    assert "ageflax_was_run" not in sys.modules
    assert "can run code when it is read" in message
    assert f"ageflax.import_weights --from=torch --classes=none --input={name}" in message
    assert len(message.splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\n<!DOCTYPE html><html>404</html>", "the download failed"),
        (b"<html><body>sign in</body></html>", "the download failed"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 64, "HDF5"),
        (b"\x93NUMPY\x01\0" + b"\0" * 64, "NumPy"),
        (b"ccopy_reg\n_reconstructor\n(c__main__\n", "not safetensors"),
        (b"hello", "not safetensors"),
    ],
)
def test_what_is_given_in_place_of_weights_is_named(tmp_path, content, words):
    message = refused(file_of(content, tmp_path))
    assert words in message
    assert "\n" not in message


def test_a_zip_of_something_else_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("model.safetensors", WHOLE)
    assert "unpack it" in refused(tmp_path / "z")


@pytest.mark.parametrize("low", [0x80, 0x50])
def test_a_header_length_that_begins_as_a_pickle_does_is_no_pickle(tmp_path, low):
    header = json.dumps(described()).encode()
    length = {0x80: 0x0280, 0x50: 0x4B50}[low]
    content = with_header(header.ljust(length), np.array([1, 2], np.float32).tobytes())
    assert content[0] == low
    np.testing.assert_array_equal(safetensors.read(file_of(content, tmp_path))["w"], [1, 2])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=4)), max_size=3
    )
)
def test_of_damaged_files_nothing_is_read_that_the_formats_own_reader_refuses(
    tmp_path_factory, damage
):
    content = bytearray(WHOLE)
    for at, replacement in damage:
        content[at : at + len(replacement)] = replacement
    path = file_of(bytes(content), tmp_path_factory.getbasetemp())
    try:
        read = safetensors.read(path)
    except InputError:
        return
    expected = load(bytes(content))
    assert read.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(read[name], values.astype(read[name].dtype))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_bytes_of_any_kind_are_refused_by_name(tmp_path_factory, content):
    for start in (b"", struct.pack("<Q", len(content)) + b"{"):
        path = file_of(start + content, tmp_path_factory.getbasetemp())
        with pytest.raises(InputError) as refused:
            safetensors.read(path)
        assert str(refused.value).startswith(f"{path}: ") and len(str(refused.value)) < 1000


def test_a_checksum_is_compared_whatever_its_case_and_both_are_named(tmp_path):
    path = file_of(b"abc", tmp_path)
    found = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert safetensors.sha256(path) == found
    assert safetensors.check_sha256(path, "") == found
    assert safetensors.check_sha256(path, found.upper()) == found
    with pytest.raises(InputError, match=f"sha256 is {found}, not {'0' * 64}"):
        safetensors.check_sha256(path, "0" * 64)
    with pytest.raises(InputError, match="no such file"):
        safetensors.sha256(tmp_path / "absent")
