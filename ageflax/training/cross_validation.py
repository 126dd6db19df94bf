"""A run: the same protocol for each test fold, and figures over all folds."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from ageflax.bundle import card
from ageflax.config import Config, trains
from ageflax.data import splits
from ageflax.data.dataset import Faces, StoredDataset
from ageflax.errors import InputError
from ageflax.evaluation import summary, unseen
from ageflax.runtime import files, hosts
from ageflax.runtime.files import Json
from ageflax.runtime.lock import locked
from ageflax.runtime.mesh import check_divides, make_mesh
from ageflax.training import distillation, program, run_fold, run_record, untrained
from ageflax.training.run_data import Data, check_classes, place, read
from ageflax.weights import transfer


def _protocol_folds(config: Config) -> tuple[int, ...]:
    return (4,) if config.eval.protocol == "hold_out" else (0, 1, 2, 3, 4)


def _splits(config: Config, data: Data) -> dict[int, splits.Split]:
    """Splits of all folds of the protocol, run now or not: the number of steps depends on all."""
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
        if not trains(config):
            continue
        smallest = len(found[number].train)
        if config.data.batch_size > smallest:
            raise InputError(
                f"data.batch_size = {config.data.batch_size} is larger than the {smallest} training"
                f" faces of test fold {number}; lower it"
            )
        check_classes(found[number], data)
    return found


def _weights(
    config: Config, wanted: Sequence[int], done: Collection[int]
) -> dict[int, transfer.Loaded | None]:
    """Initial weights per test fold; with `{fold}` in the path, each fold has its own."""
    if "{fold}" not in config.transfer.weights:
        return dict.fromkeys(wanted, transfer.of_config(config))
    return {k: transfer.of_config(config, fold=k) for k in wanted if k not in done}


def _shared(config: Config, weights_of: dict[int, transfer.Loaded | None]) -> Json | None:
    """The `weights` object of config.json; those of a single fold are in its result.json."""
    if "{fold}" in config.transfer.weights:
        return {"source": config.transfer.weights, "sha256": None}
    weights = next(iter(weights_of.values()), None)
    return weights.provenance if weights else None


def _check_weights(weights_of: dict[int, transfer.Loaded | None], source: Json) -> None:
    """Raises InputError if initial weights, or their own initial weights, have seen the test faces."""
    for number, weights in weights_of.items():
        for fingerprint, kept in unseen.lineage(weights and weights.provenance):
            if number != kept and fingerprint == source["fingerprint"]:
                one = "no fold" if kept is None else f"fold {kept}"
                raise InputError(
                    f"transfer.weights: trained on this dataset with {one} held out, so they have"
                    f" seen the faces of fold {number}; run {one} alone, start each fold from the"
                    " fold of its own number (.../fold_{fold}), or use weights of other faces"
                )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Result of a run in memory; its files hold the rest.

    Attributes:
      summary: content of summary.json; empty on processes other than 0.
      stored: the dataset on disk.
      faces: labels of the dataset.
    """

    summary: Json
    stored: StoredDataset
    faces: Faces

    def images(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Encoded images of the dataset by key; unknown keys are left out."""
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
      config: resolved config.
      workdir: folder of the run; made if absent, resumed if not.
      say: function that prints a line.
      command: words of the command, for config.json and the report.

    Raises:
      InputError: the config does not fit the data or the devices, the folder holds another run, or
        another process trains one of the folds.
      RunError: a fold failed.
      preemption.Preempted: the run was told to stop.
    """
    files.make_writable(workdir, "--workdir")
    hosts.check_shared(workdir)
    mesh = make_mesh()
    check_divides(config.data.batch_size, mesh, "data.batch_size")
    if config.optim.accumulate > 1:
        part = config.data.batch_size // config.optim.accumulate
        check_divides(part, mesh, "data.batch_size / optim.accumulate")
    wanted = [number for number in config.folds if number in _protocol_folds(config)]
    done = _done(workdir)
    with contextlib.ExitStack() as held:
        if hosts.writer():
            for number in wanted:
                if number not in done:
                    held.enter_context(locked(workdir / f"fold_{number}", say=say))
        return _run(config, workdir, mesh, wanted, done, say=say, command=command)


def _done(workdir: Path) -> set[int]:
    """Finished folds, as process 0 sees them."""
    done = {result.fold for result in summary.finished(workdir)}
    found = np.array([number in done for number in range(5)], np.uint8)
    return set(np.flatnonzero(hosts.from_writer(found)).tolist())


def _run(
    config: Config,
    workdir: Path,
    mesh: Mesh,
    wanted: Sequence[int],
    done: set[int],
    *,
    say: Callable[[str], None],
    command: Sequence[str],
) -> Outcome:
    """`run`, once its folds are locked."""
    # First, as absent weights should fail before the pixels are read, which takes long.
    weights_of = _weights(config, wanted, done)
    teachers_of = {k: distillation.load(config, k) for k in wanted if k not in done}
    data = read(config, mesh, pixels=not done.issuperset(wanted), say=say)
    source = data.source()
    _check_weights(weights_of, source)
    if not trains(config):
        untrained.check(config, weights_of, source)
    distillation.check_unseen(teachers_of, source, say)
    run_record.check_same(config, source)
    if hosts.writer():
        run_record.claim(workdir, config, source, _shared(config, weights_of), command)
    split_of = _splits(config, data)
    training_faces = float(np.mean([len(split.train) for split in split_of.values()]))
    compiled = program.build(
        config,
        mesh,
        training_faces=training_faces,
        teachers=distillation.networks(teachers_of),
    )
    placed = place(config, data, mesh)
    for number in wanted:
        if number in done:
            say(f"fold {number} is done")
            continue
        started = time.monotonic()
        result = run_fold.run(
            run_fold.Fold(
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
                teachers=teachers_of[number],
                say=say,
            )
        )
        say(summary.fold_line(result, time.monotonic() - started))
    figures = {}
    if hosts.writer():
        figures = summary.summarise(summary.finished(workdir), workdir).to_json()
        files.write_json(workdir / "summary.json", figures)
        card.add_summary(workdir, figures)
    return Outcome(figures, data.stored, data.faces)
