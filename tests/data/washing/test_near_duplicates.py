"""The hash, and the search for close pairs compared with brute force."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ageflax.data.washing.near_duplicates import (
    MAX_DISTANCE,
    alike,
    close_pairs,
    perceptual_hash,
    similarity,
    thumbnail,
)
from ageflax.errors import InputError


def picture(seed: int, side: int = 96) -> np.ndarray:
    """Soft blobs of colour, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def bits_apart(first: np.ndarray, second: np.ndarray) -> int:
    return (perceptual_hash(first) ^ perceptual_hash(second)).bit_count()


def test_the_hash_of_a_picture_saved_anew_is_near_and_of_another_is_far():
    face = picture(0)
    jpeg = cv2.imdecode(
        cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR
    )
    assert jpeg is not None
    assert bits_apart(face, jpeg) <= 4
    assert bits_apart(face, cv2.resize(face, (50, 60))) <= 4
    assert bits_apart(face, (face * 0.7 + 40).astype(np.uint8)) <= 4
    for seed in range(1, 20):
        assert bits_apart(face, picture(seed)) > MAX_DISTANCE


def test_the_hash_takes_any_size_and_a_flat_image():
    for shape in ((1, 1, 3), (1, 500, 3), (9, 8, 3)):
        assert 0 <= perceptual_hash(np.full(shape, 7, np.uint8)) < 2**64
    assert not thumbnail(np.full((5, 5, 3), 7, np.uint8)).any()


def test_similarity_is_correlation():
    face = picture(0)
    dimmer = (face * 0.5 + 30).astype(np.uint8)
    assert similarity(thumbnail(face), thumbnail(face)) == pytest.approx(1.0)
    assert similarity(thumbnail(face), thumbnail(dimmer)) > 0.99
    assert similarity(thumbnail(face), thumbnail(255 - face)) < -0.99
    assert similarity(thumbnail(face), thumbnail(picture(1))) < 0.5


def by_comparing_all(hashes, distance, groups):
    return [
        (i, j, (int(hashes[i]) ^ int(hashes[j])).bit_count())
        for i, j in itertools.combinations(range(len(hashes)), 2)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= distance
        and any(group[i] != group[j] for group in groups)
    ]


@given(data=st.data(), distance=st.integers(0, MAX_DISTANCE))
@settings(max_examples=150, deadline=None)
def test_the_search_finds_what_comparing_all_finds(data: st.DataObject, distance: int):
    # Near by construction: a few centres, each with some bits flipped.
    centres = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
    turned = st.lists(st.integers(0, 63), max_size=distance + 2)
    values = []
    for centre, bits in data.draw(
        st.lists(st.tuples(st.sampled_from(centres), turned), max_size=25)
    ):
        for bit in bits:
            centre ^= 1 << bit
        values.append(centre)
    hashes = np.array(values, np.uint64)
    size = len(values)
    groups = [
        np.array(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)), np.int64)
        for _ in range(2)
    ]
    found = close_pairs(hashes, distance, groups=groups)
    assert list(zip(*(part.tolist() for part in found), strict=True)) == by_comparing_all(
        hashes, distance, groups
    )


def test_twenty_thousand_hashes_are_not_compared_all_with_all(monkeypatch):
    compared = 0
    count = np.bitwise_count

    def counting(values):
        nonlocal compared
        compared += len(values)
        return count(values)

    monkeypatch.setattr(np, "bitwise_count", counting)
    hashes = np.random.default_rng(0).integers(0, 2**64, 20_000, np.uint64, endpoint=False)
    hashes[7] = hashes[19_999] ^ np.uint64(0b1011)
    found = close_pairs(hashes, 4, groups=[np.arange(20_000)])
    assert [part.tolist() for part in found] == [[7], [19_999], [3]]
    assert compared < 0.01 * 20_000**2 / 2


def test_too_many_pairs_are_refused():
    hashes = np.zeros(100, np.uint64)
    with pytest.raises(InputError, match="more than 50 pairs of images are within 2 bits"):
        close_pairs(hashes, 2, groups=[np.arange(100)], limit=50)


def test_alike_are_those_that_a_second_look_confirms():
    pictures = [picture(0), picture(1), (picture(0) * 0.7 + 40).astype(np.uint8)]
    hashes = np.array([7, 7, 6], np.uint64)
    (found,) = alike(hashes, lambda row: pictures[row], groups=[np.arange(3)])
    assert found[:3] == (0, 2, 1)
    assert found.similarity > 0.99
    assert not list(alike(hashes, lambda row: pictures[row], groups=[np.zeros(3, np.int64)]))


def test_alike_in_batches_finds_every_pair_in_order():
    # 40 pictures of one kind are 780 pairs, three batches of them.
    pairs = list(alike(np.zeros(40, np.uint64), lambda row: picture(0), groups=[np.arange(40)]))
    assert [pair[:2] for pair in pairs] == list(itertools.combinations(range(40), 2))
