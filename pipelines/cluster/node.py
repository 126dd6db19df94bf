"""A job on a node of a Ray cluster: the same process under the same leash as on one machine."""

import dataclasses
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ageflax.errors import InputError
from ageflax.runtime.lock import held
from pipelines.local import leash
from pipelines.local.process import Here, Process, environment

# Seconds that the processes of a lost attempt may take to save and end.
_PATIENCE = 60.0


@dataclasses.dataclass(frozen=True)
class Task:
    """A job as it is sent to a node.

    Attributes:
      command: program and arguments; "python" first stands for the node's Python.
      folder: working directory.
      workdir: folder of the pipeline.
      lock: file that at most one process of the job holds.
      reads: paths that the node must see.
      hosts: number of nodes that work on the job.
    """

    command: tuple[str, ...]
    folder: str
    workdir: str
    lock: str
    reads: tuple[str, ...]
    hosts: int = 1


def run(task: Task, number: int = 0, coordinator: str = "") -> Iterator[tuple[str, Any]]:
    """Runs a job, or a process of one that has several hosts.

    Args:
      task: the job.
      number: number of this host among several.
      coordinator: HOST:PORT on host 0 for jax.distributed.

    Yields:
      ("node", Ray's id of the node); ("text", output) any number of times; ("code", exit code) or
      ("error", reason).
    """
    import ray

    yield "node", ray.get_runtime_context().get_node_id()
    for path in (*task.reads, task.folder):
        if not os.path.exists(path):  # noqa: PTH110  a string on every node alike
            yield "error", f"does not see {path}; name a folder on a disk that all nodes share"
            return
    words = list(task.command)
    if words[0] == "python":
        words[0] = sys.executable
    if task.hosts > 1:
        words += [f"--coordinator_address={coordinator}", f"--num_processes={task.hosts}"]
        words.append(f"--process_id={number}")
    # Ray kills a dying worker's child, the first leash; the second one lets the job save, and ends it.
    words = [sys.executable, "-I", "-S", leash.__file__, "0", "--", *words]
    lock = Path(f"{task.lock}-{number}")
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        # All processes of the job inherit it: a new attempt waits for what a lost one left.
        refusal = "an earlier attempt still runs ({holder})"
        with held(lock, refusal, patience=_PATIENCE) as taken:
            started = Process(words, environment(Path(task.workdir)), taken.descriptor, task.folder)
            try:
                place, code = Here(), None
                while code is None:
                    place.wait([started], 1.0)
                    code = started.poll()
                    while text := started.read():
                        yield "text", text
                yield "code", code if code >= 0 else 128 - code
            finally:  # cancelled, perhaps
                started.stop()
                started.end(29)
    except InputError as error:
        yield "error", str(error)


def coordinator() -> str:
    """HOST:PORT of this node, a port that is free."""
    import ray

    with socket.socket() as probe:
        probe.bind(("", 0))
        return f"{ray.util.get_node_ip_address()}:{probe.getsockname()[1]}"
