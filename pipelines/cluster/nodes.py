"""The nodes of a Ray cluster as the place of jobs; the only file that imports Ray at its top."""

import contextlib
import logging
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import exceptions
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

import ageflax
from ageflax.errors import InputError, first_line
from pipelines.cluster import node
from pipelines.cluster.devices import Cluster, Device
from pipelines.local.runner import PREEMPTED, TAIL, Job, error_of

_SLICE, _WORKER, _POD = "ray.io/tpu-slice-name", "ray.io/tpu-worker-id", "ray.io/tpu-pod-type"


def _options(resources: dict[str, float]) -> dict[str, Any]:
    """Options of a Ray task that asks for resources."""
    rest = {k: v for k, v in resources.items() if k not in ("CPU", "GPU")}
    asked = {"num_cpus": resources.get("CPU", 0), "num_gpus": resources.get("GPU", 0)}
    return asked | {"resources": rest, "max_retries": 0}


class _Process:
    """A job on one node, or on several at once; see `pipelines.local.runner.Process`.

    Args:
      job: the job.
      tasks: iterator that yields () while hosts are being reserved, then the tasks, one per host.
      groups: placement groups that the iterator adds to.
      name_of: name of a node by Ray's id.
    """

    def __init__(
        self,
        job: Job,
        tasks: Iterator[Sequence[Any]],
        groups: list[PlacementGroup],
        name_of: Callable[[str], str],
    ):
        self._job, self._coming, self._groups, self._name_of = job, tasks, groups, name_of
        self.tasks: list[Any] = []  # that have not ended
        self._nodes: dict[Any, str] = {}
        self._tails: dict[Any, bytes] = {}
        self._hosts, self._code, self._text = 0, 0, b""
        self.node: str | None = None
        self.reason: str | None = None

    def begun(self) -> bool:
        """True once every host runs its part, or one has failed."""
        return 0 < self._hosts == len(self._nodes) or bool(self._nodes and self._code)

    def read(self) -> bytes:
        """Output of all hosts since the last call."""
        text, self._text = self._text, b""
        return text

    def poll(self) -> int | None:
        """Exit code, of the host that failed first if one did."""
        if not self._hosts:
            self.tasks = list(next(self._coming))
            self._hosts = len(self.tasks)
        for task in list(self.tasks):
            while task in self.tasks and ray.wait([task], timeout=0)[0]:
                self._hear(task)
        if self.tasks or not self._hosts:
            return None
        self._release()
        return self._code

    def stop(self) -> None:
        """Asks every host to save and end; ends what still waits for its node."""
        for task in self.tasks:
            ray.cancel(task)

    def end(self, seconds: float) -> None:
        """Waits for the end, after `seconds` by force."""
        deadline = time.monotonic() + seconds
        while self._hosts and self.poll() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                for task in self.tasks:
                    ray.cancel(task, force=True)
                break
            ray.wait(self.tasks, timeout=min(left, 1.0))
        self._release()

    def _hear(self, task: Any) -> None:
        """Takes what a task says next."""
        where = self._nodes.get(task, "a node")
        try:
            kind, value = ray.get(next(task))
        except StopIteration:
            self._over(task, 0)
        except exceptions.TaskCancelledError:
            self._over(task, PREEMPTED)
        except exceptions.NodeDiedError:
            self._over(task, PREEMPTED, f"{where} was lost, to be resumed", alone=False)
        except exceptions.RayError as error:
            self._over(task, 1, f"{where}: {first_line(error)}")
        else:
            if kind == "node":
                self._nodes[task] = self._name_of(value)
                self.node = ", ".join(self._nodes.values())
            elif kind == "text":
                self._text += value
                self._tails[task] = (self._tails.get(task, b"") + value)[-TAIL:]
            elif kind == "code" and value not in (0, PREEMPTED):
                tail = self._tails.get(task, b"")  # of several hosts' errors the first one counts
                self._over(task, value, error_of(value, tail, self._job.command))
            elif kind == "code":
                self._over(task, value)
            elif kind == "error":
                self._over(task, 1, f"{where}: {value}")

    def _over(self, task: Any, code: int, reason: str | None = None, *, alone: bool = True) -> None:
        """Notes that a host has ended; if it failed, the others are stopped."""
        self.tasks.remove(task)
        if self._code or not code:
            return
        self._code, self.reason = code, reason
        if code != PREEMPTED or not alone:  # hosts that save agree on it among themselves
            self.stop()

    def _release(self) -> None:
        while self._groups:
            remove_placement_group(self._groups.pop())


