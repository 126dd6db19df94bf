import gc
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from ageflax.errors import InputError, RunError
from ageflax.runtime.mesh import make_mesh, replicated
from ageflax.training import checkpoints as module
from ageflax.training.checkpoints import Checkpoints, _plain
from ageflax.training.state import TrainState


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
    """Five checkpoints, step 2 the best, their folder and the lines printed."""
    said: list[str] = []
    checkpoints = Checkpoints(tmp_path, say=said.append)
    for step, figure in zip(range(1, 6), (0.1, 0.9, 0.3, 0.2, 0.4), strict=True):
        checkpoints.save(step, state_of(step), {"validation": {"exact": figure}}, figure)
    checkpoints.finish()
    yield checkpoints, tmp_path, said
    checkpoints.close()


def _files(step: Path) -> list[Path]:
    """Files of a checkpoint that have sums, largest last."""
    named = json.loads((step / "sums.json").read_text())
    return sorted((step / name for name in named), key=lambda path: path.stat().st_size)


def truncate(step: Path) -> None:
    path = _files(step)[-1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(step: Path) -> None:
    path = _files(step)[-1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def delete(step: Path) -> None:
    _files(step)[0].unlink()


def empty(step: Path) -> None:
    shutil.rmtree(step)
    step.mkdir()


def garble_the_sums(step: Path) -> None:
    (step / "sums.json").write_text('{"state/')


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


def assert_is_state_of(step: int, state: TrainState) -> None:
    for got, expected in zip(jax.tree.leaves(state), jax.tree.leaves(state_of(step)), strict=True):
        if jnp.issubdtype(got.dtype, jax.dtypes.prng_key):
            got, expected = jax.random.key_data(got), jax.random.key_data(expected)
        np.testing.assert_array_equal(got, expected)


def test_what_comes_back_is_what_was_saved(saved):
    checkpoints, _, _ = saved
    restored = checkpoints.restore_latest(state_of(0))
    assert restored is not None
    assert restored.notes == {"validation": {"exact": 0.4}}
    assert_is_state_of(5, restored.state)
    assert jax.random.uniform(restored.state.key) == jax.random.uniform(jax.random.key(7))


def test_a_run_that_saved_by_ocdbt_goes_on(tmp_path):
    with ocp.CheckpointManager(tmp_path) as orbax:  # as earlier releases did
        state = _plain(state_of(3))
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state), notes=ocp.args.JsonSave({"waited": 1})
        )
        orbax.save(3, args=args)
    assert list((tmp_path / "3").rglob("manifest.ocdbt"))
    checkpoints = Checkpoints(tmp_path, say=print)
    restored = checkpoints.restore_latest(state_of(0))
    assert restored is not None
    assert restored.notes == {"waited": 1}
    assert_is_state_of(3, restored.state)
    checkpoints.save(4, state_of(4), {}, 0.5)
    checkpoints.finish()
    assert not list((tmp_path / "4").rglob("manifest.ocdbt"))
    restored = checkpoints.restore_latest(state_of(0))
    assert restored is not None
    assert_is_state_of(4, restored.state)
    checkpoints.close()


def test_saving_leaves_none_of_tensorstores_metrics_in_memory(saved):
    module.skip_byte_counts()

    def left() -> int:
        """Counts values in the form of TensorStore's metrics, which it never frees."""
        lists = (each for each in gc.get_objects() if type(each) is list and len(each) == 1)
        return sum(isinstance(value, dict) and set(value) == {"value"} for (value,) in lists)

    checkpoints, _, _ = saved
    before = left()
    for step in (6, 7, 8):
        checkpoints.save(step, state_of(step), {}, 0.1)
    checkpoints.finish()
    gc.collect()
    assert left() == before


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


@pytest.mark.parametrize("damaged", [truncate, flip, delete, empty, garble_the_sums, damage])
def test_a_damaged_latest_is_set_aside_and_said(saved, damaged):
    checkpoints, directory, said = saved
    damaged(directory / "5")
    restored = checkpoints.restore_latest(state_of(0))
    assert restored is not None
    assert int(restored.state.step) == 4
    assert len(said) == 1
    assert said[0].startswith(f"checkpoint {directory / '5'} cannot be read: ")
    assert said[0].endswith("; resuming from the previous checkpoint")
    assert (directory / "5.damaged").is_dir()


def test_when_all_are_damaged_the_run_stops_and_deletes_nothing(saved):
    checkpoints, directory, _ = saved
    for step in ("2", "4", "5"):
        damage(directory / step)
    for _ in range(2):  # the next start does not begin again at step 0 either
        with pytest.raises(RunError, match=r"no checkpoint can be read; move the folder away"):
            checkpoints.restore_latest(state_of(0))
    assert {path.name for path in directory.glob("*.damaged")} == {
        "2.damaged", "4.damaged", "5.damaged",
    }  # fmt: skip


def test_one_that_is_only_to_go_on_from_is_never_the_best_and_is_replaced(tmp_path):
    checkpoints = Checkpoints(tmp_path, say=lambda line: None)
    checkpoints.save(1, state_of(1), {}, -5.0)
    checkpoints.save(2, state_of(2), {"unwritten": {"loss": [0.5]}}, None)
    assert checkpoints.best_step() == 1
    restored = checkpoints.restore_latest(state_of(0))
    assert restored is not None
    assert restored.notes == {"unwritten": {"loss": [0.5]}}
    checkpoints.save(2, state_of(2), {"unwritten": {}}, -3.0)
    assert checkpoints.best_step() == 2
    assert checkpoints.restore(2, state_of(0)).notes == {"unwritten": {}}
    assert checkpoints.seconds > 0
    checkpoints.close()


