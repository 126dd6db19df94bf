"""All folds of a run: the same protocol K times, and the figures over them."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from ageflax.bundle import card
from ageflax.config import Config
from ageflax.data import splits
from ageflax.data.dataset import Faces, StoredDataset
from ageflax.errors import InputError
from ageflax.evaluation import summary
from ageflax.runtime import files, hosts
from ageflax.runtime.lock import locked
from ageflax.runtime.mesh import check_divides, make_mesh
from ageflax.training import program, run_fold, run_record
from ageflax.training.run_data import Data, check_classes, place, read
from ageflax.weights import transfer


def _protocol_folds(config: Config) -> tuple[int, ...]:
    return (4,) if config.eval.protocol == "hold_out" else (0, 1, 2, 3, 4)


def _splits(config: Config, data: Data) -> dict[int, splits.Split]:
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
        check_classes(found[number], data)
    return found


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


def _make_workdir(workdir: Path) -> None:
    files.make_writable(workdir, "--workdir")
    hosts.check_shared(workdir)


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
      What summary.json holds, of process 0, and the dataset it was measured on.

    Raises:
      InputError: something asked for cannot be had, or another process trains one of the folds.
      RunError: a fold failed.
      preemption.Preempted: the run was told to stop.
    """
    _make_workdir(workdir)
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
    """Folds that are done, as process 0 sees them."""
    found = np.zeros(5, np.uint8)
    found[[result.fold for result in summary.finished(workdir)]] = 1
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
    """`run`, with its folds kept for it."""
    # Before the long reading of pixels, should they be absent.
    weights_of = _weights(config, wanted, done)
    data = read(config, mesh, pixels=not done.issuperset(wanted), say=say)
    source = data.source()
    _check_weights(weights_of, source)
    run_record.check_same(config, source)
    if hosts.writer():
        run_record.claim(workdir, config, source, _shared(config, weights_of), command)
    split_of = _splits(config, data)
    training_faces = float(np.mean([len(split.train) for split in split_of.values()]))
    compiled = program.build(config, mesh, training_faces=training_faces)
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
