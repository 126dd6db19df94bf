"""Folds as a Slurm array job: a line to submit, and a script that runs a fold per task."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from pipelines.local.runner import Job

_SCRIPT = """\
{comment}
sbatch --parsable --array={array}%{at_once} --job-name=ageflax --requeue \\
  --cpus-per-task=8 --gres=gpu:1 --output={logs}/slurm-%A_%a.log <<'END'
#!/bin/bash
cd {here} || exit 1
case "$SLURM_ARRAY_TASK_ID" in
{cases}
esac
END
"""


def script(jobs: Sequence[Job], *, at_once: int, workdir: Path, collect: str) -> str:
    """Shell script that submits the array job.

    A requeued task resumes from its fold's last checkpoint; it ends at once if the fold is done. A fold
    that starts from another one waits for its result.

    Args:
      jobs: the folds' jobs.
      at_once: maximum number of concurrent tasks.
      workdir: the pipeline's folder, on a disk shared by all nodes.
      collect: the command that makes figures and pages of finished folds.
    """
    remaining = [job for job in jobs if job.done is None or not job.done.exists()]
    if not remaining:
        return f"# every fold is done; for figures and pages:\n{collect} --collect\n"
    results = {job.key: job.done for job in jobs}
    cases = []
    for number, job in enumerate(remaining):
        waits = [
            f"until [ -e {shlex.quote(str(results[need]))} ]; do sleep 60; done;"
            for need in job.needs
        ]
        command = " ".join([*waits, f"exec {shlex.join(job.command)}"])
        cases.append(f"  {number}) {command} ;;  # {job.key}")
    logs = workdir.absolute() / "logs"
    return _SCRIPT.format(
        comment=(
            "# One GPU per fold; adapt the resources to your cluster. After the array has ended:\n"
            f"#   {collect} --collect"
        ),
        array=f"0-{len(remaining) - 1}",
        at_once=at_once,
        logs=shlex.quote(str(logs)),
        here=shlex.quote(str(Path.cwd())),
        cases="\n".join(cases),
    )
