"""Tasks on Flyte 2, a thin layer over `pipelines.cluster.pods`.

    python -m pipelines.compare --configs=levi,resnet34 --workdir=runs/x --engine=flyte
      --endpoint=dns:///flyte.example.org --device=tpu-v5e-8 --archives=s3://bucket/adience

`compare_folds` is the workflow: datasets, folds (N at a time, each on its own device), pages.
A fold's cache key is its fingerprint of code, config, data and weights, and nothing else.
"""

import asyncio
import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

# Set before flyte is imported: remote runs report usage to its makers by default.
os.environ.setdefault("DO_NOT_TRACK", "1")

import flyte
from flyte.clustered import ClusteredTaskEnvironment, JaxRun
from flyte.io import Dir

from ageflax.errors import RunError, first_line
from pipelines.cluster import devices, pods
from pipelines.cluster.devices import Device
from pipelines.dataset import Source
from pipelines.plan import fingerprint, folders
from pipelines.plan.fingerprint import ROOT
from pipelines.plan.runs import Run, make

# Set by --image, and passed to every container, which imports this module too.
_IMAGE = "AGEFLAX_IMAGE"
# Set by --shared: a folder that all hosts of a TPU slice share.
_SHARED = "AGEFLAX_SHARED"
VARIABLES = {"DO_NOT_TRACK": "1"} | {k: os.environ[k] for k in (_IMAGE, _SHARED) if k in os.environ}
_EXTRAS = {"cpu": "", "gpu": "--extra cuda", "tpu": "--extra tpu"}


def _image(kind: str) -> str | flyte.Image:
    """The image of --image, or Debian with the project's dependencies for a kind of device."""
    if _IMAGE in os.environ:
        return os.environ[_IMAGE]
    base = flyte.Image.from_debian_base(python_version=(3, 12))
    return base.with_uv_project(ROOT / "pyproject.toml", extra_args=_EXTRAS[kind] or None)


def resources(device: Device) -> flyte.Resources:
    """A fold's Kubernetes resources on each host."""
    if device.kind == "cpu":
        return flyte.Resources(cpu=4, memory="16Gi", disk="50Gi")
    if device.kind == "tpu":
        # flyte.TPU() requests one chip for any slice.
        chips: Any = flyte.Device(device.count, "TPU", device.model, device.topology)
        return flyte.Resources(cpu=24, memory="48Gi", disk="50Gi", gpu=chips)
    gpus: Any = f"{device.model}:{device.count}" if device.model else device.count
    return flyte.Resources(cpu=8, memory="32Gi", disk="50Gi", shm="auto", gpu=gpus)


def _environment(kind: str) -> flyte.TaskEnvironment:
    usual = {"cpu": "cpu", "gpu": "gpu", "tpu": "tpu-v5e-4"}[kind]
    return flyte.TaskEnvironment(
        f"ageflax-{kind}",
        image=_image(kind),
        resources=resources(devices.parse(usual)),
        env_vars=VARIABLES,
    )


on_cpu, on_gpu, on_tpu = map(_environment, _EXTRAS)
on_v5e_16 = ClusteredTaskEnvironment(
    name="ageflax-v5e-16",
    image=_image("tpu"),
    resources=resources(devices.TPUS["tpu-v5e-16"]),
    env_vars=VARIABLES,
    replicas=devices.TPUS["tpu-v5e-16"].hosts,
    nproc_per_node=1,
    runtime=JaxRun(),
)
pages = flyte.TaskEnvironment(
    "ageflax",
    image=_image("cpu"),
    resources=resources(devices.parse("cpu")),
    env_vars=VARIABLES,
    depends_on=[on_cpu, on_gpu, on_tpu],
)


def _scratch() -> Path:
    """A new folder for a task, removed with its container, or with launch's folder in local mode."""
    return Path(tempfile.mkdtemp())


@dataclasses.dataclass
class Dataset:
    """A built dataset, passed between tasks."""

    folder: Dir
    fingerprint: str


@on_cpu.task
async def build_dataset(name: str, archives: Dir | None) -> Dataset:
    """Builds a dataset, from archives if its builder needs them."""
    folder = _scratch()
    manual = await archives.download(folder / "archives") if archives is not None else ""
    built = folder / "datasets"
    found = await asyncio.to_thread(pods.build, Source(name, str(built), manual))
    return Dataset(await Dir.from_local(built), found)


def dataset_task(name: str, where: str, *, retries: int) -> Any:
    """`build_dataset`, cached by the builder's code, the dataset's name and the archives' address."""
    version = fingerprint.digest([fingerprint.of_code(name).encode(), where.encode()])
    cache = flyte.Cache(behavior="override", version_override=version, ignored_inputs=("archives",))
    return build_dataset.override(cache=cache, retries=retries, short_name=f"data {name}")


async def _fold(
    request: str,
    name: str,
    fold: int,
    data: Dir,
    start: Dir | None,
    *,
    workdir: Path | None = None,
    place: tuple[str, ...] = (),
) -> Dir:
    folder = _scratch()
    made = make(*pods.Request.from_text(request).words(folder / "configs"))
    run = next(run for run in made.runs if run.name == name)
    held = await data.download(folder / "data")
    before = None
    if start is not None and run.start is not None:
        number = fold if run.start.fold is None else run.start.fold
        before = Path(await start.download(folder / "before")) / f"fold_{number}"
    left = await asyncio.to_thread(
        pods.train,
        run,
        fold,
        data=Path(held),
        start=before,
        workdir=workdir or folder / "work",
        held=Path(tempfile.gettempdir()) / "ageflax-start" if place else None,
        place=place,
    )
    return await Dir.from_local(left)