class Nodes:
    """A Ray cluster as the place of jobs; see `pipelines.local.runner.Place`.

    Args:
      cluster: resources of jobs.
      workdir: the pipeline's folder.
      token: file in it that every node must see.
    """

    def __init__(self, cluster: Cluster, workdir: Path, token: Path):
        self._cluster, self._workdir, self._token = cluster, workdir.absolute(), token
        self._names: dict[str, str] = {}

    def start(self, job: Job, slot: int) -> _Process:
        """Submits a job; it waits until nodes have its resources."""
        groups: list[PlacementGroup] = []
        return _Process(job, self._tasks(job, groups), groups, self.name_of)

    def wait(self, processes: Sequence[_Process], seconds: float) -> None:
        """Waits for output or an end, `seconds` at most."""
        tasks = [task for process in processes for task in process.tasks]
        if tasks:
            ray.wait(tasks, timeout=seconds)
        else:
            time.sleep(seconds)

    def clear(self, remaining: Sequence[_Process]) -> None:
        """Does nothing: each node ends its own."""

    def name_of(self, identity: str) -> str:
        """Name of a node: its own, or that of its machine."""
        if identity not in self._names:
            for found in ray.nodes():
                name, address = found["NodeName"], found["NodeManagerAddress"]
                machine = found["NodeManagerHostname"]
                self._names[found["NodeID"]] = machine if name == address else name
        return self._names.get(identity, identity[:8])

    def _tasks(self, job: Job, groups: list[PlacementGroup]) -> Iterator[Sequence[Any]]:
        """Submits a job's tasks once its hosts are known; see `_Process`."""
        device = Device("cpu") if job.fold is None else self._cluster.device
        hosts, resources = device.hosts, device.resources(self._cluster.cpus)
        program = "python" if job.command[0] == sys.executable else job.command[0]
        task = node.Task(
            command=(program, *job.command[1:]),
            folder=str(Path.cwd()),
            workdir=str(self._workdir),
            lock=str(self._workdir / ".locks" / job.log.stem),
            reads=(str(self._token), *map(str, job.reads)),
            hosts=hosts,
        )
        options = _options(resources) | {"name": job.key, "num_returns": "streaming"}
        work: Any = ray.remote(node.run)
        if hosts == 1:
            yield [work.options(**options).remote(task)]
            return
        selectors: list[dict[str, str]] = [{}] * hosts
        if device.slice:
            # The first host of a slice reserves it; the others of the same slice follow.
            head = placement_group(
                [{f"TPU-{device.slice}-head": 1}],
                bundle_label_selector=[{_WORKER: "0", _POD: device.slice}],
            )
            groups.append(head)
            ready = head.ready()
            while not ray.wait([ready], timeout=0)[0]:
                yield ()
            first = placement_group_table(head)["bundles_to_node_id"][0]
            labels = next(n["Labels"] for n in ray.nodes() if n["NodeID"] == first)
            # JAX numbers the hosts as the slice does.
            selectors = [{_SLICE: labels[_SLICE], _WORKER: str(k)} for k in range(hosts)]
        group = placement_group(
            [dict(resources) for _ in range(hosts)],
            "STRICT_SPREAD",
            bundle_label_selector=selectors,
        )
        groups.append(group)

        def at(number: int) -> PlacementGroupSchedulingStrategy:
            return PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number)

        where = ray.remote(node.coordinator).options(num_cpus=0, scheduling_strategy=at(0))
        address = where.remote()
        yield [
            work.options(scheduling_strategy=at(k), **options).remote(task, k, address)
            for k in range(hosts)
        ]

    def check(self) -> None:
        """Checks that all nodes see the workdir and have the same code.

        Raises:
          InputError: a node does not, or has other code.
        """
        package, token = str(Path(ageflax.__file__).parent), str(self._token)

        # Sent by value, so that a node without the code can run it too.
        def look() -> tuple[bool, str]:
            import hashlib
            import pathlib

            files = sorted(pathlib.Path(package).rglob("*.py"))
            code = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
            return pathlib.Path(token).exists(), code if files else ""

        _, own = look()
        alive = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")]
        looks = [
            ray.remote(look)
            .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(n, soft=False))
            .remote()
            for n in alive
        ]
        for identity, looked in zip(alive, looks, strict=True):
            try:
                sees, code = ray.get(looked)
            except exceptions.RayError:
                continue  # it has left
            where = self.name_of(identity)
            if not sees:
                raise InputError(
                    f"--workdir={self._workdir}: node {where} does not see files that are written"
                    " there; name a folder on a disk that all nodes share"
                )
            if code != own:
                raise InputError(
                    f"{package}: node {where} has {'other' if code else 'no'} code there; use one"
                    " checkout on a shared disk, or one image"
                )


@contextlib.contextmanager
def connected(cluster: Cluster, workdir: Path, say: Callable[[str], None]) -> Iterator[Nodes]:
    """Connects to a cluster for the duration of the block; at its end no job is left.

    Args:
      cluster: its address, and resources of jobs.
      workdir: the pipeline's folder, which all nodes must see.
      say: function that shows a line to the user.

    Raises:
      InputError: there is no cluster, or a node does not see the workdir.
    """
    host, _, port = cluster.address.rpartition(":")
    try:
        if host:  # Ray would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"--address={cluster.address}: no Ray cluster ({first_line(error)}); start one by"
            " `ray start --head`, and call this command on one of its nodes"
        ) from error
    token = workdir.absolute() / f".seen-{secrets.token_hex(4)}"
    try:
        for old in workdir.glob(".seen-*"):  # of a killed driver
            old.unlink(missing_ok=True)
        token.touch()
        nodes = Nodes(cluster, workdir, token)
        nodes.check()
        asked = cluster.device.resources(cluster.cpus)
        able = [
            n for n in ray.nodes()
            if n["Alive"] and all(n["Resources"].get(k, 0) >= v for k, v in asked.items())
        ]  # fmt: skip
        if len(able) < cluster.device.hosts:
            words = ", ".join(f"{k} {v:g}" for k, v in asked.items())
            say(f"{len(able)} nodes have {words}; folds wait until more join")
        yield nodes
    finally:
        token.unlink(missing_ok=True)
        ray.shutdown()
