"""A clock that is set back between two starts, as of a machine that was away and has no battery."""

import os
import time

import pytest

from ageflax import config as configuration
from ageflax.data import pixel_cache
from ageflax.runtime import hosts, preemption
from ageflax.training import cross_validation
from ageflax.training.checkpoints import Checkpoints
from tests.conftest import small_values
from tests.runtime.test_preemption import lines_of
from tests.training.test_checkpoints import state_of, steps_on_disk

DAY = 24 * 3600.0


def set_back(monkeypatch, seconds: float) -> None:
    clock, nanoseconds = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: clock() - seconds)
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() - int(seconds * 1e9))


def test_the_latest_checkpoint_is_that_of_the_last_step(tmp_path, monkeypatch):
    for steps, seconds in ((range(1, 4), 0.0), (range(4, 6), DAY)):
        set_back(monkeypatch, seconds)
        checkpoints = Checkpoints(tmp_path, say=lambda line: None)
        for step in steps:
            checkpoints.save(step, state_of(step), {}, -float(step))
        checkpoints.close()
    assert steps_on_disk(tmp_path) == {"1", "4", "5"}  # the best, and the latest two
    again = Checkpoints(tmp_path, say=lambda line: None)
    restored = again.restore_latest(state_of(0))
    assert restored is not None
    assert int(restored.state.step) == 5
    again.close()


def test_a_run_goes_on_to_the_bit(data_dir, small_faces, tmp_path, monkeypatch):
    config = configuration.resolve(small_values(data_dir), ("--config.fold=1",))
    cross_validation.run(config, tmp_path / "straight", say=lambda line: None)
    with monkeypatch.context() as patch:
        asked = iter(range(1, 100))
        patch.setattr(hosts, "stopping", lambda: next(asked) >= 6)
        with pytest.raises(preemption.Preempted):
            cross_validation.run(config, tmp_path / "stopped", say=lambda line: None)
    set_back(monkeypatch, DAY)
    said: list[str] = []
    cross_validation.run(config, tmp_path / "stopped", say=said.append)
    assert any(line.startswith("fold 1: resuming from step ") for line in said)
    straight, stopped = (tmp_path / name / "fold_1" for name in ("straight", "stopped"))
    assert lines_of(stopped) == lines_of(straight)
    assert (stopped / "predictions.csv").read_bytes() == (straight / "predictions.csv").read_bytes()
    # TensorBoard reads a folder's files in the order of their names.
    assert len(list((stopped / "tensorboard").iterdir())) == 2


@pytest.mark.parametrize(
    ("ago", "written"), [(DAY, True), (-DAY, True), (5.0, False), (-5.0, False)]
)
def test_what_a_killed_process_left_of_a_prepared_file_is_written_anew(tmp_path, ago, written):
    path = tmp_path / "pixels"
    partial = path.with_name("pixels.partial")
    partial.write_bytes(b"half")
    left = time.time() - ago
    os.utime(partial, (left, left))
    assert pixel_cache._write(path, [b"whole"]) == written
    assert path.exists() == written
