"""One fold: train, validate, save, test."""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import SummaryWriter

from ageflax import bundle, evaluate, files, steps
from ageflax.checkpoint import Checkpoints
from ageflax.config import Config
from ageflax.data.dataset import Faces, Target
from ageflax.data.order import ShuffledRows
from ageflax.data.splits import Split
from ageflax.errors import RunError
from ageflax.placement import Placement
from ageflax.program import Program
from ageflax.progress import Progress
from ageflax.structs import Metrics, TrainState

# Steps dispatched before the oldest is waited for: enough to keep any device busy, few enough that
# batches do not pile up in its memory.
_IN_FLIGHT = 8


@dataclasses.dataclass(frozen=True)
class Fold:
    """What one fold of a run works with.

    Attributes:
      number: the test fold.
      directory: DIR/fold_K.
      split: which faces train, validate and test.
      faces: the dataset's labels.
      targets: classes per task.
      placement: where the pixels are.
      config: resolved.
      program: compiled steps, shared by all folds.
      source: what result.json and the bundle say of the data: name, edition, licence.
      say: takes lines for the user.
    """

    number: int
    directory: Path
    split: Split
    faces: Faces
    targets: dict[str, Target]
    placement: Placement
    config: Config
    program: Program
    source: dict[str, Any]
    say: Callable[[str], None]


class _Log:
    """metrics.jsonl and TensorBoard events, cut back to the step a run goes on from."""

    def __init__(self, directory: Path, step: int):
        self._path = directory / "metrics.jsonl"
        kept = []
        if self._path.is_file():
            for line in self._path.read_text().splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
                except (json.JSONDecodeError, KeyError):
                    break  # a line cut short by a kill; what followed is lost with it
        temporary = self._path.with_name("metrics.jsonl.partial")
        temporary.write_text("".join(kept))
        temporary.replace(self._path)
        self._file = self._path.open("a", buffering=1)
        self._events = SummaryWriter(
            str(directory / "tensorboard"), purge_step=step + 1 if step else None
        )

    def write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")
        for key, value in record.items():
            if key not in ("step", "epoch") and isinstance(value, int | float):
                self._events.add_scalar(key, value, record["step"])

    def close(self) -> None:
        self._file.close()
        self._events.close()


def _initial_state(fold: Fold) -> TrainState:
    """Fresh weights and, as mean, zeros of the right shape: what a checkpoint is read into."""
    config, program = fold.config, fold.program
    key = jax.random.fold_in(jax.random.key(config.seed), fold.number)
    side = config.data.resize if config.data.mean == "image" else 1
    mean = np.zeros((side, side, 3), np.float32)
    return steps.init_state(
        program.network, program.tx, key, mean, program.preprocessing, program.mesh
    )


def _with_mean(state: TrainState, fold: Fold) -> TrainState:
    """The state with the mean over the fold's own training faces."""
    mean = fold.placement.mean(fold.split.train)
    if fold.config.data.mean == "channel":
        mean = mean.mean((0, 1), keepdims=True)
    placed = jax.device_put(mean, state.mean.sharding)
    return state.replace(mean=placed)  # type: ignore[attr-defined]


def _validate(fold: Fold, state: TrainState) -> tuple[dict[str, float], float]:
    """Validation figures, and the one that ranks checkpoints: exact accuracy, mean over tasks.

    Without validation faces the later checkpoint counts as the better one.
    """
    rows = fold.split.validation
    if not len(rows):
        return {}, float(state.step)
    batches = fold.placement.eval_batches(rows, _eval_batch_size(fold))
    predictions = evaluate.predict(fold.program.quick_eval_step, state, batches, rows)
    figures = evaluate.figures(predictions, fold.faces, fold.targets)
    record = {
        f"validation_{task}_{name}": values[name]
        for task, values in figures.items()
        for name in ("exact", "one_off")
        if values.get(name) is not None
    }
    exact = [values["exact"] for values in figures.values() if values["exact"] is not None]
    return record, float(np.mean(exact)) if exact else float(state.step)


