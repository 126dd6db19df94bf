from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.checkpoint import Checkpoints
from ageflax.errors import RunError
from ageflax.sharding import make_mesh, replicated
from ageflax.structs import TrainState


def state_of(step: int, mesh=None) -> TrainState:
    state = TrainState(
        step=jnp.array(step, jnp.int32),
        params={"w": jnp.full((300, 300), float(step)), "b": jnp.arange(3.0)},
        batch_stats={},
        opt_state=({"trace": jnp.full((300, 300), -float(step))}, None),
        key=jax.random.key(7),
        mean=jnp.full((4, 4, 3), 0.5),
        deviation=jnp.ones((1, 1, 3)),
        class_weights={},
        average={},
    )
    return jax.device_put(state, replicated(mesh or make_mesh()))


def steps_on_disk(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.name.isdigit()}


@pytest.fixture
def saved(tmp_path):
    """Five checkpoints of which step 2 is best, and what was said."""
    said: list[str] = []
    checkpoints = Checkpoints(tmp_path, say=said.append)
    for step, figure in zip(range(1, 6), (0.1, 0.9, 0.3, 0.2, 0.4), strict=True):
        checkpoints.save(step, state_of(step), {"validation": {"exact": figure}}, figure)
    checkpoints.finish()
    yield checkpoints, tmp_path, said
    checkpoints.close()


def damage(step: Path) -> None:
    for path in step.rglob("*"):
        if path.is_file() and path.stat().st_size > 500:
            path.write_bytes(path.read_bytes()[:100])


def test_the_latest_two_and_the_best_are_kept(saved):
    checkpoints, directory, _ = saved
    assert steps_on_disk(directory) == {"2", "4", "5"}
    assert checkpoints.best_step() == 2


def test_a_continued_run_still_knows_the_best(saved):
    checkpoints, directory, _ = saved
    checkpoints.close()
    reopened = Checkpoints(directory, say=lambda line: None)
    reopened.save(6, state_of(6), {}, 0.8)
    reopened.finish()
    assert steps_on_disk(directory) == {"2", "5", "6"}
    assert reopened.best_step() == 2
    reopened.close()


def test_what_comes_back_is_what_was_saved(saved):
    checkpoints, _, _ = saved
    restored = checkpoints.restore_latest(state_of(0))
    assert restored is not None
    assert restored.notes == {"validation": {"exact": 0.4}}
    for got, expected in zip(
        jax.tree.leaves(restored.state), jax.tree.leaves(state_of(5)), strict=True
    ):
        if jnp.issubdtype(got.dtype, jax.dtypes.prng_key):
            got, expected = jax.random.key_data(got), jax.random.key_data(expected)
        np.testing.assert_array_equal(got, expected)
    assert jax.random.uniform(restored.state.key) == jax.random.uniform(jax.random.key(7))


def test_a_save_survives_the_state_being_overwritten(tmp_path):
    checkpoints = Checkpoints(tmp_path, say=lambda line: None)
    state = state_of(3)
    checkpoints.save(3, state, {}, 0.0)
    for leaf in jax.tree.leaves(state):
        leaf.delete()  # as donation does
    checkpoints.close()
    reopened = Checkpoints(tmp_path, say=lambda line: None)
    assert float(reopened.restore(3, state_of(0)).state.params["w"][0, 0]) == 3.0
    reopened.close()


def test_it_restores_onto_another_number_of_devices(saved):
    checkpoints, _, _ = saved
    mesh = make_mesh(jax.devices()[:1])
    restored = checkpoints.restore(5, state_of(0, mesh)).state
    assert restored.params["w"].sharding.device_set == {jax.devices()[0]}


def test_a_damaged_latest_is_set_aside_and_said(saved):
    checkpoints, directory, said = saved
    damage(directory / "5")
    restored = checkpoints.restore_latest(state_of(0))
    assert restored is not None
    assert int(restored.state.step) == 4
    assert len(said) == 1
    assert said[0].startswith(f"checkpoint {directory / '5'} cannot be read: ")
    assert said[0].endswith("; going on from the one before")
    assert (directory / "5.damaged").is_dir()


def test_when_all_are_damaged_the_run_stops_and_deletes_nothing(saved):
    checkpoints, directory, _ = saved
    for step in ("2", "4", "5"):
        damage(directory / step)
    with pytest.raises(
        RunError, match=r"none of the checkpoints in .* can be read; move that folder"
    ):
        checkpoints.restore_latest(state_of(0))
    assert {path.name for path in directory.glob("*.damaged")} == {
        "2.damaged", "4.damaged", "5.damaged",
    }  # fmt: skip


def test_none_there_is_none(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new", say=lambda line: None)
    assert checkpoints.restore_latest(state_of(0)) is None
    assert checkpoints.best_step() is None
    checkpoints.close()


def test_another_networks_checkpoint_is_refused(saved):
    checkpoints, _, _ = saved
    other = state_of(0).replace(params={"other": jnp.zeros((2, 2))})  # type: ignore[attr-defined]
    with pytest.raises(RunError, match=r"5 cannot be read"):
        checkpoints.restore(5, other)
