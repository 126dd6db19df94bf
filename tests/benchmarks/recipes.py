"""Measures training steps of the recipes in configs/, on real faces.

    python -m tests.benchmarks.recipes --manual_dir=FOLDER [--configs=levi,resnet34] [--output=FILE.json]

README.md says what is measured, and what is not.
"""

import argparse
import dataclasses
import itertools
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ageflax import config as configuration
from ageflax.config import Config
from ageflax.data import batches as placement
from ageflax.data import reading
from ageflax.data.batches import Batch
from ageflax.data.building import find
from ageflax.data.dataset import StoredDataset, table
from ageflax.data.order import ShuffledRows
from ageflax.data.splits import Split
from ageflax.errors import InputError, RunError
from ageflax.runtime import command_line, files, memory
from ageflax.runtime.mesh import make_mesh
from ageflax.runtime.progress import say
from ageflax.training import initial, program
from ageflax.training.state import TrainState
from tests.benchmarks import machine, recipes_table
from tests.benchmarks.options import CONFIGS
from tests.benchmarks.training_step import forward_gflop

# More faces would take longer to decode and change no step.
_FACES = 256
# Share of the memory that states held at once may fill.
_MEMORY_SHARE = 0.6
# Seconds of a config's turn; at least one step.
_TURN = 3.0
# Batches made beforehand and reused.
_BATCHES = 4

Result = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A config's program, compiled for its batch; no weights are drawn yet.

    Attributes:
      config: resolved config.
      program: compiled steps and schedule of the config.
      placement: place of the decoded faces.
      split: all faces, for training.
      train_step: compiled training step of the phase at step 0.
      feature_step: compiled feature step; None unless the config caches features.
      state_bytes: size of the training state.
      temporary_bytes: temporary memory of the larger step.
    """

    config: Config
    program: program.Program
    placement: placement.Batches
    split: Split
    train_step: Any
    feature_step: Any
    state_bytes: int
    temporary_bytes: int

    @property
    def batch(self) -> Batch:
        """Faces for the feature step, and as many as a training step takes."""
        size = self.config.data.batch_size
        return next(iter(self.placement.eval_batches(self.split.train[:size], size)))


def _config(name: str, options: argparse.Namespace, overrides: Sequence[str], mesh: Mesh) -> Config:
    """A config file's values on the benchmark's faces, without the weights it would start from."""
    path = str(CONFIGS / f"{name}.py")
    wanted = configuration.load(path, overrides)
    multiple = math.lcm(wanted.optim.accumulate, mesh.devices.size)
    batch_size = min(wanted.data.batch_size, options.max_batch) // multiple * multiple
    if not batch_size:
        raise InputError(
            f"--max_batch={options.max_batch}: a batch here has a multiple of {multiple} faces"
        )
    policy = "intervals" if wanted.data.intervals else "nearest"
    words = [
        f"--config.data.name={options.dataset}",
        f"--config.data.label_policy={policy}",
        f"--config.data.batch_size={batch_size}",
        *(f"--config.transfer.{key}=" for key in ("weights", "revision", "sha256")),
    ]
    if wanted.transfer.weights:
        # Tuned for trained weights; random ones could diverge.
        words.append(f"--config.optim.learning_rate={wanted.optim.learning_rate / 1000}")
    return configuration.load(path, [*overrides, *words])


def _place(
    config: Config, stored: StoredDataset, count: int, mesh: Mesh
) -> tuple[placement.Batches, Split]:
    """The first faces of a dataset, placed as in a run; streamed ones in host memory."""
    data, rows = config.data, np.arange(count)
    decoding = reading.Decoding(data.resize, data.interpolation)
    pixels, usable = reading.StoredPixels(stored, decoding)(rows)
    faces = table(stored.examples(rows), [stored.fold_of(row) for row in rows.tolist()])
    intervals = configuration.intervals(config)
    targets = {
        task: faces.target(task, policy=data.label_policy, intervals=intervals)
        for task in configuration.tasks(config)
    }
    usable &= np.any([target.known for target in targets.values()], axis=0)
    if not usable.any():
        raise InputError(f"none of the first {count} faces has a label for {config.task}")
    placed = placement.choose(
        data.placement,
        pixel_bytes=len(stored) * data.resize**2 * 3,
        share=data.memory_share,
        mesh=mesh,
    )
    kind = placement.DeviceBatches if placed == "device" else placement.HostBatches
    classes = {task: target.labels for task, target in targets.items()}
    nothing = np.zeros(0, np.int64)
    split = Split(0, np.flatnonzero(usable), nothing, nothing, leaks=0)
    return kind(pixels, classes, mesh), split


def _inputs(
    config: Config, placed: placement.Batches, rows: np.ndarray, steps: int
) -> list[tuple[Any, ...]]:
    """Arguments of each step after the state, made beforehand."""
    order = ShuffledRows(rows, (config.seed, 0))
    singly = [range(step, step + 1) for step in range(steps)]
    return list(placed.train_inputs(order, singly, config.data.batch_size))


def _size(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _temporary_bytes(*compiled: Any) -> int:
    analyses = [step.memory_analysis() for step in compiled if step is not None]
    return max((a.temp_size_in_bytes for a in analyses if a is not None), default=0)


def _described(name: str, config: Config, prepared: _Prepared, state: TrainState) -> Result:
    """Row of a recipe before its measurement."""
    made, data = prepared.program, config.data
    phase = made.phase(0)
    network = {key: tree for key, tree in made.shapes.items() if key != "balance"}
    leaves = jax.tree_util.tree_flatten_with_path(network)[0]
    named = {jax.tree_util.keystr(k, simple=True, separator="/"): leaf for k, leaf in leaves}
    learning = [leaf for path, leaf in named.items() if path not in phase.frozen.paths]
    return {
        "network": config.model.name,
        "dtype": config.model.dtype,
        "task": config.task,
        "crop": data.crop,
        "channels": data.channels,
        "batch_size": data.batch_size,
        "batch_size_of_file": configuration.load(str(CONFIGS / f"{name}.py")).data.batch_size,
        "parameters": _size(network),
        "learning_at_step_0": _size(learning),
        "phases": [p.start for p in made.phases],
        "cached_features": made.recipe.cached,
        "placement": prepared.placement.name,
        "gflop_per_image": forward_gflop(made, state),
        "state_bytes": prepared.state_bytes,
        "temporary_bytes": prepared.temporary_bytes,
    }


def _prepare(
    name: str,
    options: argparse.Namespace,
    overrides: Sequence[str],
    stored: StoredDataset,
    mesh: Mesh,
) -> tuple[_Prepared, Result]:
    """Builds and compiles a config's program, as a run of it would."""
    config = _config(name, options, overrides, mesh)
    count = min(len(stored), max(_FACES, options.max_batch))
    placed, split = _place(config, stored, count, mesh)
    # Four of five folds, as in a run; decides the length of the schedule.
    made = program.build(config, mesh, training_faces=0.8 * len(stored))
    state = jax.eval_shape(lambda: initial.state(made, config, 0, placed, split))
    draft = _Prepared(config, made, placed, split, None, None, _bytes(state), 0)
    started = time.perf_counter()
    phase, feature_step = made.phase(0), None
    if made.recipe.cached:
        batch, jitted = draft.batch, made.feature_step
        feature_step = jitted.lower(state, batch).compile()  # type: ignore[attr-defined]
        features = jax.eval_shape(jitted, state, batch)
        arguments = (batch.replace(images=features),)  # type: ignore[attr-defined]
        step: Any = phase.train_step
    else:
        arguments = _inputs(config, placed, split.train, 1)[0]
        resident = placed.name == "device"
        step = phase.resident_train_step if resident else phase.train_step
    train_step = step.lower(state, *arguments).compile()
    seconds = time.perf_counter() - started
    prepared = dataclasses.replace(
        draft,
        train_step=train_step,
        feature_step=feature_step,
        temporary_bytes=_temporary_bytes(train_step, feature_step),
    )
    described = _described(name, config, prepared, state)
    return prepared, {"config": name, **described, "compile_seconds": seconds}


