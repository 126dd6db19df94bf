"""Several processes, one per host, that work on one run: how they start, stop together and share values.

Every process computes the same state from its own share of each batch. Process 0 alone writes files and
prints; all of them write checkpoints, so the workdir must be on a disk that every host sees.
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ageflax.errors import InputError, RunError, first_line
from ageflax.runtime import peers, preemption

_START_WITHIN = 300  # seconds
_DAY = 24 * 3600 * 1000  # milliseconds: the longest wait, for a dataset to be built


@dataclasses.dataclass(frozen=True)
class Placing:
    """One process's place among those of a run.

    Attributes:
      coordinator_address: HOST:PORT of process 0; "" for detection from the cluster's environment.
      num_processes: number of processes.
      process_id: this process's number, from 0.
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
    """Turns the command's options into a Placing; None for a process that works alone.

    Raises:
      InputError: only some of the three values are given, or they contradict each other.
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
            f"--process_id={process_id}: expected 0 to {num_processes - 1}, given"
            f" --num_processes={num_processes}"
        )
    return Placing(coordinator_address, num_processes, process_id)


def alone() -> bool:
    """True if this process is the only one of its run."""
    return jax.process_count() == 1


def writer() -> bool:
    """True in the process that writes files and prints."""
    return jax.process_index() == 0


_peers: peers.Peers | None = None


def stopping() -> bool:
    """True once this process is to save and stop, at a point agreed with all the others.

    Every process calls it at the same points of its work: after each dispatch and evaluated batch.
    """
    return preemption.asked() if _peers is None else _peers.passed()


def _initialize(place: Placing) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # used on CPUs only
    # The service would take SIGTERM for itself; see Peers.
    jax.config.update("jax_enable_preemption_service", False)
    more: dict[str, Any] = {}
    if place.coordinator_address:
        more = {**dataclasses.asdict(place), "cluster_detection_method": "deactivate"}
    try:
        jax.distributed.initialize(
            **more,
            initialization_timeout=_START_WITHIN,
            # JAX aborts with a stack trace when a process is gone. Peers ends first, with one line,
            # unless process 0 is gone: JAX sees its closed connection at once.
            heartbeat_timeout_seconds=2 * peers.LOST_AFTER,
            shutdown_timeout_seconds=peers.LOST_AFTER,
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
    """Joins the processes of a run for the duration of the block; does nothing for None.

    A process that fails within the block must end by `leave`; the others notice within LOST_AFTER.

    Raises:
      InputError: the environment does not name the processes.
      RunError: the processes did not find each other.
    """
    global _peers
    if place is None:
        yield
        return
    _initialize(place)
    _peers = None if alone() else peers.Peers()
    try:
        yield
        meet("end")  # still listening: process 0 may take long to write
    finally:
        listening, _peers = _peers, None
        if listening is not None:
            listening.leave()
    jax.distributed.shutdown()


def leave(code: int) -> None:
    """Ends a failed process at once: JAX's own exit handlers would wait for the other processes."""
    if code and peers.client() is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def meet(name: str) -> None:
    """Waits until every process has arrived; each name may be used once."""
    if not alone():
        peers.client().wait_at_barrier(f"ageflax/{name}", _DAY)


_compiled: set[str] = set()


def compile_together(name: str, function: Any, *arguments: Any) -> None:
    """Compiles a jitted function on all processes before any of them runs it; once per name.

    Within a collective a process waits for the others, on CPUs for 30 seconds; a compilation may take
    longer on one process than on another. The call that follows finds the compiled function.
    """
    if not alone() and name not in _compiled:
        _compiled.add(name)
        function.lower(*arguments).compile()
        meet(f"compiled {name}")


def from_writer(value: np.ndarray) -> np.ndarray:
    """Process 0's copy of an array whose shape is the same everywhere."""
    if alone():
        return value
    return np.asarray(multihost_utils.broadcast_one_to_all(value))


def total(value: np.ndarray) -> np.ndarray:
    """Exact sum of uint64 arrays over the processes."""
    if alone():
        return value
    # As bytes: JAX has no 64-bit integers by default.
    parts = multihost_utils.process_allgather(np.atleast_1d(value).view(np.uint8))
    return np.asarray(parts).view(np.uint64).sum(0, dtype=np.uint64).reshape(value.shape)


def check_shared(workdir: Path) -> None:
    """Raises InputError if some host does not see files that process 0 writes into the workdir."""
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
            f"--workdir={workdir}: process {int(np.argmin(seen))} does not see files that process 0"
            " writes there; name a folder on a disk that all hosts share"
        )
