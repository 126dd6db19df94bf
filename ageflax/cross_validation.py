"""All folds of a run: the same protocol K times, and the figures over them."""

import dataclasses
import importlib.metadata
import platform
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ageflax import __version__, files, model_card, placement, program, summary, train
from ageflax import config as configuration
from ageflax.config import Config
from ageflax.data import build, pipeline, prepared, splits
from ageflax.data.dataset import Faces, StoredDataset, Target
from ageflax.data.frontal import most_frontal
from ageflax.errors import InputError
from ageflax.progress import Progress
from ageflax.sharding import check_divides, make_mesh
from ageflax.weights import transfer

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "pillow")


@dataclasses.dataclass(frozen=True)
class _Data:
    """A dataset, read and given its classes."""

    stored: StoredDataset
    loaded: pipeline.LoadedFaces
    placed: str
    targets: dict[str, Target]
    usable: np.ndarray
    left_out: dict[str, int]

    @property
    def faces(self) -> Faces:
        return self.loaded.faces

    def source(self) -> dict[str, Any]:
        """What results and bundles say of the data."""
        metadata = self.stored.metadata
        return {
            "name": self.stored.name,
            "faces": len(self.faces),
            **self.left_out,
            "edition": metadata.get("edition"),
            "licence": metadata.get("licence"),
            "fingerprint": self.faces.fingerprint,
        }


def _read(config: Config, mesh: Mesh, *, pixels: bool, say: Callable[[str], None]) -> _Data:
    """Opens (or builds) the dataset, and with `pixels` decodes it where it is to be kept."""
    data = config.data
    stored = build.open_dataset(data.name, directory=data.dir, manual_dir=data.manual_dir, say=say)
    placed = placement.choose(
        data.placement,
        pixel_bytes=len(stored) * data.resize**2 * 3,
        share=data.memory_share,
        mesh=mesh,
    )
    decoding = None
    if pixels and placed != "stream":
        decoding = pipeline.Decoding(data.resize, data.interpolation)
    label = f"reading {stored.name}"
    with Progress(len(stored), unit="face", label=label) as progress:
        if data.prepared:
            loaded = prepared.load(stored, decoding, progress=progress.update, say=say)
        else:
            loaded = pipeline.load(stored, decoding, progress=progress.update)
    splits.check_persons(loaded.faces)
    intervals = configuration.intervals(config)
    targets = {
        task: loaded.faces.target(task, policy=data.label_policy, intervals=intervals)
        for task in configuration.tasks(config)
    }
    for task, target in targets.items():
        if not target.known.any():
            raise InputError(
                f"task {task}: no face of {stored.name} has a label for it"
                + (f" under data.label_policy={data.label_policy}" if task == "age" else "")
            )
    usable = np.any([target.known for target in targets.values()], axis=0)
    left_out = {"without_label": int((~usable).sum()), "unreadable": len(loaded.unreadable)}
    usable[list(loaded.unreadable)] = False
    if data.most_frontal:
        keys, scores = loaded.faces.keys, np.where(usable, loaded.faces.scores, np.nan)
        frontal = most_frontal(keys, scores, data.most_frontal)
        left_out["not_frontal"] = int((usable & ~frontal).sum())
        usable &= frontal
    if loaded.unreadable:
        row, reason = next(iter(loaded.unreadable.items()))
        say(
            f"{len(loaded.unreadable)} images of {stored.name} no longer decode and are left out;"
            f" the first: {loaded.faces.keys[row]} ({reason})"
        )
    return _Data(stored, loaded, placed, targets, usable, left_out)


def _check_classes(split: splits.Split, data: _Data) -> None:
    """A class that is never seen in training cannot be learned, and its recall would lie."""
    for task, target in data.targets.items():
        if target.years is not None:  # years no face has are learned from their neighbours
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


def _protocol_folds(config: Config) -> tuple[int, ...]:
    return (4,) if config.eval.protocol == "hold_out" else (0, 1, 2, 3, 4)


def _splits(config: Config, data: _Data) -> dict[int, splits.Split]:
    """Of every fold the protocol has, whether it is run now or not: steps depend on all."""
    found = {}
    for number in _protocol_folds(config):
        found[number] = splits.split(
            data.faces,
            data.usable,
            test_fold=number,
            protocol=config.eval.protocol,
            validation=config.data.validation,
            fraction=config.data.validation_fraction,
            seed=config.seed,
            train_share=config.data.train_share,
        )
        smallest = len(found[number].train)
        if config.data.batch_size > smallest:
            raise InputError(
                f"data.batch_size = {config.data.batch_size} is larger than the {smallest} training"
                f" faces when fold {number} is tested"
            )
        _check_classes(found[number], data)
    return found


def _place(config: Config, data: _Data, mesh: Mesh) -> placement.Placement:
    classes = {task: target.labels for task, target in data.targets.items()}
    if data.loaded.pixels is None:
        decoding = pipeline.Decoding(config.data.resize, config.data.interpolation)
        pixels = pipeline.StoredPixels(data.stored, decoding)
        return placement.Streamed(pixels, classes, mesh, workers=config.data.workers)
    kind = placement.OnDevice if data.placed == "device" else placement.OnHost
    return kind(data.loaded.pixels, classes, mesh)


