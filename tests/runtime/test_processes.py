"""Several real processes on loopback, each with devices of its own, against one process."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import pytest

from ageflax import config as configuration
from ageflax.errors import InputError
from ageflax.runtime import hosts
from ageflax.training import cross_validation
from tests.conftest import small_file, small_values

# The same command with less patience for a silent host.
IMPATIENT = (
    "-c",
    "import sys; from ageflax import main; from ageflax.runtime import peers; peers.LOST_AFTER = 15;"
    "sys.exit(main.main())",
)


@pytest.fixture
def start(tmp_path, data_dir, small_faces):
    """Starts N processes with four devices between them; ends what is left of them."""
    path, started = small_file(tmp_path, steps=50, every=25, log_every=2), []

    def start_all(
        count: int, workdir: Path, *words: str, entry: Sequence[str] = ("-m", "ageflax.main")
    ) -> list[subprocess.Popen]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(4 // count),
            "JAX_COMPILATION_CACHE_DIR": str(jax.config.values["jax_compilation_cache_dir"]),
        }
        found = [
            subprocess.Popen(
                [sys.executable, *entry, f"--config={path}", "--config.fold=0",
                 f"--config.data.dir={data_dir}", f"--workdir={workdir}", f"--process_id={number}",
                 f"--num_processes={count}", f"--coordinator_address=127.0.0.1:{port}", *words],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
            )
            for number in range(count)
        ]  # fmt: skip
        started.extend(found)
        return found

    yield start_all
    for process in started:
        process.kill()
        process.communicate()


def ended(processes: list[subprocess.Popen], code: int) -> list[tuple[str, str]]:
    """Output and errors of each process, once all ended as expected."""
    printed = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [code] * len(processes), printed
    return printed


def predicted(workdir: Path) -> tuple[list[str], np.ndarray]:
    with (workdir / "fold_0" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    numbers = [[float(v) for k, v in row.items() if "probability" in k] for row in rows]
    return [row["key"] for row in rows], np.array(numbers)


def until_logged(workdir: Path) -> None:
    """Waits until the first steps are taken."""
    path, deadline = workdir / "fold_0" / "metrics.jsonl", time.monotonic() + 200
    while not (path.exists() and path.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.005)


@pytest.mark.parametrize(("first", "then"), [(2, 1), pytest.param(4, 2, marks=pytest.mark.long)])
def test_stopped_they_go_on_as_fewer_and_train_what_one_trains(
    start, data_dir, tmp_path, first, then
):
    many, one = tmp_path / "many", tmp_path / "one"
    words = "--config.data.placement=stream"
    running = start(first, many, words)
    until_logged(many)
    running[-1].send_signal(signal.SIGTERM)  # one host is reclaimed; all save at one step
    codes = {process.wait(timeout=200) for process in running}
    printed = [process.communicate() for process in running]
    assert codes in ({143}, {0}), printed  # 0: all was done before they heard of it
    if codes == {143}:
        assert "fold 0: told to stop; saved at step " in printed[0][1]
        assert not (many / "fold_0" / "result.json").exists()
        printed = ended(start(then, many, words), 0)
        assert "fold 0: resuming from step " in printed[0][1]
    assert "one-off" in printed[0][0]
    for output, errors in printed[1:]:  # one speaks
        # Gloo, the CPUs' collectives, writes a line of its own a connection.
        assert [line for line in output.splitlines() if "connected peer ranks" not in line] == []
        assert "fold 0" not in errors
    config = configuration.resolve(small_values(data_dir), ("--config.steps=50", "--config.fold=0"))
    cross_validation.run(config, one, say=lambda line: None)
    keys, numbers = predicted(many)
    expected_keys, expected = predicted(one)
    assert keys == expected_keys  # each face once
    np.testing.assert_allclose(numbers, expected, atol=1e-4)


def test_a_host_that_dies_ends_the_others_in_words(start, tmp_path):
    running = start(2, tmp_path / "run", "--config.steps=20000", entry=IMPATIENT)
    until_logged(tmp_path / "run")
    running[1].kill()
    _, errors = running[0].communicate(timeout=120)
    assert running[0].returncode == 1, errors
    assert "the same command resumes from the last checkpoint" in errors.lower()
    assert "Traceback" not in errors


@pytest.mark.long
def test_without_process_0_the_others_end_at_once(start, tmp_path):
    running = start(2, tmp_path / "run", "--config.steps=20000", entry=IMPATIENT)
    until_logged(tmp_path / "run")
    running[0].kill()
    # It is process 0 that all are connected to: JAX aborts them, in its own words.
    _, errors = running[1].communicate(timeout=30)
    assert running[1].returncode in (-signal.SIGABRT, 1), errors
    assert "another task died" in errors or "the other processes do not answer" in errors


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("a:1", 2, None), "--process_id: needed too"),
        ((None, 2, 0), "--coordinator_address: needed too"),
        (("a", 2, 0), "--coordinator_address=a: expected HOST:PORT"),
        (("a:0", 2, 0), "expected HOST:PORT"),
        (("a:b", 2, 0), "expected HOST:PORT"),
        ((":1", 2, 0), "expected HOST:PORT"),
        (("a:1", 0, 0), "--num_processes=0: expected 1 or more"),
        (("a:1", 2, 2), "--process_id=2: expected 0 to 1"),
        (("a:1", 2, -1), "--process_id=-1: expected 0 to 1"),
    ],
)
def test_options_that_do_not_identify_the_process_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        hosts.placing(*given, distributed=False)


def test_without_options_a_process_is_alone_and_distributed_asks_the_cluster():
    assert hosts.placing(None, None, None, distributed=False) is None
    assert hosts.placing(None, None, None, distributed=True) == hosts.Placing()


def test_alone_nothing_is_shared_or_waited_for(tmp_path):
    assert hosts.alone() and hosts.writer()
    value = np.array([2**40, 3], np.uint64)
    np.testing.assert_array_equal(hosts.total(value), value)
    np.testing.assert_array_equal(hosts.from_writer(value), value)
    hosts.check_shared(tmp_path)
    hosts.meet("anywhere")
    assert not list(tmp_path.iterdir())