@on_cpu.task
async def fold_on_cpu(request: str, name: str, fold: int, data: Dir, start: Dir | None) -> Dir:
    """Trains and tests one fold."""
    return await _fold(request, name, fold, data, start)


@on_gpu.task
async def fold_on_gpu(request: str, name: str, fold: int, data: Dir, start: Dir | None) -> Dir:
    """Trains and tests one fold on the GPUs of one machine."""
    return await _fold(request, name, fold, data, start)


@on_tpu.task
async def fold_on_tpu(request: str, name: str, fold: int, data: Dir, start: Dir | None) -> Dir:
    """Trains and tests one fold on the TPU chips of one machine."""
    return await _fold(request, name, fold, data, start)


@on_v5e_16.task
async def fold_on_v5e_16(request: str, name: str, fold: int, data: Dir, start: Dir | None) -> Dir:
    """Trains and tests one fold on the TPU chips of four machines, a process on each.

    They share a folder that is named after the request, so that a later attempt resumes in it.
    """
    context = flyte.ctx()
    if context is None or context.rank is None or _SHARED not in os.environ:
        raise RunError(f"unknown rank of this host, or {_SHARED} is not set; use --shared=DIR")
    place = (
        f"--coordinator_address={context.master_addr}:{context.master_port}",
        f"--num_processes={context.world_size}",
        f"--process_id={context.rank}",
    )
    own = fingerprint.digest([request.encode()])[:12]
    workdir = Path(os.environ[_SHARED]) / f"{name}-{own}-{fold}"
    return await _fold(request, name, fold, data, start, workdir=workdir, place=place)


_FOLD_TASKS = {"cpu": fold_on_cpu, "gpu": fold_on_gpu, "tpu": fold_on_tpu}


def fold_task(device: Device, *, version: str, retries: int, label: str = "fold") -> Any:
    """The task of one fold.

    Args:
      device: device of the fold.
      version: fingerprint, the whole cache key; the inputs only say where the same things are.
      retries: maximum number of restarts.
      label: name in the console.
    """
    task = fold_on_v5e_16 if device.hosts > 1 else _FOLD_TASKS[device.kind]
    ignored = ("request", "name", "fold", "data", "start")
    cache = flyte.Cache(behavior="override", version_override=version, ignored_inputs=ignored)
    return task.override(
        resources=resources(device), cache=cache, retries=retries, short_name=label
    )


@dataclasses.dataclass
class Fold:
    """A finished or failed fold."""

    name: str
    fold: int
    folder: Dir | None
    error: str


@on_cpu.task
async def make_pages(request: str, folders: list[str], folds: list[Fold], data: list[Dir]) -> Dir:
    """Collects the folds and makes tables, reports and the comparison."""
    asked, folder = pods.Request.from_text(request), _scratch()
    work = folder / "work"
    runs = {name: work / below for name, below in zip(asked.configs, folders, strict=True)}
    came, errors = {}, {}
    for number, entry in enumerate(folds):
        if entry.folder is None:
            errors[entry.name, entry.fold] = entry.error
        else:
            held = await entry.folder.download(folder / "folds" / str(number))
            came[entry.name, entry.fold] = Path(held)
    for part in data:
        await part.download(folder / "data")
    pods.assemble(came, runs, errors)
    await asyncio.to_thread(
        pods.compare, asked, data=folder / "data", workdir=work, files=folder / "configs"
    )
    return await Dir.from_local(work)


@pages.task
async def compare_folds(
    request: str, device: str, archives: Dir | None, at_once: int, retries: int
) -> Dir:
    """The workflow; a failed fold does not stop the others.

    Args:
      request: `pods.Request` as text.
      device: name of each fold's device.
      archives: raw archives of the datasets.
      at_once: maximum number of concurrent folds.
      retries: maximum number of restarts of each task.
    """
    asked = pods.Request.from_text(request)
    made = make(*asked.words(_scratch()))
    wanted = devices.parse(device)
    names = list(dict.fromkeys(run.config.data.name for run in made.runs))
    where = str(archives.path) if archives is not None else ""
    built = await asyncio.gather(
        *(dataset_task(name, where, retries=retries)(name, archives) for name in names)
    )
    data = dict(zip(names, built, strict=True))
    versions = folders.fingerprints(
        made, {run.name: data[run.config.data.name].fingerprint for run in made.runs}
    )
    places = asyncio.Semaphore(at_once)
    pending: dict[tuple[str, int], asyncio.Task] = {}

    async def one(run: Run, fold: int) -> Dir:
        start = None
        if run.start is not None:
            number = fold if run.start.fold is None else run.start.fold
            start = await pending[run.start.name, number]
        task = fold_task(
            wanted,
            version=f"{versions[run.name]}-{fold}",
            retries=retries,
            label=f"{run.name} fold {fold}",
        )
        async with places:
            return await task(request, run.name, fold, data[run.config.data.name].folder, start)

    for run in made.runs:
        for fold in run.folds:
            pending[run.name, fold] = asyncio.create_task(one(run, fold))
    ended = await asyncio.gather(*pending.values(), return_exceptions=True)
    folds = [
        Fold(name, fold, None, first_line(came))
        if isinstance(came, BaseException)
        else Fold(name, fold, came, "")
        for (name, fold), came in zip(pending, ended, strict=True)
    ]
    below = [f"{name}-{versions[name][:12]}" for name in asked.configs]
    return await make_pages(request, below, folds, [found.folder for found in data.values()])
