"""A bundle written by other versions of JAX and Python gives the same answers."""

from pathlib import Path

import numpy as np

from ageflax.bundle import load

GOLDEN = Path(__file__).parents[1] / "golden"


def test_a_bundle_of_another_version_answers_the_same():
    model = load(GOLDEN / "bundle")
    with np.load(GOLDEN / "bundle.npz", allow_pickle=False) as recorded:
        assert "jax 0.12.0.1" in recorded["versions"]
        probabilities = model(recorded["faces"])
        assert list(probabilities) == ["age", "years", "gender"]
        for task, values in probabilities.items():
            np.testing.assert_allclose(values, recorded[task], rtol=1e-4, atol=1e-6)
            # The faces differ: one answer for all would fail.
            assert np.ptp(recorded[task], axis=0).max() > 0.05
        ages = model.ages({"years": probabilities["years"]})
        np.testing.assert_allclose(ages.years, recorded["ages"], rtol=1e-4)
