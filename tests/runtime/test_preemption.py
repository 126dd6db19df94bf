"""SIGTERM at any step of a run, and how the run resumes."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time

import jax
import pytest

from ageflax import config as configuration
from ageflax.runtime import hosts, preemption
from ageflax.training import cross_validation
from tests.conftest import small_values
from tests.training.test_cross_validation import metrics_of

# Everything that has a state of its own: batch norm, averaged weights, the losses' balance, momentum,
# a layer that is unfrozen on the way, patience.
EVERYTHING = (
    "--config.task=joint", "--config.model.dtype=bfloat16",
    "--config.optim.name=adamw", "--config.optim.lr_multipliers=()", "--config.optim.ema=0.9",
    "--config.loss.balance=uncertainty", "--config.data.mixup=0.4", "--config.eval.patience=9",
    "--config.eval.checkpoint=best",
    "--config.transfer.frozen=('trunk/conv1/.*',)", "--config.transfer.unfreeze=(('trunk/.*', 5),)",
)  # fmt: skip
PLACEMENTS = {
    "host": ("--config.data.placement=host",),
    "device": ("--config.data.placement=device", "--config.data.dispatch=2", *EVERYTHING),
    "stream": ("--config.data.placement=stream", "--config.data.workers=1"),
}
# At which of its questions each process is told to stop: between two log lines, in a validation, and
# at the step after it.
STOPS = {"host": (3, 1, 3), "device": (1, 1, 2), "stream": (3,)}
STOPPED_AT = {"host": (3, 4, 6), "device": (2, 4, 5), "stream": (3,)}


@pytest.fixture(autouse=True)
def promotion():
    """optax's Adam raises a float to its whole-number count, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True)
def forgotten():
    """A process that was told to stop stays told; what is tested after this file shares the process."""
    yield
    preemption._State.asked = False
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def lines_of(fold) -> list[dict]:
    timed = ("images_per_second", "saving_seconds")
    return [{k: v for k, v in line.items() if k not in timed} for line in metrics_of(fold)]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_stopped_at_any_step_it_goes_on_to_the_bit(
    placement, data_dir, small_faces, tmp_path, monkeypatch
):
    words = ("--config.fold=1", *PLACEMENTS[placement])
    config = configuration.resolve(small_values(data_dir), words)
    said: list[str] = []
    cross_validation.run(config, tmp_path / "straight", say=said.append)
    for stop, step in zip(STOPS[placement], STOPPED_AT[placement], strict=True):
        asked = iter(range(1, 100))
        with monkeypatch.context() as patch:
            patch.setattr(hosts, "stopping", lambda asked=asked, stop=stop: next(asked) >= stop)
            with pytest.raises(preemption.Preempted):
                cross_validation.run(config, tmp_path / "stopped", say=said.append)
        assert said[-1] == f"fold 1: told to stop; saved at step {step}"
    cross_validation.run(config, tmp_path / "stopped", say=said.append)
    straight, stopped = (tmp_path / name / "fold_1" for name in ("straight", "stopped"))
    assert lines_of(stopped) == lines_of(straight)
    for name in ("predictions.csv", "bundle/model.safetensors"):
        assert (stopped / name).read_bytes() == (straight / name).read_bytes(), name


def test_going_on_elsewhere_is_said(data_dir, small_faces, tmp_path, monkeypatch):
    config = configuration.resolve(small_values(data_dir), ("--config.fold=1",))
    with monkeypatch.context() as patch:
        patch.setattr(hosts, "stopping", lambda: True)
        with pytest.raises(preemption.Preempted):
            cross_validation.run(config, tmp_path, say=lambda line: None)
    mesh = cross_validation.make_mesh(jax.devices()[:1])
    monkeypatch.setattr(cross_validation, "make_mesh", lambda: mesh)
    said = []
    cross_validation.run(config, tmp_path, say=said.append)
    assert "fold 1: resuming from step 1 of 8" in said
    assert "fold 1: devices 4 -> 1: the same but for rounding" in said


def test_the_signal_is_raised_where_nothing_is_to_be_saved():
    with pytest.raises(preemption.Preempted), preemption.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(30)


def test_a_lost_terminal_stops_it_as_well():
    with pytest.raises(preemption.Preempted) as stopped, preemption.listening():
        os.kill(os.getpid(), signal.SIGHUP)
        threading.Event().wait(30)
    assert str(stopped.value) == "SIGHUP"


def test_a_lost_terminal_is_ignored_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with preemption.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not preemption.asked()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


ON_A_TERMINAL = """
import fcntl, sys, termios, time
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from pathlib import Path
from ageflax.runtime import command_line, preemption, progress

def train():
    with preemption.listening(), preemption.deferred():
        Path(sys.argv[1]).touch()
        while not preemption.asked():
            time.sleep(0.01)
        progress.say("saved")  # would fail: the terminal is gone
        Path(sys.argv[1]).write_text("saved")

sys.exit(command_line.run("train", train))
"""


def test_what_is_printed_to_a_lost_terminal_does_not_keep_it_from_saving(tmp_path):
    terminal, inside = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, str(tmp_path / "file")],
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
    )  # fmt: skip
    os.close(inside)
    deadline = time.monotonic() + 60
    while not (tmp_path / "file").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.close(terminal)  # the kernel sends SIGHUP
    assert running.wait(timeout=60) == 143
    assert (tmp_path / "file").read_text() == "saved"


def test_the_signal_is_raised_again_where_a_finaliser_swallowed_it(capsys):
    class Finalised:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0)  # where the handler runs

    with pytest.raises(preemption.Preempted), preemption.listening():
        Finalised()
        assert not preemption.asked()
        threading.Event().wait(30)
    assert capsys.readouterr().err == ""


def test_and_noted_and_raised_at_the_end_where_something_is():
    reached = []
    with pytest.raises(preemption.Preempted), preemption.listening(), preemption.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.asked()
        reached.append(True)
    assert reached


def test_a_main_thread_that_does_not_come_back_is_not_waited_for():
    code = (
        "import os, signal, threading\n"
        "from ageflax.runtime import preemption\n"
        "preemption.PATIENCE = 0.1\n"
        "with preemption.listening(), preemption.deferred():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    threading.Event().wait(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 143
    assert done.stderr.startswith(
        "ageflax: still busy 0 seconds after SIGTERM; ended. The same command "
    )


def test_a_process_that_goes_on_by_its_own_choice_is_left_alone():
    code = (
        "import os, signal, threading\n"
        "from ageflax.runtime import preemption\n"
        "preemption.PATIENCE = 0.1\n"
        "try:\n"
        "    with preemption.listening():\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        threading.Event().wait(60)\n"
        "except preemption.Preempted:\n"
        "    for thread in threading.enumerate():\n"
        "        if thread.name == 'preemption':\n"
        "            thread.join()\n"
        "    print('on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (0, "on\n", "")


def test_one_that_has_ended_is_not_kept_by_threads_of_others():
    code = (
        "import os, signal, sys, threading\n"
        "from ageflax.runtime import preemption\n"
        "preemption.PATIENCE = 0.1\n"
        "threading.Thread(target=threading.Event().wait, args=(60,)).start()\n"
        "try:\n"
        "    with preemption.listening():\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        threading.Event().wait(60)\n"
        "except preemption.Preempted:\n"
        "    sys.exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert done.returncode == 143
