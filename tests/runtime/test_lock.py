import errno
import fcntl
import multiprocessing
import os
import time

import pytest

from ageflax.errors import InputError
from ageflax.runtime import lock


def _hold(directory, ready):
    with lock.locked(directory, say=print):
        ready.set()
        time.sleep(600)


def test_a_second_holder_is_refused_and_a_killed_one_leaves_it_free(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE", 0.1)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready), daemon=True)
    process.start()
    assert ready.wait(60)
    with (
        pytest.raises(InputError, match=rf"by another process \(process {process.pid} on .*\);"),
        lock.locked(tmp_path, say=print),
    ):
        pass
    process.kill()
    process.join()
    with lock.locked(tmp_path, say=print):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_disk_without_locks_is_said_and_used(tmp_path, monkeypatch):
    def none(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    said = []
    with lock.locked(tmp_path, say=said.append):
        pass
    assert said == [f"{tmp_path}: this disk does not support locks; start no second process on it"]
