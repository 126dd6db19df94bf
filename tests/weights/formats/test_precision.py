"""Weights in fewer bits: what comes back, and scales that fit nothing."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ageflax.errors import InputError
from ageflax.weights.formats import precision, safetensors

KERNEL = "params/trunk/conv/kernel"
RNG = np.random.default_rng(0)
TENSORS = {
    KERNEL: RNG.normal(size=(3, 3, 4, 16)).astype(np.float32),
    "params/trunk/conv/bias": RNG.normal(size=300).astype(np.float32),
    "params/heads/gender/kernel": RNG.normal(size=(8, 2)).astype(np.float32),
    "batch_stats/trunk/norm/mean": RNG.normal(size=(16, 16, 1)).astype(np.float32),
    "mean": RNG.normal(size=(16, 16, 3)).astype(np.float32),
}
PATH = Path("w.safetensors")


def test_kernels_alone_are_reduced():
    for chosen, dtype in (("float32", np.float32), ("float16", np.float16), ("int8", np.int8)):
        stored = precision.reduced(TENSORS, chosen)
        assert stored[KERNEL].dtype == dtype
        for name in TENSORS.keys() - {KERNEL}:
            assert stored[name] is TENSORS[name]
    scales = "scales/" + KERNEL
    assert stored.keys() == {*TENSORS, scales}
    assert stored[scales].shape == (16,)
    assert np.abs(stored[KERNEL]).max((0, 1, 2)).tolist() == [127] * 16


@pytest.mark.parametrize("chosen", precision.PRECISIONS)
def test_a_file_gives_float32_back(chosen, tmp_path):
    save_file(precision.reduced(TENSORS, chosen), tmp_path / "w.safetensors")
    read = safetensors.read(tmp_path / "w.safetensors")
    assert read.keys() == TENSORS.keys()
    assert {values.dtype for values in read.values()} == {np.dtype(np.float32)}
    most = {"float32": 0.0, "float16": 1e-3, "int8": np.abs(TENSORS[KERNEL]).max() / 254 + 1e-6}
    for name, values in TENSORS.items():
        np.testing.assert_allclose(read[name], values, atol=most[chosen] if name == KERNEL else 0)


def test_a_channel_of_zeros_stays_one():
    values = np.zeros((16, 17), np.float32)
    stored = precision.reduced({KERNEL: values}, "int8")
    np.testing.assert_array_equal(precision.restored(stored, PATH)[KERNEL], values)


def test_numbers_beyond_half_precision_are_refused_when_they_are_read(tmp_path):
    large = {KERNEL: np.full((16, 16), 1e5, np.float32)}
    save_file(precision.reduced(large, "float16"), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="values that are not finite"):
        safetensors.read(tmp_path / "w.safetensors")


@given(st.integers(0, 2**32), st.integers(-30, 30))
def test_int8_is_off_by_half_a_step_at_most_and_stored_again_it_stays(seed, exponent):
    rng = np.random.default_rng(seed)
    spread = 10.0 ** rng.uniform(-3, 3, 17)  # of the channels
    values = (rng.normal(size=(16, 17)) * spread * 10.0**exponent).astype(np.float32)
    stored = precision.reduced({KERNEL: values}, "int8")
    back = precision.restored(stored, PATH)[KERNEL]
    step = stored["scales/" + KERNEL].astype(np.float64)
    assert (np.abs(back.astype(np.float64) - values) <= 0.5001 * step).all()
    again = precision.reduced({KERNEL: back}, "int8")
    np.testing.assert_allclose(precision.restored(again, PATH)[KERNEL], back, rtol=1e-6)


WHOLE = precision.reduced({KERNEL: TENSORS[KERNEL]}, "int8")
SCALES = WHOLE["scales/" + KERNEL]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({KERNEL: None}, f"scales/{KERNEL}: no int8 tensor {KERNEL} to scale"),
        ({KERNEL: TENSORS[KERNEL]}, "no int8 tensor"),
        ({KERNEL: WHOLE[KERNEL].astype(np.uint8)}, "no int8 tensor"),
        ({KERNEL: WHOLE[KERNEL].astype(np.int16)}, "no int8 tensor"),
        ({KERNEL: np.array(3, np.int8)}, "no int8 tensor"),
        ({"scales/": SCALES}, "scales/: no int8 tensor  to scale"),
        ({"scales/scales/" + KERNEL: SCALES}, f"no int8 tensor scales/{KERNEL} to scale"),
        ({"scales/" + KERNEL: SCALES[:15]}, "float32[15], expected float32[16], one for each channel"),
        ({"scales/" + KERNEL: SCALES[None]}, "float32[1, 16], expected float32[16]"),
        ({"scales/" + KERNEL: np.array(1, np.float32)}, "float32[], expected float32[16]"),
        ({"scales/" + KERNEL: np.ones(16, np.int32)}, "int32[16], expected float32[16]"),
        ({"scales/" + KERNEL: 0 * SCALES}, "values that are not positive, or too large"),
        ({"scales/" + KERNEL: -SCALES}, "not positive"),
        ({"scales/" + KERNEL: np.full(16, 3e38, np.float32)}, "too large"),
        ({"scales/" + KERNEL: np.full(16, np.nan, np.float32)}, "not finite"),
        ({"scales/" + KERNEL: np.full(16, np.inf, np.float32)}, "not finite"),
    ],
)  # fmt: skip
def test_scales_that_fit_nothing(changes, message, tmp_path):
    tensors = {name: value for name, value in (WHOLE | changes).items() if value is not None}
    path = tmp_path / "w.safetensors"
    save_file({name: value.copy() for name, value in tensors.items()}, path)
    with pytest.raises(InputError) as caught:
        safetensors.read(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_integers_without_scales_stay_as_they_are(tmp_path):
    save_file({"ids": np.arange(3, dtype=np.int8)}, tmp_path / "w.safetensors")
    assert safetensors.read(tmp_path / "w.safetensors")["ids"].dtype == np.int8
