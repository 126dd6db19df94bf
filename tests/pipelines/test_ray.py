"""A real Ray cluster of processes: a head, and nodes that are killed and added."""

import contextlib
import dataclasses
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

from ray.cluster_utils import Cluster as Processes

from pipelines.cluster import nodes
from pipelines.cluster.devices import Cluster, Device
from pipelines.local.runner import Job
from pipelines.local.state import DONE, RUNNING, WAITING, Status
from tests.pipelines import fakes

SLICE = "v5litepod-16"


def add(cluster: Any, name: str, worker: int) -> Any:
    """Adds a node of one CPU that takes itself for a host of a TPU slice."""
    return cluster.add_node(
        num_cpus=1,
        node_name=name,
        object_store_memory=80 << 20,
        resources={"TPU": 4, f"TPU-{SLICE}-head": int(worker == 0)},
        labels={
            "ray.io/tpu-slice-name": "made-up",
            "ray.io/tpu-pod-type": SLICE,
            "ray.io/tpu-worker-id": str(worker),
        },
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs and two nodes of one CPU, the second the first host of a slice."""
    folder = tempfile.mkdtemp(prefix="ray-")  # pytest's are too long for sockets
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": folder, "node_name": "head"}
        made = Processes(initialize_head=True, head_node_args=head)
        made.named = {name: add(made, name, worker) for name, worker in (("one", 1), ("two", 0))}
        yield made
        made.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def connected(cluster, folder: Path, device: Device | None = None) -> Iterator[Any]:
    """A runner of fake jobs on the cluster."""
    asked = Cluster(cluster.address, device or Device("cpu"), 1)
    with nodes.connected(asked, folder, lambda line: None) as place:
        yield fakes.runner(folder, at_once=9, place=place)


def fold(name: str, folder: Path, body: str) -> Job:
    return dataclasses.replace(fakes.job(name, folder, body), fold=0)


def test_jobs_end_as_on_one_machine(cluster, tmp_path):
    bodies = {
        "a": fakes.SUCCEED, "b": fakes.FAIL, "c": fakes.BAD_INPUT, "d": fakes.KILL_ITSELF,
        "e": fakes.FAIL_ONCE, "f": "sys.exit(143) if attempts == 1 else done()",
    }  # fmt: skip

    def ended(folder: Path, runner) -> dict[str, Status]:
        jobs = [fakes.job(n, folder, body) for n, body in bodies.items()]
        jobs.append(fakes.job("g", folder, fakes.SUCCEED, needs=("b",)))
        statuses = runner.run(jobs)
        assert {s.node for s in statuses.values()} <= {None, "one", "two"}
        return {k: dataclasses.replace(s, seconds=0, node=None) for k, s in statuses.items()}

    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    alone = ended(here, fakes.runner(here))
    with connected(cluster, there) as runner:
        assert ended(there, runner) == alone
    for name in "bcd":
        assert (there / f"logs/{name}.log").read_text() == (here / f"logs/{name}.log").read_text()
    assert not list(there.glob(".seen-*"))


HOSTS = """
print(*sys.argv[-3:], flush=True)
if sys.argv[-1] == "--process_id=0":
    sys.exit("made up for the test")
time.sleep(600)
"""


def test_the_hosts_of_a_slice_start_together_and_end_with_the_first_that_fails(cluster, tmp_path):
    made_up = Device("made-up", chips=4, slice=SLICE, hosts=2)
    with connected(cluster, tmp_path, made_up) as runner:
        status = runner.run([fold("a", tmp_path, HOSTS)])["a"]
    assert (status.attempts, status.error) == (2, "made up for the test")
    assert sorted(status.node.split(", ")) == ["one", "two"]
    told = (tmp_path / "logs/a.log").read_text()
    assert re.search(
        r"^--coordinator_address=[\d.]+:\d+ --num_processes=2 --process_id=0$", told, re.M
    )


# Hangs on its first node. On the second it notes whether a process of the first is left.
ONCE_MORE = f"""
if attempts == 1:
    exec({fakes.HANG!r})
before = (folder / f"{{name}}.pids").read_text().split()
print([pid for pid in before if pathlib.Path("/proc", pid).exists()])
done()
"""


def test_a_killed_node_loses_its_jobs_to_others_and_that_is_no_failed_attempt(cluster, tmp_path):
    runner: Any
    killed = []

    class Killing(fakes.Watched):
        def tick(self, jobs, statuses) -> None:
            status = statuses["a"]
            if not killed and status.state == RUNNING and (tmp_path / "a.pids").exists():
                killed.append(status.node)
                cluster.remove_node(cluster.named.pop(status.node), allow_graceful=False)
                cluster.named["three"] = add(cluster, "three", 2)

    with connected(cluster, tmp_path) as runner:
        runner.view = Killing()
        runner.retries = 0
        status = runner.run([fold("a", tmp_path, ONCE_MORE)])["a"]
    assert (status.state, status.attempts) == (DONE, 1)
    assert [state for _, state in runner.view.changes] == [RUNNING, WAITING, RUNNING, DONE]
    assert status.node not in killed
    assert (tmp_path / "logs/a.log").read_text() == "[]\n"
