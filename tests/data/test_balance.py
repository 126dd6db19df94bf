import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ageflax.data.balance import ONE, Draws, draws
from ageflax.data.batches import DeviceBatches, HostBatches, StreamedBatches, _Loader
from ageflax.data.order import ShuffledRows
from ageflax.runtime.mesh import make_mesh

ROWS = np.arange(12)
# Age groups of 8, 3 and 1 faces.
AGE = np.array([0] * 8 + [1] * 3 + [2], np.int32)


def expected(labels: dict[str, np.ndarray], balance: float, by: str = "age") -> np.ndarray:
    """Expected draws of every face of some labels."""
    rows = np.arange(len(next(iter(labels.values()))))
    found = draws(labels, rows, balance=balance, by=by)
    assert found is not None
    assert found.expected.sum() == len(rows) * ONE
    return found.expected / ONE


def test_no_balance_is_the_order_of_ever():
    assert draws({"age": AGE}, ROWS, balance=0.0, by="age") is None
    # Philox keyed by the seed, counted by the pass: what finished runs have seen.
    rng = np.random.Generator(
        np.random.Philox(key=np.array([3, 1], np.uint64), counter=[0, 0, 0, 2])
    )
    order = ShuffledRows(ROWS, (3, 1))
    np.testing.assert_array_equal(order.batch(2, 12), ROWS[rng.permutation(12)])


def test_a_whole_balance_draws_every_class_equally_often():
    found = expected({"age": AGE}, 1.0)
    np.testing.assert_allclose(found, [4 / 8] * 8 + [4 / 3] * 3 + [4], atol=1 / ONE)


def test_half_a_balance_goes_by_the_square_root_of_the_counts():
    found = expected({"age": AGE}, 0.5)
    shares = np.array([8**-0.5] * 8 + [3**-0.5] * 3 + [1.0])
    np.testing.assert_allclose(found, shares * 12 / shares.sum(), atol=1 / ONE)


def test_years_count_within_two_and_a_half():
    ages = np.array([20, 21, 22, 23, 40, 42.4, 44.9], np.float32)
    # 23 has no 20 beside it; 42.4 has both others, which lie 4.9 apart.
    shares = 1 / np.array([3, 4, 4, 3, 2, 3, 2])
    np.testing.assert_allclose(
        expected({"years": ages, "age": np.zeros(7, np.int32)}, 1.0),
        shares * 7 / shares.sum(),
        atol=1 / ONE,
    )


def test_age_and_gender_together():
    genders = np.array([0] * 7 + [1] + [0, 1, 1, 1], np.int32)
    counts = np.array([7] * 7 + [1, 1, 2, 2, 1])
    shares = 1 / counts
    found = expected({"age": AGE, "gender": genders}, 1.0, "age+gender")
    np.testing.assert_allclose(found, shares * 12 / shares.sum(), atol=1 / ONE)
    found = expected({"age": AGE, "gender": genders}, 1.0, "gender")
    np.testing.assert_allclose(found, np.where(genders == 0, 6 / 8, 6 / 4), atol=1 / ONE)


def test_faces_without_the_label_are_drawn_once():
    years = np.array([np.nan, 3, 50, 50, 50, np.nan], np.float32)
    found = expected({"years": years}, 1.0)
    np.testing.assert_allclose(found, [1, 2, 2 / 3, 2 / 3, 2 / 3, 1], atol=1 / ONE)
    genders = np.array([0, 0, 0, -1], np.int32)
    np.testing.assert_array_equal(expected({"gender": genders}, 1.0, "gender"), 1.0)
    np.testing.assert_array_equal(expected({"age": np.full(5, -1, np.int32)}, 1.0), 1.0)


def test_no_face_is_drawn_more_than_ten_times_an_epoch():
    ages = np.array([30] * 998 + [70, 100], np.float32)
    found = expected({"years": ages}, 1.0)
    np.testing.assert_allclose(found[-2:], 10.0, atol=1 / ONE)
    np.testing.assert_allclose(found[:-2], 980 / 998, atol=1 / ONE)


def test_only_the_training_faces_count():
    found = draws({"age": AGE}, np.array([0, 1, 11]), balance=1.0, by="age")
    assert found is not None
    np.testing.assert_allclose(found.expected / ONE, [0.75, 0.75, 1.5], atol=1 / ONE)


labels_of_faces = st.lists(
    st.tuples(
        st.one_of(st.just(float("nan")), st.floats(0, 130, width=32)),
        st.sampled_from([-1, 0, 1]),
    ),
    min_size=1,
    max_size=60,
)


