"""PyTorch's files are read as data: equal tensors; anything else is refused, not run."""

import io
import os
import pickle
import random
import struct
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest

from ageflax.errors import InputError
from ageflax.weights.formats import pytorch, pytorch_pickle
from tests.weights.formats.torch_writer import (
    CONTAINERS,
    Global,
    Storage,
    View,
    legacy,
    pickled,
    stored,
    tensor,
    zipped,
)

DRAW = np.random.default_rng(0)
STATE = {
    "a.weight": DRAW.normal(size=(3, 4)).astype(np.float32),
    "a.bias": DRAW.normal(size=3).astype(np.float32),
}


@pytest.fixture
def read(tmp_path):
    def reading(content):
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        return pytorch.read(path)

    return reading


@pytest.fixture(params=list(CONTAINERS))
def container(request):
    return CONTAINERS[request.param]


def views(state):
    return {name: tensor(values) for name, values in state.items()}


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_tensors_come_out_as_they_went_in(read, container):
    same(read(container(views(STATE))), STATE)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"epoch": 3, "best": 0.5, "name": "x", "done": True, "state_dict": state},
        lambda state: {"model": state, "optimizer": {"state": [], "groups": [(1, 2.0, None)]}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"net": {f"module.{name}": view for name, view in state.items()}},
    ],
)
def test_weights_are_found_in_a_checkpoint(read, container, wrap):
    found = read(container(wrap(views(STATE))))
    same({name.removeprefix("module."): values for name, values in found.items()}, STATE)


@pytest.mark.parametrize("dtype", ["<f8", "<f2", ml_dtypes.bfloat16, "<i8", "|u1"])
def test_every_type_of_number(read, container, dtype):
    values = (DRAW.uniform(0, 100, (2, 5))).astype(dtype)
    found = read(container({"x": tensor(values), "y": tensor(values[:1])}))["x"]
    floats = np.dtype(dtype).kind in "fV"
    assert found.dtype == (np.float32 if floats else np.dtype(dtype))
    np.testing.assert_array_equal(found, values.astype(np.float32) if floats else values)


def test_views_share_a_storage_and_may_lie_anyhow(read, container):
    values = np.arange(24, dtype=np.float32)
    storage = stored(values)
    state = {
        "transposed": View(storage, 0, (4, 3), (1, 4)),
        "part": View(storage, 13, (2, 2), (5, 2)),
        "repeated": View(storage, 3, (4,), (0,)),
        "scalar": View(storage, 7, (), ()),
    }
    found = read(container(state))
    np.testing.assert_array_equal(found["transposed"], values[:12].reshape(3, 4).T)
    np.testing.assert_array_equal(found["part"], [[13, 15], [18, 20]])
    np.testing.assert_array_equal(found["repeated"], [3, 3, 3, 3])
    assert found["scalar"] == 7


@pytest.mark.parametrize(
    "view",
    [
        lambda s: View(s, 0, (3, 5), (5, 1)),
        lambda s: View(s, 12, (1,), (1,)),
        lambda s: View(s, 2**62, (1,), (1,)),
        lambda s: View(s, 0, (2,), (2**62,)),
        lambda s: View(s, -1, (2,), (1,)),
        lambda s: View(s, 11, (2,), (-1,)),
        lambda s: View(s, 0, (2, 2), (1,)),
        lambda s: View(s, 0, (2**40, 2**40), (0, 0)),
        lambda s: View(s, 0, (13,), (0,)),
        lambda s: View(s, 0, (1,) * 9, (1,) * 9),
        lambda s: View(s, 0, ("3",), (1,)),
        lambda s: View(s, 0.5, (1,), (1,)),
        lambda s: View(s, 0, 3, 1),
        lambda s: View(Storage(s.content, 2**62, s.kind), 0, (3,), (1,)),
        lambda s: View(Storage(s.content, -3, s.kind), 0, (3,), (1,)),
        lambda s: View(Storage(s.content, 12, "DoubleStorage"), 0, (3,), (1,)),
        lambda s: View("no storage", 0, (3,), (1,)),
    ],
)
def test_a_view_outside_its_storage_is_refused(read, container, view):
    storage = stored(np.arange(12, dtype=np.float32))
    with pytest.raises(InputError, match="damaged"):
        read(container({"good": View(storage, 0, (3, 4), (4, 1)), "bad": view(storage)}))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(read, container, value):
    with pytest.raises(InputError, match=r"a\.bias has values that are not finite"):
        read(container(views(STATE | {"a.bias": np.array([0, value, 1], np.float32)})))


class Evil:
    """Calls of an attacker's pickle; `marker` exists afterwards if any was run."""

    def __init__(self, function, *arguments):
        self._reduced = function, arguments

    def __reduce__(self):
        return self._reduced


def evil_pickles(marker):
    command = f"touch {marker}"
    yield "os.system", pickle.dumps(Evil(os.system, command), 2)
    yield "posix.system", pickle.dumps({"state_dict": Evil(os.system, command)}, 4)
    yield "eval", pickle.dumps(Evil(eval, f"open({str(marker)!r}, 'w')"), 2)
    yield "exec by INST", f"(S'open({str(marker)!r}, \"w\")'\ni__builtin__\nexec\n.".encode()
    yield "NEWOBJ", b"\x80\x02ctorch._utils\n_rebuild_parameter\n)\x81."
    yield (
        "OBJ",
        f"(cos\nsystem\nX{struct.pack('<I', len(command)).decode('latin-1')}{command}o.".encode(
            "latin-1"
        ),
    )
    yield "a child's name", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2.__globals__\n."
    yield "BUILD of a name", b"\x80\x02ccollections\nOrderedDict\n}b."
    yield "STACK_GLOBAL", pickle.dumps(os.system, 4)
    yield "torch.load", b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00x\x85R."
    yield "getattr", b"\x80\x02c__builtin__\ngetattr\n."
    yield "a storage called", b"\x80\x02ctorch\nFloatStorage\n)R."
    yield "EXT1", b"\x80\x02\x82\x01."
    yield "PERSID", b"Px\n."


