"""Several processes, one a host, that work on one run: how they start, agree to stop, and end together.

Every process computes the same state from its own share of each batch. Process 0 alone writes files and
speaks; checkpoints are written by all, so that the workdir lies on a disk that every host sees.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ageflax.errors import InputError, RunError, first_line
from ageflax.runtime import preemption

# Seconds after which a host that is not heard of counts as gone, and the others end.
LOST_AFTER = 60
_START_WITHIN = 300
_TICK = 0.5
_DAY = 24 * 3600 * 1000  # milliseconds: the longest that the others wait for a dataset's build


@dataclasses.dataclass(frozen=True)
class Placing:
    """One process's place among those of a run.

    Attributes:
      coordinator_address: HOST:PORT of process 0; "" asks the cluster's environment.
      num_processes: how many there are.
      process_id: which one this is, from 0.
    """

    coordinator_address: str = ""
    num_processes: int | None = None
    process_id: int | None = None


def placing(
    coordinator_address: str | None,
    num_processes: int | None,
    process_id: int | None,
    *,
    distributed: bool,
) -> Placing | None:
    """What the flags say; None for a process that works alone.

    Raises:
      InputError: some of the three are given and some are not, or they contradict each other.
    """
    given = {
        "--coordinator_address": coordinator_address,
        "--num_processes": num_processes,
        "--process_id": process_id,
    }
    absent = [name for name, value in given.items() if value is None]
    if len(absent) == 3:
        return Placing() if distributed else None
    if absent:
        raise InputError(f"{', '.join(absent)}: needed too, to start one process of several")
    assert coordinator_address is not None and num_processes is not None and process_id is not None
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"--coordinator_address={coordinator_address}: expected HOST:PORT")
    if num_processes < 1:
        raise InputError(f"--num_processes={num_processes}: expected 1 or more")
    if not 0 <= process_id < num_processes:
        raise InputError(
            f"--process_id={process_id}: expected 0 to {num_processes - 1}, --num_processes being"
            f" {num_processes}"
        )
    return Placing(coordinator_address, num_processes, process_id)


def alone() -> bool:
    """Whether this process works by itself."""
    return jax.process_count() == 1


def writer() -> bool:
    """Whether this is the process that writes files and speaks."""
    return jax.process_index() == 0


def _client() -> Any:
    # The only way to the key-value store that jax.distributed itself is built on.
    from jax._src import distributed

    return distributed.global_state.client


class _Peers:
    """Listens to the other processes beside the main thread.

    A process that is told to stop tells the others, whose own handler then hears it. Where they are in
    training, they agree on the step to save at: the protocol of JAX's reached_preemption_sync_point,
    which itself cannot be used, since it takes SIGTERM away from Python wherever a process is.
    """

    def __init__(self):
        self._client, self._number, self._count = (
            _client(),
            jax.process_index(),
            jax.process_count(),
        )
        self._lock = threading.Lock()
        self._passed, self._stop_at = 0, None
        self._beats = {k: ("", time.monotonic()) for k in range(self._count) if k != self._number}
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="peers", daemon=True)
        self._thread.start()

    def passed(self) -> bool:
        """Counts a point that every process passes; True at the one they agreed to stop at."""
        with self._lock:
            self._passed += 1
            return self._stop_at is not None and self._passed >= self._stop_at

    def leave(self) -> None:
        """Stops listening."""
        self._left.set()
        self._thread.join()

    def _listen(self) -> None:
        beat, told = 0, False
        while not self._left.wait(_TICK):
            try:
                beat += 1
                self._client.key_value_set(f"ageflax/beat/{self._number}", str(beat), True)
                self._look(dict(self._client.key_value_dir_get("ageflax/beat")))
                if told or not (
                    preemption.asked() or self._client.key_value_dir_get("ageflax/stop")
                ):
                    continue
                told = True
                if preemption.asked():
                    self._client.key_value_set("ageflax/stop/told", str(self._number), True)
                else:
                    os.kill(os.getpid(), signal.SIGTERM)
                # Without waiting until the main thread has heard of it: it may wait for a process that
                # has, and waits for this one's count.
                self._agree()
            except jax.errors.JaxRuntimeError as error:
                if not self._left.is_set():
                    first = first_line(error)[:160]
                    end_now(f"the other processes do not answer ({first})")

    def _look(self, beats: dict[str, str]) -> None:
        now = time.monotonic()
        for number, (last, since) in self._beats.items():
            beat = beats.get(f"ageflax/beat/{number}", "")
            if beat != last:
                self._beats[number] = (beat, now)
            elif now - since > LOST_AFTER:
                end_now(f"process {number} was not heard of for {LOST_AFTER} seconds")

    def _agree(self) -> None:
        """The main thread waits for it at its next step, so that the counts hold until all have them."""
        with self._lock:
            self._client.key_value_set(f"ageflax/passed/{self._number}", str(self._passed), True)
            counts = [
                int(self._client.blocking_key_value_get(f"ageflax/passed/{k}", 20_000))
                for k in range(self._count)
            ]
            self._stop_at = max(counts) + 1


_peers: _Peers | None = None


def end_now(reason: str) -> None:
    """Ends this process in one line, whatever its main thread waits for."""
    code = preemption.EXIT_CODE if preemption.asked() else 1
    print(
        f"ageflax: {reason}; process {jax.process_index()} ends too. The same command goes on from the"
        " last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    os._exit(code)


def stopping() -> bool:
    """Whether to save and leave now: told so, and agreed with all other processes.

    Every process calls it at the same points of its work: after each dispatch and evaluated batch.
    """
    return preemption.asked() if _peers is None else _peers.passed()


def _initialize(place: Placing) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # of CPUs only
    # It would take SIGTERM for itself; see _Peers.
    jax.config.update("jax_enable_preemption_service", False)
    more: dict[str, Any] = {}
    if place.coordinator_address:
        more = {**dataclasses.asdict(place), "cluster_detection_method": "deactivate"}
    try:
        jax.distributed.initialize(
            **more,
            initialization_timeout=_START_WITHIN,
            # JAX aborts with a stack trace where a process is gone. _Peers is before it, with one line;
            # but for process 0, whose closed connection JAX sees at once.
            heartbeat_timeout_seconds=2 * LOST_AFTER,
            shutdown_timeout_seconds=LOST_AFTER,
        )
    except ValueError as error:
        raise InputError(
            f"--distributed: the environment names no other processes ({error}); give"
            " --coordinator_address, --num_processes and --process_id"
        ) from error
    except (RuntimeError, jax.errors.JaxRuntimeError) as error:
        raise RunError(
            f"the processes of the run did not find each other: {first_line(error)}"
        ) from error


@contextlib.contextmanager
def joined(place: Placing | None) -> Iterator[None]:
    """Joins the processes of a run; None changes nothing.

    Who leaves by an error is to end its process by `leave`: the others hear of it, within LOST_AFTER.

    Raises:
      InputError: the environment does not say which processes there are.
      RunError: they did not find each other.
    """
    global _peers
    if place is None:
        yield
        return
    _initialize(place)
    _peers = None if alone() else _Peers()
    try:
        yield
        meet("end")  # listening: process 0 may write for long
    finally:
        peers, _peers = _peers, None
        if peers is not None:
            peers.leave()
    jax.distributed.shutdown()


def leave(code: int) -> None:
    """Ends a process that failed, where others wait for it: what JAX does at an exit waits for them."""
    if code and _client() is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def meet(name: str) -> None:
    """Waits until every process is here; each name once."""
    if not alone():
        _client().wait_at_barrier(f"ageflax/{name}", _DAY)


_compiled: set[str] = set()


def compile_together(name: str, function: Any, *arguments: Any) -> None:
    """Compiles a jitted function on all processes before any of them runs it; each name once.

    Within a collective a process waits for the others, on CPUs for 30 seconds; a compilation may take
    longer on one than on another. The call that follows finds the compiled function.
    """
    if not alone() and name not in _compiled:
        _compiled.add(name)
        function.lower(*arguments).compile()
        meet(f"compiled {name}")


def from_writer(value: np.ndarray) -> np.ndarray:
    """What process 0 has of an array whose shape is the same everywhere."""
    if alone():
        return value
    return np.asarray(multihost_utils.broadcast_one_to_all(value))


def total(value: np.ndarray) -> np.ndarray:
    """Sum over the processes of uint64 arrays, exactly."""
    if alone():
        return value
    # As bytes: JAX has no 64-bit integers by default.
    parts = multihost_utils.process_allgather(np.atleast_1d(value).view(np.uint8))
    return np.asarray(parts).view(np.uint64).sum(0, dtype=np.uint64).reshape(value.shape)


def check_shared(workdir: Path) -> None:
    """Raises InputError where a host does not see what process 0 writes into the workdir."""
    if alone():
        return
    token = from_writer(np.frombuffer(os.urandom(4), np.uint8)).tobytes().hex()
    probe = workdir / f".shared-{token}"
    if writer():
        probe.touch()
    meet(f"written {token}")
    seen = np.asarray(multihost_utils.process_allgather(np.array(probe.exists())))
    if writer():
        probe.unlink()
    if not seen.all():
        raise InputError(
            f"--workdir={workdir}: process {int(np.argmin(seen))} does not see what process 0 writes"
            " there; name a folder on a disk that all hosts share"
        )
