"""A real cross-validation of a small network: two folds, one of them made to fail at first."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from pipelines import cross_validate, prepare
from pipelines.dataset import Source
from pipelines.local.state import DONE, Status
from pipelines.plan import folders, runs
from pipelines.workflow import steps
from tests.conftest import SMALL_FACES, small_file
from tfds_builders.labeled_faces.dummy_build import lay_out


@pytest.fixture
def call(tmp_path, data_dir, small_faces, monkeypatch):
    """Runs the command in a process of its own, with an empty home directory."""
    small_file(tmp_path, steps=8, every=8, log_every=4)
    (tmp_path / "home").mkdir()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "HOME": str(tmp_path / "home"),
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(jax.config.values["jax_compilation_cache_dir"]),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        for name in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            environment.pop(name, None)
        command = [sys.executable, "-m", "pipelines.cross_validate", f"--workdir={tmp_path / 'cv'}"]
        command += ["--retries=0", f"--config.data.dir={data_dir}", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


def test_a_fold_that_fails_is_told_and_the_next_call_does_only_that(call, tmp_path):
    small = tmp_path / "small.py"
    words = (f"--configs=good={small},bad={small}", "--set=bad:data.batch_size=5000")
    words += ("--config.folds=(0,1)", "--set=bad:folds=(0,)")
    script = call(*words, "--slurm")
    assert script.returncode == 0, script.stderr
    assert "sbatch --parsable --array=0-2%1 " in script.stdout
    kept = json.loads((tmp_path / "cv" / "pipeline.json").read_text())
    folder = tmp_path / "cv" / kept["runs"]["good"]["workdir"]

    # Where fold 1 wants to keep its checkpoints, there is a file.
    (folder / "fold_1").mkdir(parents=True)
    (folder / "fold_1" / "checkpoints").touch()
    first = call(*words)
    assert first.returncode == 1
    assert first.stderr.splitlines()[-1].endswith(
        "cv: incomplete, see above; the same command resumes with the missing folds and redoes nothing"
    )
    assert "Traceback" not in first.stdout + first.stderr
    lines = first.stdout.splitlines()
    assert lines[1].split()[:5] == ["good", "age", "1", "of", "2"]
    assert lines[2].split() == ["bad", "0", "of", "1"]
    assert lines[4].startswith("  good fold 1: ")
    assert "fold_1/checkpoints" in lines[4]
    assert lines[5].startswith("  bad fold 0: data.batch_size = 5000 is larger than")
    assert (folder / "fold_1" / "failure.json").exists()
    failure = next((tmp_path / "cv").glob("bad-*/fold_0/failure.json"))
    assert "data.batch_size = 5000" in json.loads(failure.read_text())["error"]
    before = (folder / "fold_0" / "result.json").stat()

    (folder / "fold_1" / "checkpoints").unlink()
    second = call(f"--configs=good={small}", "--config.folds=(0,1)")
    assert second.returncode == 0, second.stderr
    assert "good fold 0" not in second.stderr
    assert "good fold 1: done in" in second.stderr
    assert second.stdout.splitlines()[1].split()[:5] == ["good", "age", "2", "of", "2"]
    assert (folder / "fold_0" / "result.json").stat() == before
    assert not (folder / "fold_1" / "failure.json").exists()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["folds"] == [0, 1]
    record = json.loads((folder / "config.json").read_text())
    assert record["command"][:3] == ["python", "-m", "pipelines.cross_validate"]
    assert not list((tmp_path / "home").rglob("*"))  # nothing at all in the home directory


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--configs=levy"], "no such file; did you mean 'levi'?"),
        (["--configs=levi", "--jobs=0"], "--jobs=0: expected a whole number, 1 or more"),
        (["--configs=levi", "--retries=x"], "--retries=x: expected a whole number, 0 or more"),
        (["--configs=levi", "--device=gpu"], "--device: needs --engine=ray"),
        (["--configs=levi", "--engine=ray", "--gpus=0"], "use --device=gpu:N"),
        (["--configs=levi", "--engine=ray", "--device=tpu-v5e"], "did you mean 'tpu-v5e-"),
    ],
)
def test_bad_input_is_exit_code_2_and_a_line(words, message, tmp_path, capsys):
    assert cross_validate.main([*words, f"--workdir={tmp_path / 'x'}"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("pipelines.cross_validate: ")
    assert message in captured.err
    assert not (tmp_path / "x").exists()


def test_help_needs_no_jax_and_no_ray():
    code = (
        "import sys\n"
        "from pipelines import compare, cross_validate, prepare\n"
        "for command in (compare, cross_validate, prepare):\n"
        "    try: command.main(['--help'])\n"
        "    except SystemExit: pass\n"
        "assert not {'jax', 'ray', 'tensorflow_datasets'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("130 interrupted.") == 3


def placed(tmp_path: Path, configs: str, own: list[str]) -> list[folders.Placed]:
    """The runs of a plan in a workdir where every dataset has the same fingerprint."""
    made = runs.make(configs, ["--config.folds=(0,1)"], own)
    totals = folders.fingerprints(made, {run.name: "data" for run in made.runs})
    source = Source("x", "d", "")
    return [folders.Placed(run, source, totals[run.name], tmp_path / run.name) for run in made.runs]


def test_first_folds_come_first_and_wait_for_what_they_start_from(tmp_path):
    own = ["same:transfer.weights=run:base", "one:transfer.weights=run:base/1"]
    configs = "base=quickstart,same=quickstart,one=quickstart"
    jobs = steps.fold_jobs(placed(tmp_path, configs, own), tmp_path)
    assert [(job.key, job.needs) for job in jobs] == [
        ("base fold 0", ()),
        ("same fold 0", ("base fold 0",)),
        ("one fold 0", ("base fold 1",)),
        ("base fold 1", ()),
        ("same fold 1", ("base fold 1",)),
        ("one fold 1", ("base fold 1",)),
    ]
    with pytest.raises(steps.InputError, match="one fold 0: starts from base fold 4"):
        own[1] = "one:transfer.weights=run:base/4"
        steps.fold_jobs(placed(tmp_path, configs, own), tmp_path)


def test_only_runs_over_the_same_data_in_the_same_classes_are_compared(tmp_path):
    own = ["base:data.name=labeled_faces/others", "coarse:data.label_policy=nearest"]
    found = placed(tmp_path, "base=quickstart,one=quickstart,coarse=quickstart,two=quickstart", own)
    for entry in found:
        (entry.workdir / "fold_0").mkdir(parents=True)
        entry.result(0).write_text("{}")
    asked = []

    def run(jobs):
        asked.extend(jobs)
        return {job.key: Status(state=DONE) for job in jobs}

    engine: Any = SimpleNamespace(options=SimpleNamespace(workdir=tmp_path), run=run)
    lines = steps.Engine.compare(engine, found)
    assert lines == [
        f"comparison: {tmp_path / 'compare.html'}",
        "not compared (other data or classes): base",
        "not compared (other data or classes): coarse",
    ]
    assert [job.command[3:] for job in asked] == [
        (str(tmp_path / "one"), str(tmp_path / "two"), "--names=one,two",
         f"--output={tmp_path / 'compare.html'}")
    ]  # fmt: skip


def test_what_a_run_starts_from_is_in_its_fingerprint(tmp_path):
    own = ["tuned:transfer.weights=run:base"]
    configs = "base=quickstart,tuned=quickstart"
    first = {p.run.name: p.fingerprint for p in placed(tmp_path, configs, own)}
    own.append("base:seed=1")
    second = {p.run.name: p.fingerprint for p in placed(tmp_path, configs, own)}
    assert first["base"] != second["base"]
    assert first["tuned"] != second["tuned"]
    assert len({*first.values(), *second.values()}) == 4


@pytest.mark.parametrize(
    ("variable", "built", "expected"),
    [
        ("", False, "{work}/datasets"),
        ("/elsewhere", True, "/elsewhere"),
        ("", True, "{home}/tensorflow_datasets"),
    ],
)
def test_where_datasets_lie(variable, built, expected, tmp_path, monkeypatch):
    home, work = tmp_path / "home", tmp_path / "work"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    if variable:
        monkeypatch.setenv("TFDS_DATA_DIR", variable)
    if built:
        version = home / "tensorflow_datasets" / "adience" / "aligned" / "1.0.0"
        version.mkdir(parents=True)
        (version / "dataset_info.json").touch()
    found = folders.source_of("adience/aligned", "", "", work)
    assert found.directory == expected.format(home=home, work=work)
    assert folders.source_of("adience/aligned", "/mine", "", work).directory == "/mine"


def test_archives_that_are_not_there_are_asked_for(tmp_path, capsys):
    words = ["--data.name=adience/aligned", f"--workdir={tmp_path}", f"--data.dir={tmp_path / 'd'}"]
    assert prepare.main(words) == 2
    errors = capsys.readouterr().err
    assert "dataset adience/aligned is not built, and its source files are not in" in errors
    assert "fold_0_data.txt" in errors  # how to get it
    assert errors.splitlines()[-1].startswith("pipelines.prepare: data adience/aligned: dataset")
    assert "Traceback" not in errors


def test_prepare_compares_a_dataset_with_its_source_each_time(tmp_path, capsys):
    lay_out(tmp_path / "photographs")
    words = [f"--data.manual_dir={tmp_path / 'photographs'}", "--data.name=labeled_faces/mine"]
    words += [f"--workdir={tmp_path / 'work'}", f"--data.dir={tmp_path / 'datasets'}"]
    assert prepare.main(words) == 0
    first = capsys.readouterr().out
    assert prepare.main(words) == 0
    assert capsys.readouterr().out == first
    (tmp_path / "photographs/b.png").write_bytes((tmp_path / "photographs/h.png").read_bytes())
    assert prepare.main(words) == 2
    assert "1 of 6 images differ, the first: b.png; rebuild it with" in capsys.readouterr().err
    assert prepare.main([*words, "--data.rebuild"]) == 0
    assert capsys.readouterr().out != first  # the labels are the same, the photographs are not


def test_prepare_leaves_a_page_and_the_second_time_nothing_to_do(
    tmp_path, data_dir, small_faces, capsys
):
    words = [f"--data.name={SMALL_FACES}", f"--workdir={tmp_path}", f"--data.dir={data_dir}"]
    assert prepare.main(words) == 0
    captured = capsys.readouterr()
    page = Path(captured.out.removeprefix("quality: ").strip())
    assert small_faces.name in page.read_text()
    assert json.loads((page.parent / "quality.json").read_text())["faces"] == 160
    assert captured.err.count(": done in ") == 3
    assert prepare.main(words) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (f"quality: {page}\n", "")
