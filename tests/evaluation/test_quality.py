"""The measure of quality is fitted to errors on worse pictures; here the truth about them is known."""

import dataclasses

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.bundle.quality import FACTORS, OF_PICTURE, Line
from ageflax.data.batches import HostBatches
from ageflax.evaluation import quality
from ageflax.evaluation.conditions import FRAMINGS, Subjects, View, on_host
from ageflax.evaluation.predictions import Predictions
from ageflax.runtime.mesh import make_mesh
from tests.evaluation.test_figures import FACES

FEW = 64


@pytest.fixture(scope="module")
def faces():
    """People of known ages, 10 to 73."""
    columns = {f.name: np.resize(getattr(FACES, f.name), FEW) for f in dataclasses.fields(FACES)}
    return dataclasses.replace(FACES, **columns | {"ages": np.arange(10, 10 + FEW, dtype=float)})


def subjects_of(faces, answer=None, pixels=None) -> Subjects:
    mesh, rows = make_mesh(), np.arange(FEW)
    if pixels is None:
        pixels = np.zeros((FEW, 8, 8, 3), np.uint8)
    source = HostBatches(pixels, {}, mesh)
    years = faces.target("years", policy="nearest")
    return Subjects(
        answer or (lambda images: {}),
        on_host(source.eval_batches(rows, FEW)),
        rows,
        mesh,
        faces,
        {"years": years},
    )


def told(faces, error: float, spread: int, dark: float = 0.0) -> View:
    """Answers so much too old, spread over 2 * spread years, of pictures equally dark."""
    shares = np.zeros((FEW, 101), np.float32)
    for k, age in enumerate(faces.ages.astype(int) + round(error)):
        shares[k, [age - spread, age + spread]] = 0.5
    predictions = Predictions(np.arange(FEW), {"years": shares}, np.zeros(0, int))
    return View(predictions, ({"dark": dark},) * FEW)


def test_quality_is_the_usual_error_beside_that_expected(faces):
    subjects = subjects_of(faces)
    clean, wide = told(faces, 2, 3, 0.5), told(faces, 6, 9)
    worse = {"dark": [told(faces, 4, 3, 1.5), told(faces, 8, 3, 2.5)]}
    found = quality.fit(subjects, clean, [wide], worse)
    assert found is not None
    assert found.faces == FEW
    assert [found({"dark": place})[0] for place in (0.0, 0.5, 1.5, 2.5, 9.0)] == [
        pytest.approx(value, rel=1e-3) for value in (1.0, 1.0, 0.5, 0.25, 0.25)
    ]
    assert found({"dark": 2.5, "unusual": 0.0})[1] == "dark"
    # The usual spread comes with errors of 2, 4 and 8, of 3.6 on average; three times that with 6.
    usual = found.usual
    assert usual is not None
    np.testing.assert_allclose(usual.values, 3.0, rtol=1e-4)
    assert found({"unusual": np.log(3.0)}) == (pytest.approx(0.6, abs=0.05), "unusual")


def test_pools_rise_whatever_the_noise():
    random = np.random.default_rng(0)
    places = random.uniform(0, 1, 2000)
    errors = random.exponential(1 + 3 * places)
    line = quality._rising(places, errors, np.ones(2000))
    assert list(line.values) == sorted(line.values)
    np.testing.assert_allclose(line.values, 1 + 3 * np.array(line.at), rtol=0.25)
    # Where nothing rises the ends suffice, and one knot where all places are one.
    flat = quality._rising(places, 1 - 0.9 * places, np.ones(2000))
    assert flat.values == (pytest.approx(0.55, abs=0.02),) * 2
    assert len(quality._rising(np.zeros(50), errors[:50], np.ones(50)).at) == 1


def test_small_increases_of_a_picture_s_factors_are_chance():
    line = Line((0.0, 1.0, 2.0, 3.0, 4.0), (0.7, 0.9, 1.09, 1.2, 3.0))
    assert quality._clear(line, np.zeros(3)) == Line((0.0, 2.0, 3.0, 4.0), (1.0, 1.0, 1.2, 3.0))
    # Nor are pictures worse that are like those of the faces as they are.
    assert quality._clear(line, np.full(9, 3.0)) == Line((0.0, 3.0, 4.0), (1.0, 1.0, 3.0))


def test_usual_errors_are_those_of_the_faces_most_alike():
    ages = np.array([*range(100)])[::-1]
    found = quality._alike(ages, np.where(ages < 50, 1.0, 5.0))
    assert (found[-30:] == 1.0).all()
    assert (found[:30] == 5.0).all()


def test_few_faces_or_none_with_a_label_give_no_measure(faces):
    nobody = dataclasses.replace(faces, ages=np.where(np.arange(FEW) < 40, faces.ages, np.nan))
    subjects = subjects_of(nobody)
    assert quality.fit(subjects, told(faces, 2, 3), [], {"dark": [told(faces, 4, 3)]}) is None
    few = dataclasses.replace(subjects_of(faces), rows=np.arange(quality.FEWEST - 1))
    assert quality.measure(few, []) is None


def test_every_factor_is_measured_on_pictures_that_show_it(faces):
    """A network that errs by the grey that is missing from its picture."""
    picture = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8), (0, 0), 1.5
    )

    def answer(images):
        grey = images.astype(jnp.float32).mean((1, 2, 3))
        error = jnp.abs(grey - picture.mean()) / 4 + 3
        ages = jnp.clip(jnp.arange(10, 10 + FEW) + error.astype(jnp.int32), 0, 100)
        return {"years": jnp.eye(101, dtype=jnp.float32)[ages]}

    subjects = subjects_of(faces, answer, np.stack([picture] * FEW))
    found = quality.measure(subjects, [subjects.under(change) for change in FRAMINGS[:1]])
    assert found is not None
    assert tuple(found.errors) == FACTORS
    assert {factor for factor, _, _ in quality.WORSE} == {*OF_PICTURE, None}
    clean = subjects.under(lambda image, k: image, factors=True).factors[0]
    assert found(clean) == (pytest.approx(1.0, abs=0.1), None)
    for factor, change, values in quality.WORSE:
        if factor in ("dark", "overexposed"):
            read = subjects.under(change, factors=True).factors[0]
            assert read[factor] > clean[factor]
        if values:
            assert values["small"] > 0
    darkest = subjects.under(quality._lit(0.05), factors=True).factors[0]
    assert found(darkest)[1] == "dark"
    assert found(darkest)[0] < 0.3