def _environment() -> dict[str, Any]:
    """Versions and devices, for config.json and the report."""
    versions = {"ageflax": __version__, "python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    kinds = [device.device_kind for device in jax.devices()]
    return {
        "versions": versions,
        "devices": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "platform": jax.default_backend(),
    }


def _weights(
    config: Config, wanted: Sequence[int], done: Collection[int]
) -> dict[int, transfer.Loaded | None]:
    """What each test fold starts from: the same for all, or with `{fold}` in its path its own."""
    if "{fold}" not in config.transfer.weights:
        return dict.fromkeys(wanted, transfer.of_config(config))
    return {k: transfer.of_config(config, fold=k) for k in wanted if k not in done}


def _shared(config: Config, weights_of: dict[int, transfer.Loaded | None]) -> dict[str, Any] | None:
    """What config.json says of them; those of a single fold are in its result.json."""
    if "{fold}" in config.transfer.weights:
        return {"source": config.transfer.weights, "sha256": None}
    weights = next(iter(weights_of.values()), None)
    return weights.provenance if weights else None


def _check_weights(weights_of: dict[int, transfer.Loaded | None], source: dict[str, Any]) -> None:
    """Weights of one fold of a dataset have seen the faces that its other folds test."""
    for number, weights in weights_of.items():
        trained_on = weights.provenance.get("trained_on") if weights else None
        while isinstance(trained_on, dict):  # and what those weights started from, however far back
            kept = trained_on.get("fold")
            if number != kept and trained_on.get("fingerprint") == source["fingerprint"]:
                raise InputError(
                    f"transfer.weights were trained on these very data, fold {kept} kept for testing:"
                    f" they have seen the faces of fold {number}. Run fold {kept} alone, start each"
                    " fold from that of its own number (.../fold_{fold}), or start from weights of"
                    " other faces"
                )
            trained_on = trained_on.get("before")


def _claim(
    workdir: Path,
    config: Config,
    source: dict[str, Any],
    weights: dict[str, Any] | None,
    command: Sequence[str],
) -> None:
    """Writes config.json on a first start; later checks that this is the same experiment.

    Raises:
      InputError: the folder cannot be written, or belongs to another config or other data.
    """
    path = workdir / "config.json"
    before = files.read_json(path)
    if before is None:
        described = {"config": config.to_dict(), "data": source, **_environment()}
        described |= {"weights": weights, "command": list(command)}
        files.write_json(path, described)
        return
    differing = configuration.differing_keys(before["config"], config)
    if before["data"]["fingerprint"] != source["fingerprint"]:
        differing.append(f"data: {before['data']['fingerprint']} -> {source['fingerprint']}")
    old, new = (w["sha256"] if w else None for w in (before.get("weights"), weights))
    if old != new:
        differing.append(f"weights: sha256 {old} -> {new}")
    if differing:
        raise InputError(
            f"{workdir} holds a run with another config; differing: {'; '.join(differing)}."
            " Choose another --workdir"
        )


def _make_workdir(workdir: Path) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / ".writable"
        probe.touch()
        # Another process may try the same folder: several folds of one run at once.
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"--workdir={workdir}: cannot be written: {error.strerror}") from error


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run leaves besides its files.

    Attributes:
      summary: what summary.json holds.
      stored: the dataset, for who wants to show its faces.
      faces: its labels.
    """

    summary: dict[str, Any]
    stored: StoredDataset
    faces: Faces

    def images(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Encoded images, as the dataset has them, by key; keys it does not have are left out."""
        rows = np.flatnonzero(np.isin(self.faces.keys.astype(str), keys)).tolist()
        examples = self.stored.examples(rows)
        return {
            self.faces.keys[row]: example["image"]
            for row, example in zip(rows, examples, strict=True)
        }


def run(
    config: Config, workdir: Path, *, say: Callable[[str], None], command: Sequence[str] = ()
) -> Outcome:
    """Trains and tests each fold in `config.folds` that is not done yet.

    Args:
      config: resolved.
      workdir: what is left there is in DESIGN's list; an earlier run of it is continued.
      say: takes lines for the user.
      command: the words of the command that asks for it, for config.json and the report.

    Returns:
      What summary.json holds, and the dataset it was measured on.
    """
    _make_workdir(workdir)
    mesh = make_mesh()
    check_divides(config.data.batch_size, mesh, "data.batch_size")
    if config.optim.accumulate > 1:
        part = config.data.batch_size // config.optim.accumulate
        check_divides(part, mesh, "data.batch_size / optim.accumulate")
    wanted = [number for number in config.folds if number in _protocol_folds(config)]
    done = {result["fold"] for result in summary.finished(workdir)}
    # Before the long reading of pixels, should they be absent.
    weights_of = _weights(config, wanted, done)
    data = _read(config, mesh, pixels=not done.issuperset(wanted), say=say)
    source = data.source()
    _check_weights(weights_of, source)
    _claim(workdir, config, source, _shared(config, weights_of), command)
    split_of = _splits(config, data)
    training_faces = float(np.mean([len(split.train) for split in split_of.values()]))
    compiled = program.build(config, mesh, training_faces=training_faces)
    placed = _place(config, data, mesh)
    for number in wanted:
        if number in done:
            say(f"fold {number} is done")
            continue
        started = time.monotonic()
        result = train.run(
            train.Fold(
                number=number,
                directory=workdir / f"fold_{number}",
                split=split_of[number],
                faces=data.faces,
                targets=data.targets,
                placement=placed,
                config=config,
                program=compiled,
                source=source,
                weights=weights_of[number],
                say=say,
            )
        )
        say(summary.fold_line(result, time.monotonic() - started))
    figures = summary.summarise(summary.finished(workdir), workdir)
    files.write_json(workdir / "summary.json", figures)
    model_card.add_summary(workdir, figures)
    return Outcome(figures, data.stored, data.faces)
