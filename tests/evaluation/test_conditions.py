"""Faces in other conditions: their images change, the answers follow, and the errors are counted."""

import jax.numpy as jnp
import numpy as np
import pytest

from ageflax import config as configuration
from ageflax.bundle.framing_errors import Offset
from ageflax.data import images
from ageflax.data.batches import HostBatches
from ageflax.evaluation import conditions
from ageflax.evaluation.predictions import Predictions
from ageflax.runtime.mesh import make_mesh
from ageflax.training import cross_validation, run_fold
from tests.conftest import small_values
from tests.evaluation.test_figures import AGE, FACES, GENDER, YEARS, predictions


def spot(x: int, y: int) -> np.ndarray:
    image = np.zeros((21, 21, 3), np.uint8)
    image[y, x] = 255
    return image


@pytest.mark.parametrize(
    ("offset", "place"),
    [
        (Offset(), (14, 8)),
        (Offset(zoom=2.0), (18, 6)),  # twice as far from the middle, (10, 10)
        (Offset(zoom=0.5), (12, 9)),
        (Offset(right=-2 / 21, down=3 / 21), (12, 11)),
        (Offset(zoom=2.0, right=-2 / 21), (16, 6)),
    ],
)
def test_faces_are_zoomed_around_the_middle_and_then_moved(offset, place):
    found = conditions.framed(spot(14, 8), offset)[..., 0]
    assert np.unravel_index(found.argmax(), found.shape)[::-1] == place
    if offset == Offset():
        np.testing.assert_array_equal(found, spot(14, 8)[..., 0])


def test_a_sample_is_spread_and_whole_where_it_is_small():
    assert conditions.sample(np.arange(100), 3).tolist() == [0, 49, 99]
    assert conditions.sample(np.arange(3), 9).tolist() == [0, 1, 2]
    assert len(conditions.sample(np.arange(5), 0)) == len(conditions.sample(np.arange(0), 5)) == 0


def test_errors_are_those_of_the_known_labels():
    found = conditions.errors(predictions("years", YEARS), FACES, {"years": YEARS})
    assert list(found) == ["years"]
    assert np.isnan(found["years"]).tolist() == [False] * 5 + [True, False]  # rows 1 to 7
    sure = np.eye(8, dtype=np.float32)[[0, 1, 1, 3]]
    given = Predictions(np.arange(4), {"age": sure, "gender": sure[:, :2]}, np.zeros(0, int))
    found = conditions.errors(given, FACES, {"age": AGE, "gender": GENDER})
    assert found["age_group"].tolist() == [0, 0, 1, 0]  # 1, 5, 10, 17 years
    assert found["gender"].tolist() == [0, 0, 1, 1]


def shown(answer, image: np.ndarray, targets) -> conditions.Subjects:
    """The eight faces, all with the same picture, in a batch that is padded."""
    mesh, rows = make_mesh(), np.arange(8)
    source = HostBatches(np.stack([image] * 8), {}, mesh)
    return conditions.Subjects(
        answer, conditions.on_host(source.eval_batches(rows, 12)), rows, mesh, FACES, targets
    )


def women_where(change):
    """A network's answer to images: a woman as far as a function of them says."""

    def answer(images):
        woman = change(images).astype(jnp.float32)
        return {"gender": jnp.stack([woman, 1 - woman], 1)}

    return answer


def test_framing_errors_are_means_over_faces_moved_to_four_sides():
    """A network that sees a woman if the spot is where it was."""
    subjects = shown(
        women_where(lambda images: images[:, 10, 10, 0] > 200), spot(10, 10), {"gender": GENDER}
    )
    views = [subjects.under(change) for change in conditions.FRAMINGS]
    found = conditions.framing_errors(views, subjects)
    assert found is not None
    assert (found.faces, found.zooms, found.shifts) == (8, conditions.ZOOMS, conditions.SHIFTS)
    # Four women and three men, all taken for women in place and for men when moved.
    grid = np.array(found.errors["gender"])
    np.testing.assert_allclose(grid[2], [3 / 7, 4 / 7, 4 / 7])


def test_each_face_is_changed_by_its_number_and_its_factors_are_read():
    subjects = shown(
        women_where(lambda images: images[:, 0, 0, 0].astype(jnp.float32) / 8),
        spot(1, 1),
        {"gender": GENDER},
    )
    view = subjects.under(lambda image, k: np.full_like(image, k), factors=True)
    np.testing.assert_allclose(view.predictions.probabilities["gender"][:, 0], np.arange(8) / 8)
    assert [each["dark"] for each in view.factors] == [
        pytest.approx(-np.log((k + 1) / 256)) for k in range(8)
    ]
    assert subjects.under(lambda image, k: image).factors == ()


def test_without_labels_there_are_no_errors():
    nobody = Predictions(np.arange(7, 8), {"gender": np.ones((1, 2), np.float32)}, np.zeros(0, int))
    assert conditions.errors(nobody, FACES, {"gender": GENDER}) == {}


def test_a_fold_decodes_the_faces_that_it_shows_once(data_dir, small_faces, tmp_path, monkeypatch):
    decode, measure, decoded, shown = images.decode, run_fold._conditions, [], []

    def counted(*given, **how):
        decoded.append(1)
        return decode(*given, **how)

    monkeypatch.setattr(images, "decode", counted)

    def conditions_of(fold, state):
        before = len(decoded)
        found = measure(fold, state)
        shown.append((len(decoded) - before, len(fold.split.validation)))
        return found

    monkeypatch.setattr(run_fold, "_conditions", conditions_of)
    words = ("--config.fold=1", "--config.data.placement=stream", "--config.data.prepared=false")
    config = configuration.resolve(small_values(data_dir), words)
    cross_validation.run(config, tmp_path, say=lambda line: None)
    ((reads, faces),) = shown
    assert 0 < faces <= reads <= 16  # a batch, which is filled up
