import dataclasses
import json
import os
import random
import signal
import sys
import time

import pytest

from pipelines.local import state
from pipelines.local.state import DONE, FAILED, RUNNING, WAITING
from tests.pipelines import fakes

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_a_failure_stops_no_other_and_is_noted_with_its_last_line(tmp_path):
    bodies = {"a": fakes.SUCCEED, "b": fakes.FAIL, "c": fakes.SUCCEED}
    runner = fakes.runner(tmp_path)
    statuses = runner.run([fakes.job(n, tmp_path, body) for n, body in bodies.items()])
    assert {key: status.state for key, status in statuses.items()} == {
        "a": DONE, "b": FAILED, "c": DONE,
    }  # fmt: skip
    assert statuses["b"].error == "made up for the test"
    assert (statuses["b"].exit_code, statuses["b"].attempts) == (1, 2)
    assert json.loads((tmp_path / "fold_b" / "failure.json").read_text()) == {
        "error": "made up for the test"
    }
    assert (tmp_path / statuses["b"].log).read_text() == "made up for the test\n" * 2
    assert not (tmp_path / "fold_a").exists()
    kept = json.loads((tmp_path / state.STATE).read_text())["jobs"]
    assert kept["b"] == {
        "state": "failed", "attempts": 2, "exit_code": 1, "error": "made up for the test",
        "seconds": statuses["b"].seconds, "log": "logs/b.log", "node": None,
    }  # fmt: skip


def test_what_fails_once_is_tried_again_and_bad_input_is_not(tmp_path):
    runner, seen = fakes.runner(tmp_path, retries=1), fakes.Watched()
    runner.view = seen
    statuses = runner.run(
        [fakes.job("once", tmp_path, fakes.FAIL_ONCE), fakes.job("bad", tmp_path, fakes.BAD_INPUT)]
    )
    assert (statuses["once"].state, statuses["once"].attempts) == (DONE, 2)
    assert statuses["once"].error is None
    assert (statuses["bad"].state, statuses["bad"].attempts) == (FAILED, 1)
    assert (statuses["bad"].exit_code, statuses["bad"].error) == (2, "no such key")
    assert not (tmp_path / "fold_once" / "failure.json").exists()
    changes = [change for key, change in seen.changes if key == "once"]
    assert changes == [RUNNING, WAITING, RUNNING, DONE]


def test_a_job_that_was_told_to_stop_goes_on_and_that_is_no_failed_attempt(tmp_path):
    body = "print(attempts, flush=True); done() if attempts > 2 else sys.exit(143)"
    statuses = fakes.runner(tmp_path, retries=0).run([fakes.job("a", tmp_path, body)])
    assert (statuses["a"].state, statuses["a"].attempts) == (DONE, 1)
    assert fakes.journal(tmp_path).count("start a") == 3
    assert (tmp_path / "logs" / "a.log").read_text() == "1\n2\n3\n"


SAVES_WHEN_TOLD = """
import signal
def told(number, frame):
    time.sleep(0.3)
    (folder / "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, told)
(folder / "listens").touch()
time.sleep(600)
"""


def test_sigterm_is_passed_on_and_what_a_fold_does_about_it_is_waited_for(tmp_path):
    running = fakes.pipeline(tmp_path, {"a": SAVES_WHEN_TOLD})
    fakes.wait_for((tmp_path / "listens").exists)
    running.terminate()
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert (tmp_path / "saved").exists()


def test_no_retries_means_one_attempt(tmp_path):
    statuses = fakes.runner(tmp_path, retries=0).run([fakes.job("a", tmp_path, fakes.FAIL)])
    assert (statuses["a"].state, statuses["a"].attempts) == (FAILED, 1)


