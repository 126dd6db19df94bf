"""The same folds as a Slurm array job: one line to submit, one script that says what each task runs."""

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
    """What a Slurm user submits.

    A task that is requeued goes on from its fold's last checkpoint; one whose fold is done ends at once.
    A fold that starts from another one waits for its result.

    Args:
      jobs: the folds.
      at_once: how many tasks may run at the same time.
      workdir: of the pipeline, on a disk that all nodes see.
      collect: the command that makes figures and pages of what is done.
    """
    remaining = [job for job in jobs if job.done is None or not job.done.exists()]
    if not remaining:
        return f"# every fold is done; figures and pages:\n{collect} --collect\n"
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
            "# For one GPU a fold; change that to your cluster's ways. When the array has ended:\n"
            f"#   {collect} --collect"
        ),
        array=f"0-{len(remaining) - 1}",
        at_once=at_once,
        logs=shlex.quote(str(logs)),
        here=shlex.quote(str(Path.cwd())),
        cases="\n".join(cases),
    )
