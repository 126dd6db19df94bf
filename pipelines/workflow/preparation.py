"""Wash and quality report of datasets that are built, as jobs."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

from ageflax.data.washing.report import REPORT as WASHED
from pipelines import dataset, quality
from pipelines.dataset import Source
from pipelines.local.runner import Job
from pipelines.local.state import Status
from pipelines.plan.folders import description_of
from pipelines.workflow.steps import Engine


@dataclasses.dataclass(frozen=True)
class Made:
    """What came of it.

    Attributes:
      pages: lines that say where each page is.
      statuses: of the jobs.
    """

    pages: list[str]
    statuses: dict[str, Status]


def _jobs(source: Source, folder: Path, workdir: Path) -> list[Job]:
    wash = Job(
        key=f"wash {source.name}",
        command=(
            sys.executable,
            "-m",
            "ageflax.wash",
            f"--data.name={source.name}",
            f"--data.dir={source.directory}",
            f"--output={folder}",
        ),
        log=workdir / "logs" / f"wash-{folder.name}.log",
        done=folder / WASHED,
    )
    page = Job(
        key=f"quality {source.name}",
        command=quality.command(source.name, source.directory, folder),
        log=workdir / "logs" / f"quality-{folder.name}.log",
        done=folder / quality.REPORT,
        needs=(wash.key,),
    )
    return [wash, page]


def quality_pages(engine: Engine, sources: Mapping[str, Source]) -> Made:
    """Washes every dataset that is there and writes its page; what is written already stays."""
    workdir = engine.options.workdir
    folders: dict[Source, Path] = {}
    for source in dict.fromkeys(sources.values()):
        path = description_of(source, workdir)
        described = dataset.told(path)
        if described is not None:
            folders[source] = workdir / "quality" / f"{path.stem}-{described['fingerprint'][:8]}"
    jobs = [job for source, folder in folders.items() for job in _jobs(source, folder, workdir)]
    statuses = engine.run(jobs)
    pages = [f"quality: {folder / quality.PAGE}" for folder in folders.values()]
    return Made([p for p in pages if Path(p.removeprefix("quality: ")).exists()], statuses)
