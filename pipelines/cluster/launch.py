"""Runs a plan on Flyte: compiled only, in this process, or on a cluster."""

import dataclasses
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ageflax.errors import InputError, RunError, first_line
from ageflax.runtime.progress import say
from pipelines.cluster import devices
from pipelines.cluster.pods import Request
from pipelines.plan.fingerprint import ROOT
from pipelines.plan.runs import Plan


@dataclasses.dataclass(frozen=True)
class Launch:
    """Options of a run on Flyte.

    Attributes:
      workdir: folder that the result is downloaded to.
      device: name of each fold's device.
      endpoint: address of the cluster; "" to run in this process, for trials.
      project: Flyte project.
      domain: Flyte domain.
      image: container image; "" to build one.
      archives: URI of raw archives; "" if the builders need none.
      shared: folder that all hosts of a TPU slice share.
      dry_run: True to compile and print a fold's task only.
      at_once: maximum number of concurrent folds.
      retries: maximum number of restarts of a failed fold.
    """

    workdir: Path
    device: str
    endpoint: str
    project: str
    domain: str
    image: str
    archives: str
    shared: str
    dry_run: bool
    at_once: int
    retries: int


def _check(plan: Plan, asked: Launch) -> None:
    if plan.refused:  # do not spend a cluster's time on a part of the runs
        raise InputError("; ".join(f"{name}: {reason}" for name, reason in plan.refused.items()))
    if not (ROOT / "pyproject.toml").is_file():
        raise InputError("--engine=flyte: sends the project's code; run it from a checkout")
    device = devices.parse(asked.device)
    if device.hosts > 1 and not asked.shared:
        raise InputError(
            f"--device={device.name}: {device.hosts} hosts write one run's checkpoints; name a folder"
            " that their containers share, such as a mounted volume, by --shared=DIR"
        )
    for run in plan.runs:
        weights = run.config.transfer.weights
        if weights and run.start is None and Path(weights).expanduser().exists():
            raise InputError(
                f"{run.name}: transfer.weights={weights} is on this machine, not on the cluster; give a"
                " name on the Hugging Face hub, or run:NAME"
            )


def compiled(task: Any, **inputs: Any) -> Any:
    """Compiles a task without a cluster (flyteidl2 TaskSpec)."""
    import flyte

    runner = flyte.with_runcontext(mode="remote", dry_run=True, copy_style="all")
    return runner.run(task, **inputs).task_spec  # type: ignore[attr-defined]


def _show(plan: Plan, asked: Launch) -> None:
    """Prints the container, resources and cache of a fold's task."""
    from pipelines.cluster import flyte_tasks

    task = flyte_tasks.fold_task(
        devices.parse(asked.device), version="FINGERPRINT-FOLD", retries=asked.retries
    )
    name = plan.runs[0].name
    spec = compiled(
        task, request="{}", name=name, fold=0, data=flyte_tasks.Dir(path=str(ROOT)), start=None
    )
    template = spec.task_template
    print(template.container.resources, template.extended_resources, sep="")
    print(template.metadata)
    if template.type == "clustered-task":
        print(template.custom)


def submit(plan: Plan, common: Sequence[str], own: Sequence[str], asked: Launch) -> None:
    """Runs the workflow and downloads its result into the workdir.

    Raises:
      InputError: Flyte is not installed, or an option is invalid.
      RunError: the workflow failed.
    """
    _check(plan, asked)
    os.environ["DO_NOT_TRACK"] = "1"
    if asked.image:
        os.environ["AGEFLAX_IMAGE"] = asked.image  # pipelines.cluster.flyte_tasks reads it
    if asked.shared:
        os.environ["AGEFLAX_SHARED"] = asked.shared  # likewise
    try:
        import flyte
    except ImportError:
        raise InputError(
            "--engine=flyte: needs Flyte 2; pip install 'ageflax[pipelines]'"
        ) from None
    from pipelines.cluster import flyte_tasks

    place = {"root_dir": ROOT, "project": asked.project, "domain": asked.domain}
    if asked.dry_run:
        flyte.init(**place)
        _show(plan, asked)
        return
    inputs = {
        "request": Request.of(plan, common, own).to_text(),
        "device": asked.device,
        "archives": flyte_tasks.Dir(path=asked.archives) if asked.archives else None,
        "at_once": asked.at_once,
        "retries": asked.retries,
    }
    asked.workdir.mkdir(parents=True, exist_ok=True)
    try:
        if asked.endpoint:
            flyte.init(endpoint=asked.endpoint, **place)
            run: Any = flyte.with_runcontext(mode="remote", copy_style="all").run(
                flyte_tasks.compare_folds, **inputs
            )
            say(f"{run.url}: waiting; the run continues if this command is interrupted")
            run.wait()
            run.outputs()[0].download_sync(asked.workdir)
        else:
            _run_here(flyte_tasks.compare_folds, inputs, asked.workdir, place)
    except flyte.errors.BaseRuntimeError as error:
        raise RunError(first_line(error)) from error
    print(f"comparison: {asked.workdir / 'compare.html'}")


def _run_here(task: Any, inputs: dict[str, Any], workdir: Path, place: dict[str, Any]) -> None:
    """Runs the tasks in this process, in Flyte's local mode; for trials only.

    Its cache would be in the home directory, and is off. Files of tasks are under the workdir, and
    removed. Failures are on the page; Flyte's log of tracebacks is off.
    """
    import flyte

    flyte.init(log_level=logging.CRITICAL, **place)
    with tempfile.TemporaryDirectory(dir=workdir) as raw:
        before, tempfile.tempdir = tempfile.tempdir, raw
        try:
            run: Any = flyte.with_runcontext(
                mode="local", raw_data_path=raw, disable_run_cache=True
            ).run(task, **inputs)
            run.outputs()[0].download_sync(workdir)
        finally:
            tempfile.tempdir = before
