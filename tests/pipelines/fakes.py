"""Fake jobs: small Python scripts that behave like ageflax.main, and a pipeline of them."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from pipelines.local.process import Here
from pipelines.local.runner import Job, Runner
from pipelines.local.state import Record, Status

# Notes when it starts and ends, so that a test sees what ran together, and how often.
_SCRIPT = """
import pathlib, subprocess, sys, time
name, folder, body = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
with (folder / "journal").open("a") as file:
    file.write(f"start {name}\\n")
attempts = (folder / "journal").read_text().count(f"start {name}\\n")
done = lambda: (folder / f"{name}.done").touch()
exec(body)
with (folder / "journal").open("a") as file:
    file.write(f"end {name}\\n")
"""

SUCCEED = "done()"
FAIL = "print('made up for the test', file=sys.stderr); sys.exit(1)"
BAD_INPUT = "print('no such key', file=sys.stderr); sys.exit(2)"
FAIL_ONCE = "done() if attempts > 1 else sys.exit('not yet')"
KILL_ITSELF = "import os; print('so far', flush=True); os.kill(os.getpid(), 9)"
# A grandchild in a session of its own, as a daemon would be; both process numbers are written down.
LEAVE = """
import os
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
(folder / f"{name}.pids").write_text(f"{os.getpid()} {grandchild.pid}")
"""
HANG = LEAVE + "time.sleep(600)"


def job(name: str, folder: Path, body: str, *, needs: tuple[str, ...] = ()) -> Job:
    return Job(
        key=name,
        command=(sys.executable, "-c", _SCRIPT, name, str(folder), body),
        log=folder / "logs" / f"{name}.log",
        done=folder / f"{name}.done",
        failure=folder / f"fold_{name}" / "failure.json",
        needs=needs,
    )


class Watched:
    """A view that keeps every change."""

    def __init__(self):
        self.changes: list[tuple[str, str]] = []

    def changed(self, job: Job, status: Status) -> None:
        self.changes.append((job.key, status.state))

    def tick(self, jobs, statuses) -> None:
        pass


def runner(folder: Path, *, at_once: int = 2, retries: int = 1, place=None, **more) -> Runner:
    record = Record(folder, ["test"], lambda line: None)
    return Runner(folder, at_once, retries, record, Watched(), place or Here(**more))


def journal(folder: Path) -> list[str]:
    path = folder / "journal"
    return path.read_text().splitlines() if path.exists() else []


def pipeline(
    folder: Path, bodies: dict[str, str], *, at_once: int = 2, address: str = ""
) -> subprocess.Popen:
    """Starts a process that runs fake jobs as a pipeline does: locked, interruptible, exit code 130.

    With an address they run on a Ray cluster.
    """
    code = """
import contextlib, json, pathlib, sys
from ageflax.runtime import command_line
from pipelines.local import leash, process, runner, state
from tests.pipelines import fakes
folder, bodies, at_once = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
def place(lock):
    if not sys.argv[4]:
        leash.adopt()
        return contextlib.nullcontext(process.Here(lock=lock))
    from pipelines.cluster import devices, nodes
    return nodes.connected(devices.Cluster(sys.argv[4], devices.Device("cpu"), 1), folder, print)
def run():
    with state.locked(folder) as lock, place(lock) as machines, runner.interruptible():
        fakes.runner(folder, at_once=at_once, place=machines).run(
            [fakes.job(name, folder, body) for name, body in bodies.items()])
sys.exit(command_line.run("pipeline", run, interrupted="interrupted, nothing runs on"))
"""
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), json.dumps(bodies), str(at_once), address],
        env=os.environ | {"PYTHONPATH": root},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds: float = 30.0):
    """The condition's value, once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def alive(pid: int) -> bool:
    """True if a process runs and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def pids(folder: Path, names: list[str]) -> list[int]:
    """Children and grandchildren of hanging jobs, once all of them are there."""

    def read() -> list[int]:
        found = []
        for name in names:
            path = folder / f"{name}.pids"
            words = path.read_text().split() if path.exists() else []
            if len(words) != 2:
                return []
            found += map(int, words)
        return found

    return wait_for(read)
