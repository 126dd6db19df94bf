"""The dataset of a run: read, checked, labelled and placed."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jax.sharding import Mesh

from ageflax import config as configuration
from ageflax.config import Config
from ageflax.data import batches, pixel_cache, reading, splits, subjects
from ageflax.data.building import find, source
from ageflax.data.dataset import Faces, StoredDataset, Target
from ageflax.data.selection import select
from ageflax.errors import InputError
from ageflax.runtime import hosts
from ageflax.runtime.files import Json
from ageflax.runtime.progress import Progress

PLACEMENTS = ("device", "host", "stream")


@dataclasses.dataclass(frozen=True)
class Data:
    """The dataset of a run.

    Attributes:
      stored: dataset on disk.
      loaded: labels; and pixels, unless they are streamed.
      placed: "device", "host" or "stream".
      targets, usable, left_out: see data.selection.Selection.
    """

    stored: StoredDataset
    loaded: reading.LoadedFaces
    placed: str
    targets: dict[str, Target]
    usable: np.ndarray
    left_out: dict[str, int]

    @property
    def faces(self) -> Faces:
        """Labels of all faces."""
        return self.loaded.faces

    def source(self) -> Json:
        """Description of the data for results and bundles."""
        metadata = self.stored.metadata
        return {
            "name": self.stored.name,
            "faces": len(self.faces),
            **self.left_out,
            "edition": metadata.get("edition"),
            **source.described(metadata),
            "licence": metadata.get("licence"),
            "fingerprint": self.faces.fingerprint,
            "subjects": subjects.described(metadata, self.faces),
        }


def read(config: Config, mesh: Mesh, *, pixels: bool, say: Callable[[str], None]) -> Data:
    """Opens the dataset, building it if absent; decodes it if `pixels`, unless it is streamed.

    Raises:
      InputError: the dataset cannot be opened or built, or has no label for a task.
    """
    data = config.data
    # Process 0 builds an absent dataset first; processes with another disk then build their own.
    if not hosts.writer():
        hosts.meet("dataset built")
    stored = find.open_dataset(
        data.name,
        directory=data.dir,
        manual_dir=data.manual_dir,
        rebuild=data.rebuild,
        say=say,
    )
    if hosts.writer():
        hosts.meet("dataset built")
    chosen = batches.choose(
        data.placement,
        pixel_bytes=len(stored) * data.resize**2 * 3,
        share=data.memory_share,
        mesh=mesh,
    )
    # Hosts may differ in memory, but must run the same program.
    placed = PLACEMENTS[int(hosts.from_writer(np.array(PLACEMENTS.index(chosen), np.int32)))]
    decoding = None
    if pixels and placed != "stream":
        decoding = reading.Decoding(data.resize, data.interpolation)
    label = f"reading {stored.name}"
    with Progress(len(stored), unit="face", label=label) as progress:
        if data.prepared:
            loaded = pixel_cache.load(stored, decoding, progress=progress.update, say=say)
        else:
            loaded = reading.load(stored, decoding, progress=progress.update)
    splits.check_counts(loaded.faces, stored.counts)
    splits.check_subjects(loaded.faces)
    if notice := subjects.described(stored.metadata, loaded.faces)["notice"]:
        say(f"{stored.name}: {notice}")
    selected = select(
        loaded.faces,
        configuration.tasks(config),
        policy=data.label_policy,
        intervals=configuration.intervals(config),
        reading=config.eval.age,
        frontal=data.most_frontal,
        unreadable=loaded.unreadable,
    )
    for task, target in selected.targets.items():
        if not target.known.any():
            raise InputError(
                f"task {task}: no face of {stored.name} has a label for it"
                + (f" under data.label_policy={data.label_policy}" if task == "age" else "")
            )
    if loaded.unreadable:
        row, reason = next(iter(loaded.unreadable.items()))
        say(
            f"{len(loaded.unreadable)} images of {stored.name} no longer decode and are left out;"
            f" the first: {loaded.faces.keys[row]} ({reason})"
        )
    return Data(stored, loaded, placed, **vars(selected))


def check_classes(split: splits.Split, data: Data) -> None:
    """Raises InputError if a class has no training face: its recall would mean nothing."""
    for task, target in data.targets.items():
        if target.years is not None:  # years without a face are learned from their neighbours
            if not target.known[split.train].any():
                raise InputError(
                    f"testing fold {split.test_fold}: no training face has an age in years"
                )
            continue
        seen = set(target.classes[split.train].tolist())
        absent = [name for k, name in enumerate(target.names) if k not in seen]
        if absent:
            raise InputError(
                f"testing fold {split.test_fold}: no training face is of {task}"
                f" {', '.join(absent)}; use more faces or another data.label_policy"
            )


def place(config: Config, data: Data, mesh: Mesh) -> batches.Batches:
    """Source of batches that `Data.placed` names."""
    classes = {task: target.labels for task, target in data.targets.items()}
    if data.loaded.pixels is None:
        decoding = reading.Decoding(config.data.resize, config.data.interpolation)
        pixels = reading.StoredPixels(data.stored, decoding)
        return batches.StreamedBatches(pixels, classes, mesh, workers=config.data.workers)
    kind = batches.DeviceBatches if data.placed == "device" else batches.HostBatches
    return kind(data.loaded.pixels, classes, mesh)
