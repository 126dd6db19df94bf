"""The command as a user runs it: in its own process, killed and started again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from ageflax import config as configuration
from ageflax import main
from tests.conftest import SMALL_FACES, small_file


@pytest.fixture
def command(tmp_path, data_dir, small_faces):
    """The command line of a small run of fold 0, without its workdir."""
    path = small_file(tmp_path, steps=120, every=20, log_every=10)
    return [sys.executable, "-m", "ageflax.main", f"--config={path}", "--config.fold=0",
            f"--config.data.dir={data_dir}"]  # fmt: skip


def start(command: list[str], workdir: Path) -> subprocess.Popen:
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        # Compiled once for all the processes of these tests.
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.values["jax_compilation_cache_dir"]),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [*command, f"--workdir={workdir}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def steps_logged(workdir: Path) -> int:
    path = workdir / "fold_0" / "metrics.jsonl"
    return len(path.read_text().splitlines()) * 10 if path.is_file() else 0


def test_killed_in_mid_fold_it_ends_as_if_it_had_not_been(command, tmp_path):
    straight = start(command, tmp_path / "straight")
    output, errors = straight.communicate(timeout=300)
    assert straight.returncode == 0, errors
    assert output.splitlines()[0].startswith(
        f"{SMALL_FACES}/1.0.0, cross_validation, test folds 0;"
    )
    assert output.splitlines()[2].startswith("age")

    killed = start(command, tmp_path / "killed")
    deadline = time.monotonic() + 300
    while steps_logged(tmp_path / "killed") < 40 and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert 40 <= steps_logged(tmp_path / "killed") < 120
    assert not (tmp_path / "killed" / "fold_0" / "result.json").exists()

    again = start(command, tmp_path / "killed")
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert "fold 0: resuming from step " in errors
    name = Path("fold_0") / "predictions.csv"
    assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "killed" / "fold_0" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(10, 121, 10))
    assert (tmp_path / "killed" / "report.html").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/levy.py"], "ageflax.main: --config=configs/levy.py: no such file; did you"),
        (["--config=configs/levi.py", "--config.fold=7"], "ageflax.main: fold = 7: must be between 0 and 4"),
        (["--config=configs/levi.py", "--workdri=x"], "ageflax.main: '--workdri=x': unknown argument"),
        (["--config=configs/levi.py", "--config.data.dir={tmp}", "--config.data.batch_size=48"],
         "ageflax.main: dataset adience/aligned is not built, and its source files are not in"),
    ],
)  # fmt: skip
def test_bad_input_is_exit_code_2_and_a_line_on_standard_error(
    arguments, message, capsys, tmp_path
):
    arguments = [word.format(tmp=tmp_path) for word in arguments]
    assert main.main([*arguments, f"--workdir={tmp_path / 'run'}"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.out == ""
    assert "Traceback" not in captured.err


def _wait(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_sigterm_saves_and_is_exit_code_143_and_a_second_process_is_refused(command, tmp_path):
    long = [*command, "--config.steps=20000", "--config.eval.every=10000"]
    running = start(long, tmp_path / "run")
    _wait(lambda: steps_logged(tmp_path / "run") >= 50)
    second = start(long, tmp_path / "run")
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 2
    lines = [line for line in errors.splitlines() if line.startswith("ageflax.main: ")]
    assert len(lines) == 1
    assert f"fold_0 is being trained by another process (process {running.pid} on " in lines[0]
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 143, errors
    assert "stopped by SIGTERM; the same command resumes" in errors
    assert "Traceback" not in errors
    (saved,) = (tmp_path / "run" / "fold_0" / "checkpoints").iterdir()
    assert int(saved.name) >= 50
    assert f"fold 0: told to stop; saved at step {saved.name}" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_first_step_is_exit_code_143_too(number, command, tmp_path):
    running = start(command, tmp_path / "run")
    _wait((tmp_path / "run" / "fold_0" / ".lock").exists)
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 143, errors
    assert f"stopped by {number.name}; the same command resumes" in errors
    assert "Traceback" not in errors


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_do_not_outlive_a_killed_run(command, tmp_path):
    words = ("--config.steps=20000", "--config.data.placement=stream", "--config.data.workers=1")
    running = start([*command, *words], tmp_path / "run")
    _wait(lambda: steps_logged(tmp_path / "run") >= 10)
    held = Path(f"/proc/{running.pid}/task").glob("*/children")
    children = [int(pid) for path in held for pid in path.read_text().split()]
    assert children
    running.kill()
    running.communicate(timeout=60)  # they hold its standard error
    _wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_ctrl_c_is_exit_code_130(command, tmp_path):
    # Far more steps than are waited for, so that a slow machine cannot miss the run.
    running = start([*command, "--config.steps=20000"], tmp_path / "run")
    deadline = time.monotonic() + 120
    while steps_logged(tmp_path / "run") < 50 and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "interrupted; the same command resumes from the last checkpoint" in errors
    assert "Traceback" not in errors


def test_help_needs_no_jax():
    code = (
        "import sys; sys.argv = ['x', '--help']\n"
        "from ageflax import main\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "assert 'jax' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--config FILE" in done.stdout
    for key in configuration.KEYS:
        assert re.search(rf"^  {re.escape(key)}\b", done.stdout, re.MULTILINE), key


@pytest.mark.parametrize(
    "content", [b"", b'{"config": {"steps": 20', b"\xff\xfe\x00", b"null", b"[]", b"{}", b'{"config": 3}']
)  # fmt: skip
def test_a_damaged_config_json_ends_the_run_and_is_not_overwritten(
    content, command, tmp_path, capsys
):
    damaged = tmp_path / "run" / "config.json"
    damaged.parent.mkdir()
    damaged.write_bytes(content)
    assert main.main([*command[3:], f"--workdir={damaged.parent}"]) == 2
    (line,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("ageflax.main: ")
    ]
    assert line.startswith(f"ageflax.main: {damaged}: ")
    assert line.endswith("; restore it or choose another --workdir")
    assert damaged.read_bytes() == content
    assert not list(damaged.parent.glob("fold_*/metrics.jsonl"))


def test_a_damaged_result_of_a_fold_is_named(command, tmp_path, capsys):
    damaged = tmp_path / "run" / "fold_0" / "result.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text('{"fold": 0')
    assert main.main([*command[3:], f"--workdir={tmp_path / 'run'}"]) == 2
    assert f"ageflax.main: {damaged}: damaged JSON (" in capsys.readouterr().err
    assert damaged.read_text() == '{"fold": 0'
