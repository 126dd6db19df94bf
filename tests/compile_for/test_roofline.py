"""Bounds, worked out by hand."""

import pytest

from ageflax.compile_for import chips, roofline
from ageflax.compile_for.hlo import Collective


def reduced(size: int) -> list[Collective]:
    return [Collective("all-reduce", size, ("f32",), 1)]


def test_one_chip_exchanges_nothing() -> None:
    assert roofline.exchange_seconds(reduced(10**9), chips.parse("v5e:1x1")) == 0.0


def test_an_all_reduce_over_open_rows_takes_a_link_each() -> None:
    # 2 x 7/8 x 1 GB over two links of 50 GB/s; 1 + 3 hops there and back.
    seconds = roofline.exchange_seconds(reduced(10**9), chips.parse("v5e:2x4"))
    assert seconds == pytest.approx(2 * (7 / 8 * 1e9 / 100e9 + 4e-6))


def test_rings_have_two_directions_and_half_the_hops() -> None:
    seconds = roofline.exchange_seconds(reduced(10**9), chips.parse("v5e:16x16"))
    assert seconds == pytest.approx(2 * (255 / 256 * 1e9 / 200e9 + 16e-6))
    seconds = roofline.exchange_seconds(reduced(10**9), chips.parse("v5p:4x4x4"))
    assert seconds == pytest.approx(2 * (63 / 64 * 1e9 / 600e9 + 6e-6))


def test_a_gather_takes_half_of_a_sum() -> None:
    where = chips.parse("v6e:4x4")
    gathered = [Collective("all-gather", 10**6, ("f32",), 1)]
    whole = roofline.exchange_seconds(reduced(10**6), where)
    assert 2 * roofline.exchange_seconds(gathered, where) == pytest.approx(whole)


def test_many_small_exchanges_cost_their_hops() -> None:
    where = chips.parse("v5e:16x16")
    many = roofline.exchange_seconds(reduced(4) * 72, where)
    assert many == pytest.approx(72 * 32e-6, rel=1e-3)


def test_the_slower_of_operations_and_bytes_decides() -> None:
    where = chips.parse("v5e:1x1")
    busy = roofline.bound(roofline.Cost(100, 197e12 / 50, 819e9 / 100, []), where)
    assert busy.images_per_second == pytest.approx(5000)
    starved = roofline.bound(roofline.Cost(100, 197e12 / 100, 819e9 / 50, []), where)
    assert starved.images_per_second == pytest.approx(5000)
    assert busy.efficiency == starved.efficiency == 1.0


def test_more_chips_are_faster_and_less_efficient() -> None:
    cost = roofline.Cost(256, 1e12, 8e9, reduced(23 * 10**6))
    bounds = roofline.scaling(cost, chips.parse("v5e:2x4"))
    assert [b.chips for b in bounds] == [1, 2 * 2, 8, 16, 32, 64, 128, 256]
    rates = [b.images_per_second for b in bounds]
    assert rates == sorted(rates)
    assert bounds[0].efficiency == 1.0
    for b in bounds:
        assert 0 < b.efficiency <= 1.0
        assert b.images_per_second == pytest.approx(b.chips * rates[0] * b.efficiency)
