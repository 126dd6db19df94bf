"""Quality of a picture: its factors, the measure that a bundle carries, and what is refused."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ageflax import bundle, labels
from ageflax.bundle import quality
from ageflax.bundle.quality import Line, Quality
from tests.support import small_bundle

QUALITY = Quality(
    400,
    Line((20.0, 60.0), (4.0, 8.0)),
    {"dark": Line((0.5, 2.5), (0.8, 4.0)), "unusual": Line((0.0, 1.0), (1.0, 3.0))},
)
GOOD = QUALITY.to_json()


@pytest.fixture(scope="module")
def picture():
    noise = np.random.default_rng(0).normal(0, 1, (90, 90, 1)).repeat(3, axis=2)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3.0)
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("factor", "worse"),
    [
        ("blurred", lambda image: cv2.GaussianBlur(image, (0, 0), 2.0)),
        ("dark", lambda image: image // 8),
        ("overexposed", lambda image: cv2.convertScaleAbs(image, alpha=3.0)),
        (
            "grainy",
            lambda image: image // 2 + np.arange(90, dtype=np.uint8)[:, None, None] % 2 * 80,
        ),
    ],
)
def test_factors_rise_as_a_picture_gets_worse(picture, factor, worse):
    assert quality.measure(worse(picture), 90.0)[factor] > quality.measure(picture, 90.0)[factor]


def test_sharpness_hardly_depends_on_light(picture):
    darker = quality.measure(picture // 2, 90.0)["blurred"]
    assert darker == pytest.approx(quality.measure(picture, 90.0)["blurred"], abs=0.15)


def test_small_is_the_enlargement(picture):
    assert [quality.measure(picture, side)["small"] for side in (22.5, 45.0, 90.0, 500.0)] == [
        2,
        1,
        0,
        0,
    ]


@given(st.integers(1, 80), st.integers(0, 255), st.floats(0, 1e4))
def test_any_picture_has_finite_factors(size, grey, side):
    factors = quality.measure(np.full((size, size, 3), grey, np.uint8), side)
    assert factors.keys() == set(quality.OF_PICTURE)
    assert np.isfinite(list(factors.values())).all()


def test_the_worst_factor_decides_and_is_the_reason():
    assert QUALITY({"dark": 0.5, "unusual": 0.0}) == (1.0, None)
    assert QUALITY({"dark": 9.0, "unusual": 1.0}) == (0.25, "dark")
    assert QUALITY({"dark": 0.5, "unusual": 0.5, "small": 9.0}) == (0.5, "unusual")
    # Good enough to need no reason.
    assert QUALITY({"dark": 0.7})[1] is QUALITY({"unusual": 0.05})[1] is None


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_quality_is_a_share(dark, unusual):
    assert 0.25 <= QUALITY({"dark": dark, "unusual": unusual})[0] <= 1.0


def test_spread_is_taken_beside_the_usual_one_for_such_an_answer():
    assert QUALITY.usual is not None
    found = quality.unusual_spread(QUALITY.usual, np.array([20, 40, 90]), np.array([4, 12, 4]))
    np.testing.assert_allclose(found, np.log([1, 2, 0.5]))


def test_spreads_of_heads():
    classes = {task: labels.Classes.of(task, labels.ADIENCE) for task in ("years", "gender")}
    shares = np.zeros((2, 101), np.float32)
    shares[:, 20] = shares[[0, 1], [30, 20]] = 0.5
    shares[1, 20] = 1.0
    genders = np.array([[0.5, 0.5], [1, 0]], np.float32)
    both = quality.spreads({"gender": genders, "years": shares}, classes)
    alone = quality.spreads({"gender": genders}, classes)
    assert both is not None
    assert alone is not None
    np.testing.assert_allclose(both, [[25, 20], [5, 0]], atol=1e-3)
    np.testing.assert_allclose(alone, [[0, 0], [0.5, 0]])
    assert quality.spreads({"years": shares[:, :1]}, classes) is None  # an age and no distribution


def test_a_bundle_carries_it(tmp_path):
    small_bundle.write(tmp_path, quality=QUALITY)
    assert bundle.load(tmp_path).description.quality == QUALITY
    assert Quality.from_json(None) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected faces, usual and errors"),
        (GOOD | {"faces": "many"}, "expected faces, usual and errors"),
        (GOOD | {"errors": {}}, "expected errors of blurred, small"),
        (GOOD | {"errors": GOOD["errors"] | {"ugly": [[0.0, 1.0]]}}, "expected errors of blurred"),
        (GOOD | {"usual": None}, "expected usual with unusual"),
        (GOOD | {"errors": {"dark": [[0.0, 1.0]]}}, "expected usual with unusual"),
        (GOOD | {"usual": [[0.0, 0.0]]}, "usual: expected values from 0.0001"),
        (GOOD | {"usual": [[0.0, 1.0]] * 101}, "usual: expected 1 to 100 knots"),
        (GOOD | {"usual": [[0.0, 1.0], [0.0, 1.0]]}, "usual: expected ascending places"),
        (GOOD | {"usual": [[float("nan"), 1.0]]}, "usual: expected pairs of numbers"),
        (GOOD | {"usual": [[0.0, 1.0, 2.0]]}, "usual: expected pairs of numbers"),
        (GOOD | {"usual": [["0", 1.0]]}, "usual: expected pairs of numbers"),
        (GOOD | {"errors": {"unusual": [[0, 2], [1, 1]]}}, "unusual: expected values from 0.01"),
    ],
)
def test_what_is_refused(content, message):
    with pytest.raises(ValueError, match=f"^quality: {message}"):
        Quality.from_json(content)