class _Running:
    """A config in training: its state, and the seconds of its steps.

    Args:
      prepared: compiled program. Weights are initialised and one untimed step is taken.
    """

    def __init__(self, prepared: _Prepared):
        self._prepared = prepared
        config, split = prepared.config, prepared.split
        self._state = initial.state(prepared.program, config, 0, prepared.placement, split)
        self._batch, placed, rows = None, prepared.placement, split.train
        if prepared.feature_step is not None:
            self._batch = prepared.batch
            rows = rows[: config.data.batch_size]
            found = np.asarray(prepared.feature_step(self._state, self._batch))[: len(rows)]
            labels = {task: values[rows] for task, values in placed.labels.items()}
            placed = placement.HostBatches(found, labels, prepared.program.mesh)
            rows = np.arange(len(rows))
        self._inputs = itertools.cycle(_inputs(config, placed, rows, _BATCHES))
        self._seconds: list[float] = []
        self._trunk_seconds: list[float] = []
        self._first_loss = self._loss = self._step()

    def _step(self) -> float:
        self._state, metrics = self._prepared.train_step(self._state, *next(self._inputs))
        jax.block_until_ready((self._state, metrics))
        for name in ("loss", "update_norm"):
            if not np.isfinite(metrics[name]).all():
                raise RunError(f"{name} is {metrics[name]} after {int(self._state.step)} steps")
        return float(np.ravel(metrics["loss"])[-1])

    def take(self) -> None:
        """Takes a turn: one timed step, or several quick ones after one that warms the caches up again."""
        began = time.perf_counter()
        first = self._timed()
        if time.perf_counter() - began > _TURN:
            self._keep(first)
        while time.perf_counter() - began < _TURN:
            self._keep(self._timed())

    def _timed(self) -> tuple[float, float | None]:
        """Seconds of a step, and of the feature step."""
        trunk = None
        if self._batch is not None:
            started = time.perf_counter()
            jax.block_until_ready(self._prepared.feature_step(self._state, self._batch))
            trunk = time.perf_counter() - started
        started = time.perf_counter()
        self._loss = self._step()
        return time.perf_counter() - started, trunk

    def _keep(self, seconds: tuple[float, float | None]) -> None:
        self._seconds.append(seconds[0])
        if seconds[1] is not None:
            self._trunk_seconds.append(seconds[1])

    def figures(self) -> Result:
        """Faces per second, by the median step, and the losses of the first and the last step."""
        size = self._prepared.config.data.batch_size
        figures: Result = {
            "images_per_second": size / float(np.median(self._seconds)),
            "seconds": self._seconds,
            "first_loss": self._first_loss,
            "last_loss": self._loss,
        }
        if self._trunk_seconds:
            figures["trunk_images_per_second"] = size / float(np.median(self._trunk_seconds))
            figures["trunk_seconds"] = self._trunk_seconds
        return figures