def test_a_killed_job_is_told_by_its_signal_and_its_last_line(tmp_path):
    statuses = fakes.runner(tmp_path, retries=0).run([fakes.job("a", tmp_path, fakes.KILL_ITSELF)])
    assert statuses["a"].exit_code == 128 + signal.SIGKILL
    assert statuses["a"].error == "killed by SIGKILL (out of memory?); its last line: so far"


@pytest.mark.parametrize("at_once", [1, 2])
def test_n_at_a_time_in_their_order(tmp_path, at_once):
    bodies = dict.fromkeys("abcd", "time.sleep(0.3); done()")
    fakes.runner(tmp_path, at_once=at_once).run(
        [fakes.job(n, tmp_path, body) for n, body in bodies.items()]
    )
    running = most = 0
    for line in fakes.journal(tmp_path):
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    assert most == at_once
    assert set(fakes.journal(tmp_path)[:at_once]) == {f"start {name}" for name in "abcd"[:at_once]}


def test_a_job_waits_for_what_it_needs_and_fails_with_it(tmp_path):
    jobs = [
        fakes.job("after", tmp_path, fakes.SUCCEED, needs=("before",)),
        fakes.job("before", tmp_path, "time.sleep(0.2); done()"),
        fakes.job("never", tmp_path, fakes.SUCCEED, needs=("broken",)),
        fakes.job("broken", tmp_path, fakes.BAD_INPUT),
    ]
    statuses = fakes.runner(tmp_path).run(jobs)
    lines = fakes.journal(tmp_path)
    assert lines.index("end before") < lines.index("start after")
    assert (statuses["never"].state, statuses["never"].error) == (
        FAILED, "needs broken, which failed",
    )  # fmt: skip
    assert "start never" not in lines


