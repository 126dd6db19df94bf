"""Jobs that wash built datasets and write their quality reports."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from ageflax.data.washing.report import REPORT as WASHED
from pipelines import dataset, python, quality
from pipelines.dataset import Source
from pipelines.local.runner import Job
from pipelines.local.state import Status
from pipelines.plan.folders import description_of
from pipelines.workflow.steps import Engine


@dataclasses.dataclass(frozen=True)
class Made:
    """Quality reports.

    Attributes:
      pages: a line with the path of each page.
      statuses: results of the jobs, by key.
    """

    pages: list[str]
    statuses: dict[str, Status]


def _jobs(source: Source, folder: Path, workdir: Path) -> list[Job]:
    wash = Job(
        key=f"wash {source.name}",
        command=python(
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
    """Washes every built dataset and writes its page, unless they are there already."""
    workdir = engine.options.workdir
    folders: dict[Source, Path] = {}
    for source in dict.fromkeys(sources.values()):
        path = description_of(source, workdir)
        if (found := dataset.described(path)) is not None:
            folders[source] = workdir / "quality" / f"{path.stem}-{found['fingerprint'][:8]}"
    jobs = [job for source, folder in folders.items() for job in _jobs(source, folder, workdir)]
    statuses = engine.run(jobs)
    pages = [f"quality: {folder / quality.PAGE}" for folder in folders.values()]
    return Made([p for p in pages if Path(p.removeprefix("quality: ")).exists()], statuses)
