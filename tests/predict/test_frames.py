"""Frames are predicted in order, in bounded memory, with three compiled shapes."""

import threading
import time

import jax
import numpy as np
import pytest

from ageflax.predict.estimator import BATCHES, batches
from ageflax.predict.frames import Frame, map_ahead
from ageflax.predict.predictor import Predictor
from tests.predict.conftest import decoded


@pytest.fixture(scope="module")
def predictor(fold):
    return Predictor(fold, detector="none")


def frames(count, size=20, *, moving=False):
    """Pictures, each of another grey."""
    for k in range(count):
        yield Frame("film", 0, k if moving else None, np.full((size, size, 3), k % 256, np.uint8))


def test_batches_hold_everything_once_and_are_half_full_at_least():
    for count in range(200):
        parts = list(batches(count))
        assert sum(faces for faces, _ in parts) == count
        assert all(faces <= size <= 2 * faces and size in BATCHES for faces, size in parts)


def test_any_number_of_faces_goes_through_three_compilations(fold):
    predictor, compiled = Predictor(fold, detector="none", engine="jax"), []

    def heard(event, duration_secs, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration_secs)

    faces = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
    for size in BATCHES:
        predictor.estimator(faces[:size])
    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        before = len(compiled)
        for count in (2, 3, 5, 9, 16, 17, 31, 33, 40, 63, 70):
            assert len(predictor.estimator(faces[:count])) == count
        assert len(compiled) == before
        # The listener works: another shape is another compilation.
        jax.jit(lambda x: x + 1)(np.zeros(1237, np.float32))
        assert len(compiled) == before + 1
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)


def test_answers_do_not_depend_on_who_shares_the_batch(predictor):
    faces = np.random.default_rng(1).integers(0, 256, (41, 32, 32, 3), dtype=np.uint8)
    together, alone = predictor.estimator(faces), [predictor.estimator(f[None])[0] for f in faces]
    for one, other in zip(together, alone, strict=True):
        assert one.age == pytest.approx(other.age, abs=1e-3)
        assert (one.gender and one.gender.label) == (other.gender and other.gender.label)


def test_frames_come_out_in_their_order_with_their_own_answers(predictor):
    seen = list(predictor.stream(frames(70), workers=4))
    assert [one.faces[0].box for one in seen] == [(0.0, 0.0, 20.0, 20.0)] * 70
    ages = [one.faces[0].age for one in seen]
    alone = [predictor.faces(frame.content)[0].age for frame in frames(70)]
    np.testing.assert_allclose(ages, alone, atol=1e-3)
    assert len({round(age, 2) for age in ages}) > 20


def test_pixels_are_kept_only_where_they_are_wanted(predictor):
    (seen,) = predictor.stream(frames(1))
    assert seen.pixels is None and not len(seen.frame.content)
    (seen,) = predictor.stream(frames(1), keep=True)
    assert seen.pixels is not None and seen.pixels.shape == (20, 20, 3)


def test_no_more_than_so_many_are_begun_and_not_yet_taken():
    begun, taken, most = [], 0, 0

    def items():
        for k in range(50):
            begun.append(k)
            yield k

    for result in map_ahead(items(), lambda k: k * k, workers=3, limit=5):
        most = max(most, len(begun) - taken)
        assert result == taken**2
        taken += 1
    assert taken == 50
    assert most <= 6


def test_the_slow_one_holds_up_nobodys_work_but_everybodys_turn():
    release, done = threading.Event(), []

    def work(k):
        if k == 0:
            release.wait(10)
        else:
            done.append(k)
            if len(done) == 3:
                release.set()
        return k

    assert list(map_ahead(range(6), work, workers=2, limit=4)) == list(range(6))
    assert release.is_set()


def test_who_stops_listening_leaves_no_thread_behind(predictor):
    before = threading.active_count()
    stream = predictor.stream(frames(1000), workers=3)
    next(stream)
    stream.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_calls_share_their_threads():
    seen = set()
    for _ in range(5):
        list(map_ahead(range(8), lambda _: seen.add(threading.get_ident()), workers=2, limit=4))
    assert len(seen) <= 2
    list(map_ahead(range(8), lambda _: seen.add(threading.get_ident()), workers=1, limit=4))
    assert threading.get_ident() in seen


def test_what_fails_in_a_thread_is_raised_where_it_is_taken():
    def work(k):
        if k == 3:
            raise OSError("gone")
        return k

    found = []
    with pytest.raises(OSError, match="gone"):
        for k in map_ahead(range(9), work, workers=2, limit=3):
            found.append(k)  # noqa: PERF402  until it raises
    assert found == [0, 1, 2]


def test_a_thousand_frames_are_never_held_together(predictor):
    """Only a bounded number of frames is alive at any time."""
    alive, most = 0, 0
    lock = threading.Lock()

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            with lock:
                alive -= 1

    def counted():
        nonlocal alive, most
        for k in range(1000):
            pixels = np.full((8, 8, 3), k % 256, np.uint8).view(Counted)
            with lock:
                alive += 1
                most = max(most, alive)
            frame = Frame("film", 0, k, pixels)
            del pixels
            yield frame
            del frame

    assert sum(len(seen.faces) for seen in predictor.stream(counted(), workers=2)) == 1000
    # A few views per frame may be counted, but not a thousand frames.
    assert most < 100


def test_several_threads_may_use_one_predictor(predictor, portraits):
    from concurrent.futures import ThreadPoolExecutor

    images = [decoded(content) for content in portraits] * 4
    expected = [[face.age for face in predictor.faces(image)] for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: [f.age for f in predictor.faces(image)], images))
    assert found == expected
