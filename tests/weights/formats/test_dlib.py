"""dlib's network: tensors by name; anything else is refused in one line, without taking memory."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ageflax.errors import InputError
from ageflax.weights import packages, transfer
from ageflax.weights.formats import dlib
from tests.weights.formats import dlib_writer
from tests.weights.formats.dlib_writer import integer, integers, number, part, tensor, word

NAME = "dlib_face_resnet"
DRAW = np.random.default_rng(0)
TENSORS = {
    name: DRAW.normal(size=shape).astype(np.float32)
    for name, shape in dlib_writer.shapes(0.03).items()
}
LAYERS = dlib_writer.layers(TENSORS)
WHOLE = dlib_writer.network(LAYERS)


@pytest.fixture
def read(tmp_path):
    def reading(content):
        path = tmp_path / "net.dat"
        path.write_bytes(content)
        return dlib.read(path)

    return reading


def refused(read, content) -> str:
    with pytest.raises(InputError) as caught:
        read(content)
    message = str(caught.value)
    assert "net.dat: " in message
    assert "\n" not in message
    assert len(message) < 400
    return message


def with_layer(k, content):
    """The network with other details of its k-th layer."""
    return dlib_writer.network([*LAYERS[:k], content, *LAYERS[k + 1 :]])


def merged(name):
    """A tensor of a convolution with the affine layer after it."""
    kind, _, part = name.partition(".")
    scale = TENSORS[f"{kind.replace('con', 'affine')}.weight"]
    if part == "weight":
        return TENSORS[name] * scale[:, None, None, None]
    return TENSORS[name] * scale + TENSORS[f"{kind.replace('con', 'affine')}.bias"]


def test_affine_layers_are_merged_into_convolutions(read):
    found = read(WHOLE)
    assert found.keys() == {name for name in TENSORS if not name.startswith("affine")}
    for name, values in found.items():
        assert values.dtype == np.float32
        wanted = TENSORS[name] if name == "fc1.weight" else merged(name)
        np.testing.assert_array_equal(values, wanted)


CON, AFFINE, POOL, FC = 0, 1, 3, len(LAYERS) - 1
HUGE = 2**62
ONES = np.ones(4, np.float32)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x01", "announced"),
        (b"x" * 1000, "an integer that starts with 0x78"),
        (WHOLE.replace(b"loss_metric_2", b"loss_metric_3"), "another's"),
        (WHOLE.replace(b"input_rgb_image_sized", b"input_rgb_image_other"), "input 'input_rgb_i"),
        (WHOLE + b"\0", "1 bytes after its end"),
        (WHOLE[:-1], "announced"),
        (WHOLE[: len(WHOLE) // 2], "announced"),
        (WHOLE[:17], "1 bytes announced, 0 left"),
        (with_layer(CON, word("con_7")), "a layer 'con_7'"),
        (with_layer(CON, word("x" * 99)), "a name of 99 letters"),
        (with_layer(CON, word("\n\0\x1b")), r"a layer '\n\x00\x1b'"),
        (with_layer(CON, integer(-4)), "-4 bytes announced"),
        (with_layer(CON, word("con_4") + integers(2, HUGE, 1, 1, 1)), "announced"),
        (with_layer(CON, word("con_4") + integers(2, *[HUGE] * 4)), "announced"),
        (with_layer(CON, word("con_4") + integers(2, -1, -1, 1, 1)), "shape (-1, -1, 1, 1)"),
        (with_layer(CON, word("con_4") + integers(2, 0, 7, 1, 1)), "shape (0, 7, 1, 1)"),
        (with_layer(CON, word("con_4") + integer(3)), "a tensor of version 3, expected 2"),
        (with_layer(AFFINE, word("affine_") + tensor(ONES) + integer(2)), "a part of version 2"),
        (
            with_layer(AFFINE, word("affine_") + tensor(ONES) + part(1, 2, 1, 1) + part(1, 3, 1, 1)),
            "4 numbers in shapes (1, 2, 1, 1) and (1, 3, 1, 1)",
        ),
        (
            with_layer(AFFINE, word("affine_") + tensor(ONES) + part(*[HUGE] * 4) * 2),
            "4 numbers in shapes",
        ),
        (with_layer(AFFINE, LAYERS[AFFINE][:-1] + b"\x01"), "an affine layer of mode 1"),
        (with_layer(AFFINE, dlib_writer.affine(ONES, ONES)), "does not fit the convolution before"),
        (with_layer(CON, word("relu_")), "does not fit the convolution before"),
        (with_layer(POOL, LAYERS[POOL] + b"\0"), "a flag that is neither 0 nor 1"),
        (with_layer(POOL, word("max_pool_2") + b"\x19\0"), "an integer that starts with 0x19"),
        (with_layer(POOL, word("max_pool_2") + b"\x0f\0"), "an integer that starts with 0x0f"),
        (with_layer(POOL, word("max_pool_2") + b"\0\0"), "an integer that starts with 0x00"),
        (WHOLE.replace(integers(2, 2, 1, 2), integers(2, 2, 4, 2), 1), "of version 4"),
        (WHOLE.replace(number(0.6), number(0.6) + integers(*[2] * 2000)), "layer 1001 of version 2"),
        (
            with_layer(FC, LAYERS[FC].replace(integer(1) + number(1), integer(0) + number(1), 1)),
            "a fully connected layer of mode 0",
        ),
    ],
)  # fmt: skip
def test_what_is_not_the_network_is_refused_in_a_line(read, content, why):
    assert content != WHOLE
    tracemalloc.start()
    try:
        assert why in refused(read, content)
        assert (
            tracemalloc.get_traced_memory()[1] < 4 * len(WHOLE) + 100_000
        )  # whatever it announces
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("steps", [(1, 1, 0, 0), (2, 2, 1, 1), (1, 2, 1, 1), (-1, 1, 1, 1)])
def test_strides_that_the_network_does_not_have_are_refused(read, steps):
    weight, bias = TENSORS["con1.weight"], TENSORS["con1.bias"]
    content = with_layer(CON, dlib_writer.con(weight, bias, steps))
    assert f"strides {steps[:2]} and padding {steps[2:]}" in refused(read, content)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(read, value):
    tensors = TENSORS | {"affine2.weight": np.full_like(TENSORS["affine2.weight"], value)}
    content = dlib_writer.network(dlib_writer.layers(tensors))
    assert "con2.weight has values that are not finite" in refused(read, content)


@pytest.mark.parametrize("kind", ["absent", "folder", "empty"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path = tmp_path / "net.dat"
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    with pytest.raises(InputError, match=r"net\.dat: (a folder, not a file|no such file|an empty)"):
        dlib.read(path)


def read_or_refused(read, content):
    try:
        read(content)
    except InputError as error:
        assert "\n" not in str(error)


WILD = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@WILD
@given(st.data())
def test_flipped_bytes_never_crash(read, data):
    content = bytearray(WHOLE)
    places = st.integers(0, len(WHOLE) - 1) | st.integers(0, 400)
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    read_or_refused(read, bytes(content))


@WILD
@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=40))
def test_a_file_cut_short_or_ending_otherwise_never_crashes(read, length, end):
    read_or_refused(read, WHOLE[:length] + end)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.dat"
    path.write_bytes(WHOLE)
    return path


def test_a_file_is_transferred_by_its_path(file):
    loaded = transfer.load(str(file), model_name=NAME, channels="bgr")
    assert loaded.left_out == ["fc1.weight"]
    assert loaded.provenance["source"] == "net.dat"
    first = loaded.tensors["params/trunk/conv1/kernel"]
    np.testing.assert_array_equal(first, merged("con1.weight").transpose(2, 3, 1, 0)[:, :, ::-1])
    last = loaded.tensors["params/trunk/level0_0/conv2/bias"]
    np.testing.assert_array_equal(last, merged("con29.bias"))
    assert len(loaded.tensors) == 2 * 29


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_name": "resnet18"}, "but the file's network is dlib_face_resnet"),
        ({"revision": "1" * 40}, "transfer.revision needs a name on the hub"),
        ({"sha256": "0" * 64}, "another file, or a damaged one"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(file, options, message):
    with pytest.raises(InputError) as caught:
        transfer.load(str(file), **({"model_name": NAME, "channels": "rgb"} | options))
    assert message in str(caught.value)


def test_a_package_that_holds_another_network_is_refused(file, monkeypatch):
    row = replace(packages.PACKAGED[NAME], read=lambda path: TENSORS_OF_TWO)
    monkeypatch.setitem(packages.PACKAGED, NAME, row)
    with pytest.raises(InputError, match="one of dlib with 2 convolutions"):
        transfer.load(NAME, model_name=NAME, channels="rgb")


TENSORS_OF_TWO = {name: TENSORS[name] for name in ("con1.weight", "con1.bias", "con2.weight")}
