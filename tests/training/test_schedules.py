"""Learning rates at given steps: Caffe's, cosine, warm-up, and PyTorch's one cycle."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax import config as configuration
from ageflax.training import optimizer


def _group(**values: Any) -> Any:
    """The default optim group, the paper's, with these values."""
    return dataclasses.replace(configuration.Optim(), **values)


def _rates(group: Any, counts: list[int], steps: int = 100) -> np.ndarray:
    rate = jax.jit(optimizer.schedule(group, steps))
    return np.array([rate(jnp.asarray(count, jnp.int32)) for count in counts])


def test_step_schedule_at_the_papers_steps() -> None:
    counts = [0, 9_999, 10_000, 19_999, 20_000, 49_999]
    found = _rates(_group(), counts)
    np.testing.assert_allclose(found, [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-7], 1e-5)


@pytest.mark.parametrize("every", [1, 3, 41, 55, 83, 97, 107, 1000, 12_345])
def test_step_schedule_drops_on_time_whatever_the_period(every: int) -> None:
    counts = [every - 1, every, 2 * every - 1, 2 * every, 4 * every - 1, 4 * every]
    found = _rates(_group(decay_every=every, decay_factor=0.5), counts)
    np.testing.assert_allclose(
        found, 1e-3 * np.array([1, 1 / 2, 1 / 2, 1 / 4, 1 / 8, 1 / 16]), 1e-5
    )


def test_a_decay_to_nothing_is_nothing() -> None:
    np.testing.assert_allclose(_rates(_group(decay_factor=0.0), [9_999, 10_000]), [1e-3, 0.0], 1e-6)


def test_constant_schedule() -> None:
    np.testing.assert_allclose(_rates(_group(schedule="constant"), [0, 10_000]), [1e-3, 1e-3], 1e-6)


@pytest.mark.usefixtures("loose_promotion")
def test_cosine_schedule_ends_at_zero() -> None:
    found = _rates(_group(schedule="cosine"), [0, 25, 50, 100, 150])
    quarter = 5e-4 * (1 + 0.5**0.5)
    np.testing.assert_allclose(found, [1e-3, quarter, 5e-4, 0.0, 0.0], 1e-5, 1e-10)


@pytest.mark.usefixtures("loose_promotion")
def test_warm_up_rises_from_zero_and_the_cosine_still_ends_at_the_last_step() -> None:
    found = _rates(_group(schedule="cosine", warmup_steps=20), [0, 5, 20, 60, 100])
    np.testing.assert_allclose(found, [0.0, 2.5e-4, 1e-3, 5e-4, 0.0], 1e-5, 1e-10)


def test_warm_up_before_steps_delays_the_first_drop() -> None:
    found = _rates(_group(warmup_steps=10, decay_every=50), [5, 10, 59, 60])
    np.testing.assert_allclose(found, [5e-4, 1e-3, 1e-3, 1e-4], 1e-5)


# torch 2.14, optim.lr_scheduler.OneCycleLR(max_lr=2e-3, total_steps=steps, pct_start=rise).get_last_lr().
ONE_CYCLES = [
    (10, 0.3, {0: 8e-05, 1: 0.00104, 2: 0.002, 3: 0.001900969264, 6: 0.0007774839561, 8: 9.903873597e-05, 9: 8e-09}),
    (101, 0.3, {0: 8e-05, 1: 8.55130208e-05, 15: 0.001076017999, 29: 0.001999503395, 30: 0.001999516284, 100: 8e-09}),
    (20, 0.25, {1: 0.0003611774901, 3: 0.00171882251, 4: 0.002, 5: 0.001978147688, 18: 2.186031186e-05, 19: 8e-09}),
    (7, 0.0, {0: 0.001900969264, 1: 0.001623491308, 6: 8e-09}),
    (4, 1.0, {0: 8e-05, 1: 0.00056, 2: 0.00152, 3: 0.002}),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "rise", "expected"), ONE_CYCLES)
def test_one_cycle_is_pytorchs(steps: int, rise: float, expected: dict[int, float]) -> None:
    group = _group(schedule="one_cycle", learning_rate=2e-3, rise=rise)
    np.testing.assert_allclose(_rates(group, list(expected), steps), list(expected.values()), 1e-5)


def test_one_cycle_stays_at_its_end() -> None:
    group = _group(schedule="one_cycle", learning_rate=2e-3, rise=0.3)
    np.testing.assert_allclose(_rates(group, [9, 10, 1000], 10), [8e-9] * 3, 1e-5)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_cycles_are_rates(steps: int) -> None:
    for rise in (0.0, 0.3, 0.5, 0.9, 1.0):
        found = _rates(
            _group(schedule="one_cycle", learning_rate=2e-3, rise=rise), [*range(steps)], steps
        )
        assert ((found > 0) & (found <= 2e-3 * (1 + 1e-6))).all()
