import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfds_builders.adience import shards
from tfds_builders.adience.fold_files import Face


def face(number: int) -> Face:
    return Face(0, number, f"{number // 9}@N00", f"{number}.jpg", "12", "35", "male")


@given(st.lists(st.integers(1, 50), max_size=40))
def test_every_face_is_in_one_shard_and_none_is_too_large(sizes: list[int]):
    sized = {face(number): size for number, size in enumerate(sizes)}
    divided = shards.divide(sized.items(), shard_bytes=40)
    assert sorted((one for shard in divided for one in shard), key=lambda one: one.line) == [*sized]
    for shard in divided:
        assert shard
        assert len(shard) == 1 or sum(sized[one] for one in shard) <= 40


def test_the_order_is_mixed_and_always_the_same():
    faces = [face(number) for number in range(100)]
    (shard,) = shards.divide((one, 1) for one in faces)
    assert shard != faces
    assert shards.divide((one, 1) for one in reversed(faces)) == [shard]


@pytest.mark.parametrize("shard_bytes", [1, shards.SHARD_BYTES])
def test_no_faces_no_shards(shard_bytes: int):
    assert shards.divide([], shard_bytes=shard_bytes) == []
