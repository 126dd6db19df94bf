"""A real Ray cluster of processes: a head, and nodes that are killed and added."""

import dataclasses
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ageflax.errors import InputError
from ageflax.runtime import files
from pipelines.cluster import nodes
from pipelines.cluster.devices import Cluster, Device
from pipelines.local.runner import Job
from pipelines.local.state import DONE, RUNNING, WAITING, Status
from tests.conftest import small_file
from tests.pipelines import fakes
from tests.pipelines.test_runner import SAVES_WHEN_TOLD

SLICE = "v5litepod-16"


def add(cluster: Any, name: str, worker: int) -> None:
    """Adds a node of one CPU that takes itself for a host of a TPU slice."""
    cluster.named[name] = cluster.add_node(
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
    Processes: Any = pytest.importorskip("ray.cluster_utils").Cluster
    folder = tempfile.mkdtemp(prefix="ray-")  # pytest's are too long for sockets
    with pytest.MonkeyPatch.context() as patch:
        # Cluster notes its address in this folder's `ray`, which it expects to be there.
        patch.setenv("RAY_TMPDIR", folder)
        Path(folder, "ray").mkdir()
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": folder, "node_name": "head"}
        head |= {"no_monitor": True, "include_log_monitor": False}
        made: Any = Processes(initialize_head=True, head_node_args=head)
        made.named = {}
        add(made, "one", 1)
        add(made, "two", 0)
        yield made
        made.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def kill(cluster: Any, name: str) -> None:
    cluster.remove_node(cluster.named.pop(name), allow_graceful=False)


@pytest.fixture(scope="module")
def connection(cluster, tmp_path_factory) -> Iterator[nodes.Nodes]:
    """One connection for many tests: each starts its own worker processes."""
    asked = Cluster(cluster.address, Device("cpu"), 1)
    with nodes.connected(asked, tmp_path_factory.mktemp("ray"), lambda line: None) as made:
        yield made


def runner(cluster, folder: Path, device: Device | None = None) -> Any:
    """A runner of fake jobs on the cluster."""
    (folder / "token").touch()
    asked = Cluster(cluster.address, device or Device("cpu"), 1)
    return fakes.runner(folder, at_once=9, place=nodes.Nodes(asked, folder, folder / "token"))


def fold(name: str, folder: Path, body: str) -> Job:
    return dataclasses.replace(fakes.job(name, folder, body), fold=0)


def test_jobs_end_as_on_one_machine(cluster, connection, tmp_path):
    bodies = {
        "a": fakes.SUCCEED, "b": fakes.FAIL, "c": fakes.BAD_INPUT, "d": fakes.KILL_ITSELF,
        "e": fakes.FAIL_ONCE, "f": "sys.exit(143) if attempts == 1 else done()",
    }  # fmt: skip

    def ended(folder: Path, run: Any) -> dict[str, Status]:
        jobs = [fakes.job(n, folder, body) for n, body in bodies.items()]
        jobs.append(fakes.job("g", folder, fakes.SUCCEED, needs=("b",)))
        statuses = run.run(jobs)
        assert {s.node for s in statuses.values()} <= {None, "one", "two"}
        return {k: dataclasses.replace(s, seconds=0, node=None) for k, s in statuses.items()}

    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    alone = ended(here, fakes.runner(here))
    assert ended(there, runner(cluster, there)) == alone
    for name in "bcd":
        assert (there / f"logs/{name}.log").read_text() == (here / f"logs/{name}.log").read_text()


HOSTS = """
print(*sys.argv[-3:], flush=True)
if sys.argv[-1] == "--process_id=0":
    while not (folder / "second").exists():
        time.sleep(0.02)
    sys.exit("made up for the test")
(folder / "second").touch()
time.sleep(600)
"""


def test_the_hosts_of_a_slice_start_together_and_end_with_the_first_that_fails(
    cluster, connection, tmp_path
):
    made_up = Device("made-up", chips=4, slice=SLICE, hosts=2)
    run = runner(cluster, tmp_path, made_up)
    run.retries = 0
    status = run.run([fold("a", tmp_path, HOSTS)])["a"]
    assert (status.attempts, status.error) == (1, "made up for the test")
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


def test_a_killed_node_loses_its_jobs_to_others_and_that_is_no_failed_attempt(
    cluster, connection, tmp_path
):
    killed = []

    class Killing(fakes.Watched):
        def tick(self, jobs, statuses) -> None:
            status = statuses["a"]
            if not killed and status.state == RUNNING and (tmp_path / "a.pids").exists():
                killed.append(status.node)
                kill(cluster, status.node)
                add(cluster, "three", 2)

    run = runner(cluster, tmp_path)
    run.view, run.retries = Killing(), 0
    status = run.run([fold("a", tmp_path, ONCE_MORE)])["a"]
    assert (status.state, status.attempts) == (DONE, 1)
    assert [state for _, state in run.view.changes] == [RUNNING, WAITING, RUNNING, DONE]
    assert status.node not in killed
    assert (tmp_path / "logs/a.log").read_text() == "[]\n"


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_jobs_save_and_end_with_their_driver(cluster, tmp_path, number):
    running = fakes.pipeline(tmp_path, {"a": SAVES_WHEN_TOLD}, address=cluster.address)
    fakes.wait_for((tmp_path / "listens").exists, seconds=60)
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == (130 if number == signal.SIGTERM else -9), errors
    fakes.wait_for((tmp_path / "saved").exists)


@pytest.mark.long
def test_a_node_that_does_not_see_the_workdir_is_named(cluster, connection, tmp_path):
    place = runner(cluster, tmp_path).place
    hidden = ["unshare", "-rm", "sh", "-c"]
    if subprocess.run([*hidden, "mount -t tmpfs none /mnt"], capture_output=True).returncode:
        pytest.skip("mounts need privileges here")
    script = 'mount -t tmpfs none "$1" && shift && exec "$@"'
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
    ray += [f"--address={cluster.address}", "--node-name=blind"]
    with (tmp_path / "log").open("wb") as log:
        node = subprocess.Popen(
            [*hidden, script, "sh", str(tmp_path), *ray], stdout=log, stderr=log
        )
    message = (
        f"--workdir={tmp_path}: node blind does not see files that are written there; name a folder"
    )

    def named() -> bool:
        try:
            place.check()
            return False  # it has not joined yet
        except InputError as error:
            assert message in str(error)
            return True

    try:
        fakes.wait_for(named, seconds=60)
    finally:
        node.terminate()
        node.wait()


@pytest.fixture
def command(cluster, tmp_path, data_dir, small_faces):
    """Starts cross_validate over a fold of a small network, in a process of its own."""
    file = small_file(tmp_path, steps=48, every=8, log_every=4)

    def start(workdir: str, *words: str) -> subprocess.Popen[str]:
        words = (f"--workdir={tmp_path / workdir}", f"--configs=small={file}", *words)
        words += (f"--config.data.dir={data_dir}", "--config.folds=(0,)")
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cross_validate", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def predictions(workdir: Path) -> list[bytes]:
    return [
        (path / "predictions.csv").read_bytes() for path in sorted(workdir.glob("small-*/fold_?"))
    ]


def training(workdir: Path, pid: int) -> list[str]:
    """Nodes on which a fold of a pipeline has begun to learn and is not done."""
    state = files.read_json_or(workdir / "pipeline.json", {"process": 0, "jobs": {}})
    return [
        job["node"] for key, job in state["jobs"].items()
        if state["process"] == pid and job["state"] == RUNNING and any(workdir.glob(f"small-*/fold_{key[-1]}/metrics.jsonl"))
    ]  # fmt: skip


@pytest.mark.long
def test_a_fold_ends_as_on_one_machine_whatever_is_killed(cluster, command, tmp_path):
    local, away = tmp_path / "local", tmp_path / "away"
    there = ("--engine=ray", f"--address={cluster.address}", "--retries=0")
    first = command("away", *there)
    fakes.wait_for(lambda: training(away, first.pid), seconds=120)
    first.kill()
    first.communicate()
    again = command("away", *there)
    kill(cluster, fakes.wait_for(lambda: training(away, again.pid), seconds=120)[0])
    add(cluster, "four", 3)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert "was lost, to be resumed" in errors
    alone = command("local")
    _, told = alone.communicate(timeout=300)
    assert alone.returncode == 0, told
    assert len(predictions(local)) == 1
    assert predictions(away) == predictions(local)


@pytest.mark.long
def test_a_fold_trains_over_two_hosts(cluster, command, tmp_path):
    running = command("wide", "--engine=ray", f"--address={cluster.address}", "--hosts=2")
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    (record,) = (tmp_path / "wide").glob("small-*/config.json")
    assert files.read_json(record)["devices"] == {"cpu": 2}
    assert len(predictions(tmp_path / "wide")) == 1