def test_each_place_has_its_own_gpu(tmp_path):
    body = (
        "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(.3); done()"
    )
    places = [{"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "7"}]
    statuses = fakes.runner(tmp_path, per_slot=places).run(
        [fakes.job(name, tmp_path, body) for name in "ab"]
    )
    assert {(tmp_path / s.log).read_text() for s in statuses.values()} == {"4\n", "7\n"}


def test_started_again_only_what_is_missing_runs(tmp_path):
    bodies = {"a": fakes.SUCCEED, "b": fakes.FAIL}
    jobs = [fakes.job(n, tmp_path, body) for n, body in bodies.items()]
    first = fakes.runner(tmp_path, retries=0).run(jobs)
    assert (tmp_path / "fold_b" / "failure.json").exists()
    mended = [jobs[0], fakes.job("b", tmp_path, fakes.SUCCEED)]
    again = fakes.runner(tmp_path).run(mended)
    assert sorted(fakes.journal(tmp_path)) == ["end a", "end b", "start a", "start b", "start b"]
    assert {status.state for status in again.values()} == {DONE}
    assert again["a"] == first["a"]  # with the seconds that it took then
    assert not (tmp_path / "fold_b" / "failure.json").exists()


def test_what_a_command_says_is_kept_with_how_to_mend_it(tmp_path):
    (tmp_path / "tool.py").write_text(
        "import sys\nprint('reading')\nsys.exit('tool: no faces\\nput some there\\n  like this')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    job = dataclasses.replace(
        fakes.job("a", tmp_path, ""), command=(sys.executable, "-m", "tool", "--x")
    )
    runner = fakes.runner(tmp_path, retries=0, environment=environment)
    status = runner.run([job])["a"]
    assert status.error == "no faces\nput some there\n  like this"
    assert status.reason == "no faces"
    failure = json.loads((tmp_path / "fold_a" / "failure.json").read_text())
    assert failure == {"error": "no faces"}


def test_a_job_without_its_result_is_not_done_whatever_its_exit_code(tmp_path):
    statuses = fakes.runner(tmp_path, retries=0).run([fakes.job("a", tmp_path, "print('bye')")])
    assert (statuses["a"].state, statuses["a"].error) == (FAILED, "bye")


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_pipeline(tmp_path, number):
    bodies = {"a": fakes.HANG, "b": fakes.HANG}
    running = fakes.pipeline(tmp_path, bodies)
    pids = fakes.pids(tmp_path, ["a", "b"])
    assert all(map(fakes.alive, pids))
    running.send_signal(number)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == (-9 if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL:
        assert errors == "pipeline: interrupted, nothing runs on\n"
    fakes.wait_for(lambda: not any(map(fakes.alive, pids)), seconds=5)
    kept = json.loads((tmp_path / state.STATE).read_text())["jobs"]
    after = RUNNING if number == signal.SIGKILL else WAITING
    assert {job["state"] for job in kept.values()} == {after}


@linux
def test_a_killed_leash_takes_all_with_it_and_its_job_is_tried_again(tmp_path):
    running = fakes.pipeline(tmp_path, {"a": fakes.HANG}, at_once=1)
    first = fakes.pids(tmp_path, ["a"])
    (tmp_path / "a.pids").unlink()
    os.kill(fakes.parent(first[0]), signal.SIGKILL)
    second = fakes.pids(tmp_path, ["a"])
    assert not any(map(fakes.alive, first))
    assert fakes.journal(tmp_path) == ["start a", "start a"]
    running.kill()
    running.communicate()
    fakes.wait_for(lambda: not any(map(fakes.alive, second)), seconds=5)


@linux
def test_what_a_job_leaves_behind_is_ended_with_it(tmp_path):
    statuses = fakes.runner(tmp_path).run([fakes.job("a", tmp_path, fakes.LEAVE + "done()")])
    assert statuses["a"].state == DONE
    assert not fakes.alive(fakes.pids(tmp_path, ["a"])[1])


@linux
def test_killed_at_any_moment_its_state_is_whole_and_it_goes_on(tmp_path):
    bodies = {str(k): "time.sleep(0.05); done()" for k in range(12)}
    generator = random.Random(0)
    for _ in range(4):
        running = fakes.pipeline(tmp_path, bodies)
        time.sleep(generator.uniform(0.3, 0.8))
        running.kill()
        running.communicate()
        path = tmp_path / state.STATE
        if path.exists():
            json.loads(path.read_text())
    last = fakes.pipeline(tmp_path, bodies)
    _, errors = last.communicate(timeout=60)
    assert last.returncode == 0, errors
    kept = json.loads((tmp_path / state.STATE).read_text())["jobs"]
    assert {job["state"] for job in kept.values()} == {DONE}
    lines = fakes.journal(tmp_path)
    for name in bodies:  # what had its result was not started again
        after = lines[lines.index(f"end {name}") + 1 :] if f"end {name}" in lines else []
        assert f"start {name}" not in after


def test_two_pipelines_do_not_share_a_workdir(tmp_path, monkeypatch):
    first = fakes.pipeline(tmp_path, {"a": fakes.HANG}, at_once=1)
    fakes.pids(tmp_path, ["a"])
    monkeypatch.setattr(state, "_PATIENCE", 0.2)
    with (
        pytest.raises(
            state.InputError, match=rf"in use by another pipeline \(process {first.pid} on"
        ),
        state.locked(tmp_path),
    ):
        pass
    first.kill()
    first.communicate()
    monkeypatch.setattr(state, "_PATIENCE", 10.0)
    with state.locked(tmp_path):  # waits until the dying children are gone
        assert not (tmp_path / "a.done").exists()


def test_a_full_disk_is_said_once_and_ends_nothing(tmp_path, monkeypatch):
    said = []
    record = state.Record(tmp_path, [], said.append)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state.files, "write_json", full)
    record.set_job("a", state.Status())
    record.set_run("a", workdir="x")
    assert said == [f"{tmp_path}: cannot be written: No space left on device; going on"]


def test_a_workdir_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(state.InputError, match="cannot be written: Not a directory"),
        state.locked(tmp_path / "file" / "below"),
    ):
        pass
