import io
import json

import pytest
from rich.console import Console

from pipelines.local import view
from pipelines.local.runner import Job
from pipelines.local.state import DONE, FAILED, RUNNING, WAITING, Status
from pipelines.plan import runs

RECORD = {"step": 40, "epoch": 2.0, "loss": 1.2345, "images_per_second": 80.0}


@pytest.fixture
def run():
    """quickstart: 16 epochs of batches of 32."""
    return runs.make("quickstart", [], []).runs[0]


def job(folder, name="quickstart fold 0", fold=0) -> Job:
    result = folder / f"fold_{fold}" / "result.json"
    return Job(name, (), folder / "log", done=result, run="quickstart", fold=fold)


def test_progress_is_of_the_last_whole_line(tmp_path, run):
    assert view.progress(run, tmp_path) is None
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(RECORD | {"step": 20}) + "\n" + json.dumps(RECORD) + "\n" + '{"st')
    found = view.progress(run, tmp_path)
    assert found == view.Progress(step=40, steps=320, loss=1.2345, rate=80.0, left=280 * 32 / 80)


def test_steps_are_exact_where_the_config_counts_them(tmp_path):
    (run,) = runs.make("quickstart", ["--config.steps=100"], []).runs
    (tmp_path / "metrics.jsonl").write_text(json.dumps(RECORD) + "\n")
    found = view.progress(run, tmp_path)
    assert found is not None
    assert (found.steps, found.left) == (100, 60 * 32 / 80)


def test_the_table_shows_what_runs_and_counts_the_rest(tmp_path, run):
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    shown = view.LiveTable(1, {"quickstart": run}, console)
    jobs = [job(tmp_path, f"quickstart fold {k}", k) for k in range(4)]
    (tmp_path / "fold_1").mkdir()
    (tmp_path / "fold_1" / "metrics.jsonl").write_text(json.dumps(RECORD) + "\n")
    states = (DONE, RUNNING, FAILED, WAITING)
    statuses = {j.key: Status(state=s) for j, s in zip(jobs, states, strict=True)}
    console.print(shown.table(jobs, statuses))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 done, 1 failed, 1 waiting" in text
    (row,) = [line for line in text.splitlines() if "fold 1" in line]
    for cell in ("40/~320", "1.234", "80", "1 min 52 s"):
        assert cell in row
    assert "fold 0" not in text


def test_a_line_says_each_change(tmp_path):
    one = job(tmp_path)
    assert view.line(one, Status(RUNNING, attempts=1), 1) == "quickstart fold 0: started"
    assert view.line(one, Status(RUNNING, attempts=2), 1) == "quickstart fold 0: started, attempt 2"
    assert view.line(one, Status(WAITING, 1, error="full"), 1) == (
        "quickstart fold 0: attempt 1 of 2 failed: full"
    )
    assert view.line(one, Status(FAILED, 2, error="full", log="logs/x"), 1) == (
        "quickstart fold 0: failed: full (log: logs/x)"
    )
    assert one.done is not None
    one.done.parent.mkdir()
    one.done.write_text(json.dumps({"tasks": {"age": {"exact": 0.5, "years": {"mae": 7.25}}}}))
    assert view.line(one, Status(DONE, 1, seconds=75.2), 1) == (
        "quickstart fold 0: done in 1 min 15 s; age 50.0 %, MAE 7.25 years"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds, words):
    assert view.duration(seconds) == words


def test_a_table_on_a_terminal_and_lines_elsewhere():
    assert isinstance(view.make(1, {}), view.Lines)  # standard error is captured here