@given(
    faces=labels_of_faces,
    balance=st.floats(0.01, 1.0),
    by=st.sampled_from(["age", "gender", "age+gender"]),
    number=st.integers(0, 1000),
)
def test_every_count_of_an_epoch_is_within_one_of_its_expectation(faces, balance, by, number):
    ages = np.array([age for age, _ in faces], np.float32)
    genders = np.array([gender for _, gender in faces], np.int32)
    rows = np.arange(len(faces)) + 7
    labels = {"years": np.append(np.zeros(7, np.float32), ages),
              "gender": np.append(np.zeros(7, np.int32), genders)}  # fmt: skip
    found = draws(labels, rows, balance=balance, by=by)
    assert found is not None
    assert found.expected.sum() == len(rows) * ONE
    assert found.expected.min() >= 0
    assert found.expected.max() <= 10 * ONE + 1
    seen = ShuffledRows(rows, (1, 2), found).batch(number, len(rows)) - 7
    assert len(seen) == len(rows)
    surplus = np.bincount(seen, minlength=len(rows)) - found.expected / ONE
    assert np.abs(surplus).max() < 1
    # Sums over consecutive strata too: an age band of a gender is one.
    by_stratum = np.bincount(found.place, surplus)
    sums = np.append(0.0, np.cumsum(by_stratum))
    assert (sums.max() - sums.min()) < 1 + 1e-9


def test_over_many_epochs_each_face_is_drawn_as_often_as_expected():
    found = draws({"age": AGE}, ROWS, balance=0.7, by="age")
    assert found is not None
    order = ShuffledRows(ROWS, (5, 0), found)
    epochs = 4000
    counts = np.bincount(order.batch(0, 12 * epochs), minlength=12) / epochs
    # A count is one of two neighbours: its std is at most 1/2.
    np.testing.assert_allclose(counts, found.expected / ONE, atol=5 * 0.5 / epochs**0.5)


@pytest.fixture
def order() -> ShuffledRows:
    return ShuffledRows(ROWS, (3, 1), draws({"age": AGE}, ROWS, balance=0.5, by="age"))


@given(steps=st.lists(st.integers(0, 10**6), min_size=1, max_size=10))
def test_a_batch_depends_on_its_step_alone(steps):
    weighted = draws({"age": AGE}, ROWS, balance=0.5, by="age")
    used = ShuffledRows(ROWS, (3, 1), weighted)
    for step in steps:
        fresh = pickle.loads(pickle.dumps(ShuffledRows(ROWS, (3, 1), weighted)))  # noqa: S301
        np.testing.assert_array_equal(used.batch(step, 8), fresh.batch(step, 8))


def test_epochs_and_seeds_differ(order):
    weighted = draws({"age": AGE}, ROWS, balance=0.5, by="age")
    first = order.batch(0, 12).tolist()
    assert first != order.batch(1, 12).tolist()
    assert first != ShuffledRows(ROWS, (4, 1), weighted).batch(0, 12).tolist()


def test_draws_that_differ_in_the_last_bit_of_a_float_are_the_same():
    """Powers differ between processors, by less than the unit in which draws are counted."""
    found = draws({"age": AGE}, ROWS, balance=0.5, by="age")
    nudged = draws({"age": AGE}, ROWS, balance=np.nextafter(0.5, 1), by="age")
    assert found is not None
    assert nudged is not None
    for field in dataclasses.fields(Draws):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(nudged, field.name))


def test_every_source_gives_the_same_faces(order):
    mesh = make_mesh()
    labels = {"age": ROWS.astype(np.int32)}
    pixels = np.broadcast_to(ROWS.astype(np.uint8)[:, None, None, None], (12, 2, 2, 3)).copy()

    def decoded(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return pixels[rows], np.ones(len(rows), bool)

    steps = [range(step, step + 1) for step in range(2, 6)]
    wanted = [order.batch(step, 8).tolist() for step in range(2, 6)]
    sources = (HostBatches(pixels, labels, mesh), StreamedBatches(decoded, labels, mesh, workers=0))
    for source in sources:
        found = [batch for (batch,) in source.train_inputs(order, steps, 8)]
        assert [batch.labels["age"].tolist() for batch in found] == wanted
        assert [np.asarray(batch.images)[:, 0, 0, 0].tolist() for batch in found] == wanted
    device = DeviceBatches(pixels, labels, mesh)
    (piece,) = device.train_inputs(order, [range(2, 6)], 8)
    assert piece[1].tolist() == wanted


def test_hosts_share_a_batch_without_gap_or_overlap(order):
    def pixels(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(rows), 2, 2, 3), np.uint8), np.ones(len(rows), bool)

    labels = {"age": ROWS.astype(np.int32)}
    for step in range(5):
        parts = [
            _Loader(pixels, labels, order, 8, slice(start, start + 4))(step) for start in (0, 4)
        ]
        found = [np.asarray(part.labels["age"]) for part in parts]
        np.testing.assert_array_equal(np.concatenate(found), order.batch(step, 8))