NAMES = [name for name, _ in evil_pickles("")]


@pytest.mark.parametrize("kind", [*CONTAINERS, "first of a legacy file", "alone"])
@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_code_in_a_pickle_is_refused_and_not_run(read, tmp_path, number, kind):
    marker = tmp_path / "was_run"
    evil = list(evil_pickles(marker))[number][1]
    if kind in CONTAINERS:
        content = CONTAINERS[kind](views(STATE), pickle_bytes=evil)
    else:
        content = evil + legacy(views(STATE)) * (kind != "alone")
    with pytest.raises(InputError) as refusal:
        read(content)
    assert str(refusal.value).count("\n") == 0
    assert not marker.exists()


def test_the_refusal_names_what_was_asked_for(read):
    content = zipped(views(STATE), pickle_bytes=pickle.dumps(Evil(os.system, "true"), 2))
    with pytest.raises(
        InputError, match=r"nothing in it was run: its pickle holds the name 'posix.system'"
    ):
        read(content)
    whole = Global("torchvision.models.resnet", "ResNet")
    with pytest.raises(InputError, match=r"ResNet'.*torch\.save\(model\.state_dict\(\), FILE\)"):
        read(zipped({"model": whole}))


def bombs():
    doubled = b"\x80\x02)" + b"q\x00h\x00\x86" * 200  # a pair of pairs of pairs ...
    yield "as a key", b"}" + doubled[2:] + b"K\x01s."
    yield "as a value", b"\x80\x02}X\x01\x00\x00\x00x" + doubled[2:] + b"s."
    yield "marks", b"\x80\x02" + b"(" * 50_000
    yield "lists in lists", b"\x80\x02" + b"]" * 8_000 + b"a" * 7_999 + b"."
    yield "a list in itself", b"\x80\x02]q\x00h\x00a."
    yield "a dictionary in itself", b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s."
    yield "a far place in the memo", b"\x80\x02Nr\xff\xff\xff\xff."
    yield "a text of 2 GB", b"\x80\x02X\xff\xff\xff\x7fx."
    yield "a number of 2 GB", b"\x80\x02\x8b\xff\xff\xff\x7f1."
    yield "an empty stack", b"\x80\x02."
    yield "no end", b"\x80\x02]"


@pytest.mark.parametrize(("what", "bomb"), list(bombs()), ids=[what for what, _ in bombs()])
def test_pickles_made_to_fill_memory_are_refused(read, container, monkeypatch, what, bomb):
    monkeypatch.setattr(pytorch_pickle, "_MOST_INSTRUCTIONS", 20_000)
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            read(container(views(STATE), pickle_bytes=bomb))
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_compressed_archives_are_refused(read):
    bomb = {"x": tensor(np.zeros(5_000_000, np.float32)), "y": tensor(np.zeros(3, np.float32))}
    content = zipped(bomb, compression=zipfile.ZIP_DEFLATED)
    assert len(content) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="compressed, which PyTorch never does"):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_an_archive_that_lies_about_lengths_is_refused(read):
    content = zipped(views(STATE))
    place = (
        content.rindex(b"archive/data/0") - 46 + 20
    )  # position of the two sizes in the directory
    for size in (2**31 - 1, 2**32 - 1, 47, 0):
        lying = content[:place] + struct.pack("<II", size, size) + content[place + 8 :]
        with pytest.raises(InputError, match=r"damaged|cannot be read"):
            read(lying)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: b"", "an empty file"),
        (lambda: b"hello world", "no file of PyTorch"),
        (lambda: zipped(views(STATE), extra=[("constants.pkl", b"x")]), "TorchScript"),
        (lambda: zipped(views(STATE)).replace(b"little", b"bigger"), "cut short or damaged"),
        (lambda: legacy(views(STATE), little=False), "big-endian"),
        (lambda: pickle.dumps([1, 2]), "none of PyTorch's weights"),
        (lambda: zipped([tensor(np.zeros(3, np.float32))]), "no weights by name"),
        (lambda: zipped({"epoch": 3}), "no weights by name"),
        (lambda: zipped({"a\nb": tensor(np.zeros(3, np.float32)), "c": tensor(np.zeros(3, np.float32))}), "not printable"),
        (lambda: b"PK\x03\x04" + bytes(100), "cut short or damaged"),
    ],
)  # fmt: skip
def test_other_files_are_told_apart(read, content, said):
    with pytest.raises(InputError, match=said):
        read(content())


def test_an_archive_of_something_else(read):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("photo.jpg", b"x")
    with pytest.raises(InputError, match="not PyTorch's weights"):
        read(file.getvalue())


def test_a_file_cut_anywhere_or_damaged_at_random_is_refused_or_read(read, container):
    content = container(views(STATE))
    for length in range(0, len(content), 3):
        with pytest.raises(InputError):
            read(content[:length])
    draw = random.Random(0)
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 8))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            found = read(bytes(damaged))
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert sum(values.size for values in found.values()) <= len(content)


def test_storages_said_to_be_of_two_types_are_refused(read):
    content, _ = pickled(views(STATE))
    two = content.replace(b"X\x01\x00\x00\x001", b"X\x01\x00\x00\x000")
    assert two != content
    with pytest.raises(InputError, match="described twice"):
        read(zipped(views(STATE), pickle_bytes=two))
