import subprocess
import sys
from pathlib import Path

from pipelines.cluster import slurm
from pipelines.local.runner import Job


def job(name: str, folder: Path, **more) -> Job:
    command = (sys.executable, "-c", f"print('trained {name}, (and) \"more\"')")
    return Job(name, command, folder / "log", done=folder / f"{name}.done", **more)


def test_the_script_runs_each_missing_fold_by_its_task_number(tmp_path):
    (tmp_path / "b.done").touch()
    jobs = [job("a", tmp_path), job("b", tmp_path), job("c", tmp_path, needs=("b",))]
    text = slurm.script(jobs, at_once=4, workdir=tmp_path, collect="python -m pipelines.compare")
    assert "sbatch --parsable --array=0-1%4 " in text
    assert "#   python -m pipelines.compare --collect" in text
    # What sbatch would be given on standard input is a program of its own.
    script = text.partition("<<'END'\n")[2].removesuffix("END\n")
    for number, name in enumerate("ac"):
        done = subprocess.run(
            ["bash", "-c", script], env={"SLURM_ARRAY_TASK_ID": str(number)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == f'trained {name}, (and) "more"\n'
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_nothing_is_submitted_where_all_is_done(tmp_path):
    (tmp_path / "a.done").touch()
    text = slurm.script([job("a", tmp_path)], at_once=1, workdir=tmp_path, collect="python -m x")
    assert text == "# every fold is done; for figures and pages:\npython -m x --collect\n"
