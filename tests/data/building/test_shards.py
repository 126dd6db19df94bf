import pytest
from hypothesis import given
from hypothesis import strategies as st

from ageflax.data.building import shards


@given(st.lists(st.integers(1, 50), max_size=40))
def test_every_item_is_in_one_shard_and_none_is_too_large(sizes: list[int]):
    sized = dict(enumerate(sizes))
    divided = shards.divide(sized.items(), key=str, shard_bytes=40)
    assert sorted(one for shard in divided for one in shard) == [*sized]
    for shard in divided:
        assert shard
        assert len(shard) == 1 or sum(sized[one] for one in shard) <= 40


def test_the_order_is_mixed_and_always_the_same():
    items = list(range(100))
    (shard,) = shards.divide(((one, 1) for one in items), key=str)
    assert shard != items
    assert shards.divide(((one, 1) for one in reversed(items)), key=str) == [shard]


@pytest.mark.parametrize("shard_bytes", [1, shards.SHARD_BYTES])
def test_no_items_no_shards(shard_bytes: int):
    assert shards.divide([], key=str, shard_bytes=shard_bytes) == []
