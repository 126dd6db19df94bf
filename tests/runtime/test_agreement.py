"""The hosts' agreement on the point to stop at, with threads in place of processes."""

import os
import threading
import time

import jax
import pytest

from ageflax.runtime import peers as listening
from ageflax.runtime import preemption


class Store:
    """Stands in for jax.distributed's key-value store, for one process."""

    def __init__(self, values: dict[str, str], changed: threading.Condition):
        self.values, self.changed = values, changed

    def key_value_set(self, key: str, value: str, allow_overwrite: bool) -> None:
        assert allow_overwrite
        with self.changed:
            self.values[key] = value
            self.changed.notify_all()

    def key_value_dir_get(self, prefix: str) -> list[tuple[str, str]]:
        with self.changed:
            return [(k, v) for k, v in self.values.items() if k.startswith(f"{prefix}/")]

    def blocking_key_value_get(self, key: str, milliseconds: int) -> str:
        with self.changed:
            assert self.changed.wait_for(lambda: key in self.values, milliseconds / 1000)
            return self.values[key]


@pytest.fixture
def peers(monkeypatch):
    """Peers of three processes that share a store and are told to stop all at once."""
    values, changed, made = {}, threading.Condition(), []
    monkeypatch.setattr(listening, "_TICK", 0.01)
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(listening, "client", lambda: Store(values, changed))
    for number in range(3):
        monkeypatch.setattr(jax, "process_index", lambda number=number: number)
        made.append(listening.Peers())
    yield made
    for each in made:
        each.leave()


def test_all_stop_at_the_same_point_which_none_has_passed(peers, monkeypatch):
    stopped, passed = [0, 0, 0], [0, 0, 0]

    def work(number: int) -> None:
        while not peers[number].passed():
            passed[number] += 1
            time.sleep(0.002 * (number + 1))
            # As collectives do: nobody is more than a few steps ahead of the slowest.
            while passed[number] > min(passed) + 3:
                time.sleep(0.001)
        stopped[number] = passed[number] + 1
        passed[number] += 1000

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    monkeypatch.setattr(preemption, "asked", lambda: True)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(set(stopped)) == 1
    assert stopped[0] > 1


def test_a_process_that_is_told_tells_the_others(monkeypatch):
    values, changed, signals = (
        {"ageflax/stop/told": "1", "ageflax/passed/1": "7"},
        threading.Condition(),
        [],
    )
    monkeypatch.setattr(listening, "_TICK", 0.01)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(listening, "client", lambda: Store(values, changed))
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))
    peers = listening.Peers()
    deadline = time.monotonic() + 10
    while not signals and time.monotonic() < deadline:
        time.sleep(0.01)
    peers.leave()
    assert signals == [(os.getpid(), 15)]
    # It has stated its count, although its main thread has not handled the signal yet.
    assert values["ageflax/passed/0"] == "0"
    assert [peers.passed() for _ in range(8)] == [False] * 7 + [True]


def test_a_silent_process_ends_this_one(monkeypatch):
    reasons = []
    monkeypatch.setattr(listening, "_TICK", 0.01)
    monkeypatch.setattr(listening, "LOST_AFTER", 0.1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(listening, "client", lambda: Store({}, threading.Condition()))
    monkeypatch.setattr(listening, "end_now", reasons.append)
    peers = listening.Peers()
    deadline = time.monotonic() + 10
    while not reasons and time.monotonic() < deadline:
        time.sleep(0.01)
    peers.leave()
    assert reasons[0] == "process 1 has been silent for 0.1 seconds"