def _eval_batch_size(fold: Fold) -> int:
    """The config's, rounded up to what divides over the devices; padding makes it exact."""
    devices = fold.program.mesh.devices.size
    return -(-fold.config.eval.batch_size // devices) * devices


def _fetch(pending: list[Metrics], first_step: int, fold: Fold) -> dict[str, float]:
    """Means over the steps since the last log line.

    Raises:
      RunError: a loss or an update is not finite; names the first step at which it was not. Raised
        before that step's weights could be saved.
    """
    fetched = jax.device_get(pending)
    for offset, metrics in enumerate(fetched):
        for name, words in (("loss", "loss"), ("update_norm", "update of the weights")):
            if not math.isfinite(metrics[name]):
                raise RunError(
                    f"fold {fold.number}: the {words} is {metrics[name]} at step"
                    f" {first_step + offset}; checkpoints from before it are kept. A lower"
                    " optim.learning_rate usually helps"
                )
    sums = {name: float(sum(m[name] for m in fetched)) for name in fetched[0]}
    record = {name: sums[name] / len(fetched) for name in ("loss", "update_norm")}
    for task in fold.targets:
        record[f"{task}_loss"] = sums[f"{task}_loss"] / len(fetched)
        if sums[f"{task}_labelled"]:
            record[f"{task}_exact"] = sums[f"{task}_correct"] / sums[f"{task}_labelled"]
    unreadable = len(fetched) * fold.config.data.batch_size - sums["faces"]
    if unreadable:
        record["unreadable"] = unreadable
    return record


def _train(fold: Fold, state: TrainState, checkpoints: Checkpoints, start: int) -> TrainState:
    """Steps start..steps-1, logging, validating and saving on the way."""
    config, program = fold.config, fold.program
    batch_size, stop = config.data.batch_size, program.steps
    order = ShuffledRows(fold.split.train, (config.seed, fold.number))
    inputs = fold.placement.train_inputs(order, start, stop, batch_size)
    resident = fold.placement.name == "device"
    step_fn: Callable[..., Any] = program.resident_train_step if resident else program.train_step
    log = _Log(fold.directory, start)
    pending: list[Metrics] = []
    since, logged = time.monotonic(), start
    label = f"fold {fold.number}"
    try:
        with Progress(stop, unit="step", label=label, initial=start) as progress:
            for step, arguments in enumerate(inputs, start + 1):
                state, metrics = step_fn(state, *arguments)
                pending.append(metrics)
                if len(pending) > _IN_FLIGHT:
                    jax.block_until_ready(pending[-_IN_FLIGHT]["loss"])
                evaluates = step % config.eval.every == 0 or step == stop
                if not evaluates and step % config.eval.log_every:
                    progress.update()
                    continue
                record = _fetch(pending, logged + 1, fold)
                seconds = time.monotonic() - since
                rate = (step - logged) * batch_size / max(seconds, 1e-9)
                validation: dict[str, float] = {}
                if evaluates:
                    validation, figure = _validate(fold, state)
                    checkpoints.save(step, state, {"validation": validation}, figure)
                log.write(
                    {
                        "step": step,
                        "epoch": step * batch_size / len(fold.split.train),
                        "learning_rate": float(np.asarray(program.schedule(step - 1))),
                        "images_per_second": rate,
                        **record,
                        **validation,
                    }
                )
                progress.update(loss=f"{record['loss']:.3f}", images=f"{rate:.0f}/s")
                pending, since, logged = [], time.monotonic(), step
    except jax.errors.JaxRuntimeError as error:
        # Out of memory, most often; the first line says which and how much.
        first = str(error).splitlines()[0]
        raise RunError(
            f"fold {fold.number}: the device failed after step {logged}: {first}. If memory ran out,"
            " lower data.batch_size or set data.placement=host"
        ) from error
    finally:
        log.close()
        checkpoints.finish()
    return state


def _tested_state(
    fold: Fold, state: TrainState, checkpoints: Checkpoints
) -> tuple[TrainState, int]:
    """The weights the protocol tests, and their step."""
    if fold.config.eval.checkpoint == "last":
        return state, fold.program.steps
    best = checkpoints.best_step()
    if best is None or best == fold.program.steps:
        return state, fold.program.steps
    return checkpoints.restore(best, state).state, best


def _result(
    fold: Fold, figures: dict[str, Any], predictions: evaluate.Predictions, **more: Any
) -> dict[str, Any]:
    config, split = fold.config, fold.split
    held_out = config.eval.protocol == "hold_out"
    return {
        "fold": fold.number,
        "protocol": {
            "name": config.eval.protocol,
            "label_policy": config.data.label_policy,
            "most_frontal": config.data.most_frontal,
            "validation": "fold_3" if held_out else config.data.validation,
            "validation_persons_in_training": split.leaks,
            "resize": config.data.resize,
            "crop": config.data.crop,
            "crops": config.eval.crops,
            "checkpoint": config.eval.checkpoint,
        },
        "data": fold.source,
        "faces": {
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
            "test_unreadable": len(predictions.unreadable),
        },
        "tasks": figures,
        **more,
    }


def _images_per_second(path: Path) -> float | None:
    """Median over the fold's log lines, so that a pause or a restart does not count."""
    lines = path.read_text().splitlines()
    rates = [json.loads(line)["images_per_second"] for line in lines]
    return float(np.median(rates)) if rates else None


def run(fold: Fold) -> dict[str, Any]:
    """Trains and tests one fold, going on where an earlier run of it stopped.

    Returns:
      What result.json holds; it is written last, so its presence means that the fold is done.

    Raises:
      RunError: the loss is not finite, or a checkpoint can neither be saved nor read.
    """
    started = time.monotonic()
    fold.directory.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(fold.directory / "checkpoints", say=fold.say)
    try:
        state = _initial_state(fold)
        restored = checkpoints.restore_latest(state)
        if restored is None:
            start, state = 0, _with_mean(state, fold)
        else:
            state = restored.state
            start = int(state.step)
            fold.say(f"fold {fold.number}: going on from step {start} of {fold.program.steps}")
        if start < fold.program.steps:
            state = _train(fold, state, checkpoints, start)
        state, tested_step = _tested_state(fold, state, checkpoints)
    finally:
        checkpoints.close()

    rows = fold.split.test
    batches = fold.placement.eval_batches(rows, _eval_batch_size(fold))
    predictions = evaluate.predict(fold.program.eval_step, state, batches, rows)
    figures = evaluate.figures(predictions, fold.faces, fold.targets)
    evaluate.write_predictions(
        fold.directory / "predictions.csv", predictions, fold.faces, fold.targets
    )
    result = _result(
        fold,
        figures,
        predictions,
        tested_step=tested_step,
        steps=fold.program.steps,
        images_per_second=_images_per_second(fold.directory / "metrics.jsonl"),
        seconds=time.monotonic() - started,
    )
    bundle.save(fold.directory / "bundle", state, fold.config, result)
    files.write_json(fold.directory / "result.json", result)
    return result