def test_a_save_that_was_cut_off_leaves_the_one_before(saved):
    checkpoints, directory, _ = saved
    checkpoints.close()
    shutil.copytree(directory / "5", directory / "6.orbax-checkpoint-tmp-1")
    (directory / "6.orbax-checkpoint-tmp-1" / "sums.json").unlink()
    again = Checkpoints(directory, say=lambda line: None)
    restored = again.restore_latest(state_of(0))
    assert restored is not None
    assert int(restored.state.step) == 5
    again.close()


FULL = """
import resource, sys
from pathlib import Path
import jax
jax.config.update("jax_num_cpu_devices", 1)
import numpy as np
from ageflax.runtime import command_line
from ageflax.training.checkpoints import Checkpoints
from tests.training.test_checkpoints import state_of
checkpoints = Checkpoints(Path(sys.argv[1]), say=print)
noise = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
state = state_of(1).replace(params={"w": jax.numpy.asarray(noise)})
checkpoints.save(1, state, {}, 0.0)
checkpoints.finish()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # stands in for a full disk
def fail():
    try:
        checkpoints.save(2, state, {}, 0.0)
        checkpoints.finish()
    finally:
        print(int(checkpoints.restore_latest(state).state.step))
sys.exit(command_line.run("train", fail))
"""


def test_what_cannot_be_written_is_one_line_and_the_one_before_is_kept(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=120,
        # JAX would warn that compiled programs cannot be written either.
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "JAX_PLATFORMS": "cpu",
                          "JAX_ENABLE_COMPILATION_CACHE": "false"},
    )  # fmt: skip
    assert done.returncode == 1
    # Orbax's event loop, closed by the failure, may print before.
    line = done.stderr.splitlines()[-1]
    assert done.stderr.count("train: ") == 1
    assert line.startswith(f"train: checkpoint {tmp_path / '2'} cannot be saved: ")
    assert line.endswith("; the previous checkpoint is kept")
    assert done.stdout == "1\n"


def test_none_there_is_none(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new", say=lambda line: None)
    assert checkpoints.restore_latest(state_of(0)) is None
    assert checkpoints.best_step() is None
    checkpoints.close()


def test_another_networks_checkpoint_is_refused(saved):
    checkpoints, directory, said = saved
    wider = jnp.zeros((300, 400))
    other = state_of(0).replace(params={"w": wider, "c": jnp.zeros(3)})  # type: ignore[attr-defined]
    with pytest.raises(InputError) as error:
        checkpoints.restore_latest(other)
    assert str(error.value) == (
        f"checkpoint {directory / '5'}: of another network: params/b is (3,), here absent, and 2 more"
        " arrays differ; choose another --workdir"
    )
    assert not said
    assert steps_on_disk(directory) == {"2", "4", "5"}


SETTINGS = [
    (
        lambda: jax.default_prng_impl("rbg"),
        "jax_default_prng_impl = 'threefry2x32', now 'rbg'; set JAX_DEFAULT_PRNG_IMPL=threefry2x32",
    ),
    (
        lambda: jax.threefry_partitionable(False),
        "jax_threefry_partitionable = True, now False; set JAX_THREEFRY_PARTITIONABLE=true",
    ),
    (
        lambda: jax.enable_x64(True),
        "jax_enable_x64 = False, now True; set JAX_ENABLE_X64=false",
    ),
]


@pytest.mark.parametrize(("changed", "words"), SETTINGS)
def test_other_settings_of_jax_are_refused_and_the_checkpoint_stays(saved, changed, words):
    checkpoints, directory, said = saved
    with changed(), pytest.raises(InputError) as error:
        checkpoints.restore_latest(state_of(0))
    assert str(error.value) == (
        f"checkpoint {directory / '5'}: made with {words} to resume, or choose another --workdir"
    )
    assert not said
    assert {path.name for path in directory.iterdir()} >= {"2", "4", "5"}
    restored = checkpoints.restore_latest(state_of(0))
    assert restored is not None
    assert_is_state_of(5, restored.state)


def test_a_checkpoint_without_settings_goes_on_and_its_key_tells_the_implementation(
    tmp_path, monkeypatch
):
    checkpoints = Checkpoints(tmp_path, say=print)
    with monkeypatch.context() as patch:
        patch.setattr(module, "jax_settings", dict)
        checkpoints.save(3, state_of(3), {"waited": 1}, 0.5)
        checkpoints.finish()
    notes = json.loads((tmp_path / "3" / "notes" / "metadata").read_text())
    assert notes == {"waited": 1, "jax": {}}
    with jax.default_prng_impl("rbg"), pytest.raises(InputError, match="= 'threefry2x32', now 'rb"):
        checkpoints.restore_latest(state_of(0))
    restored = checkpoints.restore_latest(state_of(0))
    assert restored is not None
    assert restored.notes == {"waited": 1}
    assert_is_state_of(3, restored.state)
    checkpoints.close()


def test_a_sound_checkpoint_that_fails_for_another_reason_stays(saved, monkeypatch):
    checkpoints, directory, said = saved

    def exhausted(*arguments, **more):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_read", exhausted)
        with pytest.raises(RunError, match=r"/5 cannot be read: RESOURCE_EXHAUSTED"):
            checkpoints.restore_latest(state_of(0))
    assert not said
    assert steps_on_disk(directory) == {"2", "4", "5"}