def _failure(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, InputError | RunError) else f"{type(error).__name__}: {first}"


def _groups(prepared: dict[str, _Prepared], memory: float) -> list[list[str]]:
    """Groups of configs whose states fit into memory together, beside the largest step."""
    groups: list[list[str]] = []
    for name in prepared:
        together = [prepared[other] for other in [*groups[-1], name]] if groups else []
        needed = sum(p.state_bytes for p in together)
        needed += max((p.temporary_bytes for p in together), default=0)
        if groups and needed <= memory:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _measure(group: Sequence[str], prepared: dict[str, _Prepared], turns: int) -> dict[str, Result]:
    """Runs turns of some configs alternately, to spread a slow minute of the machine over all."""
    running: dict[str, _Running] = {}
    found: dict[str, Result] = {}
    for number in range(turns + 1):
        say(f"{', '.join(group)}: turn {number} of {turns}")
        for name in group:
            if name in found:
                continue
            try:
                if number:
                    running[name].take()
                else:
                    running[name] = _Running(prepared[name])
            except Exception as error:  # whatever it is, the others continue
                found[name] = {"error": _failure(error)}
                running.pop(name, None)
    return found | {name: run.figures() for name, run in running.items()}


def _run(options: argparse.Namespace, overrides: Sequence[str], words: Sequence[str]) -> None:
    known = sorted(path.stem for path in CONFIGS.glob("*.py"))
    names = list(dict.fromkeys(options.configs.split(","))) if options.configs else known
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"--configs: {', '.join(unknown)} not among {', '.join(known)}")
    if min(options.turns, options.max_batch) < 1:
        raise InputError("--turns and --max_batch are at least 1")
    mesh, described = make_mesh(), machine.describe("tests.benchmarks.recipes", words)
    stored = find.open_dataset(
        options.dataset, directory=options.data_dir, manual_dir=options.manual_dir, say=say
    )
    prepared: dict[str, _Prepared] = {}
    results: dict[str, Result] = {}
    for name in names:
        try:
            prepared[name], results[name] = _prepare(name, options, overrides, stored, mesh)
            say(f"{name}: compiled in {results[name]['compile_seconds']:.1f} s")
        except Exception as error:  # whatever it is, the others continue
            results[name] = {"config": name, "error": _failure(error)}
            say(f"{name}: {results[name]['error']}")
    for number, group in enumerate(_groups(prepared, _MEMORY_SHARE * machine.memory())):
        for name, figures in _measure(group, prepared, options.turns).items():
            results[name] |= {"group": number, **figures}
    found = list(results.values())
    written = {
        "machine": described,
        "dataset": stored.name,
        "turns": options.turns,
        "recipes": found,
    }
    print(recipes_table.markdown(written))
    if options.output:
        files.write_json(options.output, written)
    else:
        print(f"\n```json\n{json.dumps(written, indent=2)}\n```")
    if failed := [result["config"] for result in found if "error" in result]:
        raise RunError(f"{len(failed)} of {len(found)} configs failed: {', '.join(failed)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.recipes",
        description=(__doc__ or "").splitlines()[0],
        epilog="Any key of all these configs can be set besides: --config.KEY=VALUE.",
        allow_abbrev=False,
    )
    parser.add_argument("--manual_dir", default="", metavar="FOLDER", help="labels.csv and faces")
    parser.add_argument("--data_dir", default="", metavar="DIR", help="where datasets are built")
    parser.add_argument("--dataset", default="labeled_faces/faces", metavar="NAME")
    parser.add_argument("--configs", default="", metavar="A,B", help="default: all of configs/")
    parser.add_argument("--turns", type=int, default=3, help="turns of each config (default: 3)")
    parser.add_argument("--max_batch", type=int, default=32, help="largest batch (default: 32)")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="default: printed")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    options, overrides = _parser().parse_known_args(words)
    return command_line.run("tests.benchmarks.recipes", lambda: _run(options, overrides, words))


if __name__ == "__main__":
    memory.restart_with_huge_pages()  # as ageflax.main does
    sys.exit(main())
