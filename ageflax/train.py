"""One fold: train, validate, save, test."""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ageflax import bundle, evaluate, files, initial
from ageflax import config as configuration
from ageflax.checkpoint import Checkpoints
from ageflax.config import Config
from ageflax.data.dataset import Faces, Target
from ageflax.data.order import ShuffledRows
from ageflax.data.splits import Split
from ageflax.errors import RunError
from ageflax.metrics_log import MetricsLog, images_per_second
from ageflax.placement import Placement
from ageflax.program import Program, dispatch, pieces
from ageflax.progress import Progress
from ageflax.structs import TrainState
from ageflax.training_records import Records
from ageflax.weights.transfer import Loaded


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
      weights: what training starts from; None from scratch.
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
    weights: Loaded | None
    say: Callable[[str], None]


def _ranking(figures: dict[str, dict[str, Any]], chosen: str) -> float | None:
    """The figure that ranks checkpoints, larger is better; None where there is none.

    `exact` and `one_off` are means over the tasks that have them; `mae` is that of the years' head, or
    of the age groups', and negative.
    """
    if chosen == "auto":
        chosen = "mae" if "years" in figures else "exact"
    if chosen == "mae":
        aged = figures.get("years") or figures.get("age") or {}
        mae = aged.get("years", {}).get("mae")
        return None if mae is None else -mae
    found = [f[chosen] for f in figures.values() if f.get(chosen) is not None]
    return float(np.mean(found)) if found else None


def _validate(
    fold: Fold, state: TrainState, placement: Placement
) -> tuple[dict[str, float], float]:
    """Validation figures, and the one that ranks checkpoints.

    Without validation faces, or labels of theirs, the later checkpoint counts as the better one.
    """
    rows = fold.split.validation
    if not len(rows):
        return {}, float(state.step)
    batches = placement.eval_batches(rows, _eval_batch_size(fold))
    predictions = evaluate.predict(fold.program.quick_eval_step, state, batches, rows)
    figures = evaluate.scores(predictions, fold.faces, fold.targets)
    record = {
        f"validation_{task}_{name}": values[name]
        for task, values in figures.items()
        for name in ("exact", "one_off")
        if values.get(name) is not None
    }
    record |= {
        f"validation_{task}_mae": values["years"]["mae"]
        for task, values in figures.items()
        if "years" in values
    }
    figure = _ranking(figures, fold.config.eval.figure)
    return record, float(state.step) if figure is None else figure


def _eval_batch_size(fold: Fold) -> int:
    """The config's, rounded up to what divides over the devices; padding makes it exact."""
    devices = fold.program.mesh.devices.size
    return -(-fold.config.eval.batch_size // devices) * devices


@dataclasses.dataclass
class _Patience:
    """How long validation has not improved; saved with each checkpoint, so a resumed run knows."""

    limit: int
    best: float = -math.inf
    waited: int = 0

    def see(self, figure: float) -> bool:
        """Takes a validation's figure; True when it is time to stop."""
        improved = figure > self.best
        self.best, self.waited = max(figure, self.best), 0 if improved else self.waited + 1
        return bool(self.limit) and self.waited >= self.limit


def _stretches(fold: Fold, start: int, placement: Placement) -> list[range]:
    """The steps from `start` on, in stretches that are dispatched as one."""
    config, program = fold.config, fold.program
    multiple = dispatch(
        config.data, config.eval, resident=placement.name == "device", mesh=program.mesh
    )
    breaks = [phase.start for phase in program.phases]
    return pieces(start, program.steps, multiple=multiple, breaks=breaks)


def _train(
    fold: Fold,
    state: TrainState,
    checkpoints: Checkpoints,
    patience: _Patience,
    placement: Placement,
) -> TrainState:
    """Steps up to the last, or until validation stops improving; logs, validates and saves."""
    start = step = int(state.step)
    config, program = fold.config, fold.program
    stop = program.steps
    order = ShuffledRows(fold.split.train, (config.seed, fold.number))
    stretches = _stretches(fold, start, placement)
    inputs = placement.train_inputs(order, stretches, config.data.batch_size)
    resident = placement.name == "device"
    log = MetricsLog(fold.directory, start)
    records = Records(
        log,
        start,
        tasks=tuple(fold.targets),
        batch_size=config.data.batch_size,
        training_faces=len(fold.split.train),
        schedule=program.schedule,
    )
    label = f"fold {fold.number}"
    try:
        with Progress(stop, unit="step", label=label, initial=start) as progress:
            for piece, arguments in zip(stretches, inputs, strict=True):
                phase = program.phase(piece.start)
                take: Callable[..., Any] = (
                    phase.resident_train_step if resident else phase.train_step
                )
                state, metrics = take(state, *arguments)
                record = records.add(metrics)
                step = piece.stop
                if step % config.eval.every and step != stop:
                    if step % config.eval.log_every == 0:
                        records.hold(step)
                    progress.update(len(piece), **_notes(record))
                    continue
                record = records.finish(step)
                validation, figure = _validate(fold, state, placement)
                stops = patience.see(figure)
                notes = {"best": patience.best, "waited": patience.waited, "stopped": stops}
                checkpoints.save(step, state, {"validation": validation, **notes}, figure)
                records.write(record, validation)
                progress.update(len(piece), **_notes(record))
                if stops:
                    fold.say(
                        f"fold {fold.number}: stopped at step {step} of {stop}: no better figure on"
                        f" the validation faces in {patience.limit} validations"
                    )
                    break
    except RunError as error:
        raise RunError(f"fold {fold.number}: {error}") from error
    except jax.errors.JaxRuntimeError as error:
        # Out of memory, most often; the first line says which and how much.
        first = str(error).splitlines()[0]
        raise RunError(
            f"fold {fold.number}: the device failed near step {step}: {first}. If memory ran out,"
            " lower data.batch_size or set data.placement=host"
        ) from error
    finally:
        records.close()
        log.close()
        checkpoints.finish()
    return state


def _notes(record: dict[str, Any]) -> dict[str, str]:
    """What the progress display shows of a log line."""
    if not record:
        return {}
    return {"loss": f"{record['loss']:.3f}", "images": f"{record['images_per_second']:.0f}/s"}


def _tested_state(
    fold: Fold, state: TrainState, checkpoints: Checkpoints
) -> tuple[TrainState, int]:
    """The weights the protocol tests, and their step."""
    last = int(state.step)
    if fold.config.eval.checkpoint == "last":
        return state, last
    best = checkpoints.best_step()
    if best is None or best == last:
        return state, last
    return checkpoints.restore(best, state).state, best


def _test(fold: Fold, state: TrainState) -> tuple[evaluate.Predictions, dict[str, dict[str, Any]]]:
    """Predictions of the test faces, and figures, at temperatures that the validation faces give."""

    def predicted(rows: np.ndarray) -> evaluate.Predictions:
        batches = fold.placement.eval_batches(rows, _eval_batch_size(fold))
        return evaluate.predict(fold.program.eval_step, state, batches, rows)

    faces, targets, temperatures = fold.faces, fold.targets, {}
    if len(fold.split.validation):
        temperatures = evaluate.temperatures(predicted(fold.split.validation), faces, targets)
    age_groups = faces.target(
        "age",
        policy=fold.config.data.label_policy,
        intervals=configuration.intervals(fold.config),
    )
    predictions = predicted(fold.split.test)
    return predictions, evaluate.figures(
        predictions, faces, targets, temperatures=temperatures, age_groups=age_groups
    )


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
            "train_share": config.data.train_share,
        },
        "data": fold.source,
        "weights": fold.weights.provenance if fold.weights else None,
        "faces": {
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
            "test_unreadable": len(predictions.unreadable),
        },
        "tasks": figures,
        **more,
    }


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
        state = initial.state(fold.program, fold.config, fold.number, fold.placement, fold.split)
        restored = checkpoints.restore_latest(state)
        patience, stopped = _Patience(fold.config.eval.patience), False
        if restored is None:
            if fold.weights is not None:
                state = initial.transferred(state, fold.weights, fold.config, say=fold.say)
        else:
            state, notes = restored.state, restored.notes
            patience.best, patience.waited = notes["best"], notes["waited"]
            stopped = notes["stopped"]
            fold.say(
                f"fold {fold.number}: going on from step {int(state.step)} of {fold.program.steps}"
            )
        if int(state.step) < fold.program.steps and not stopped:
            placement = fold.placement
            if fold.program.recipe.cached:
                placement = initial.cached(fold.program, fold.placement, fold.split, state)
            state = _train(fold, state, checkpoints, patience, placement)
        steps = int(state.step)
        state, tested_step = _tested_state(fold, state, checkpoints)
    finally:
        checkpoints.close()

    predictions, figures = _test(fold, state)
    evaluate.write_predictions(
        fold.directory / "predictions.csv", predictions, fold.faces, fold.targets
    )
    result = _result(
        fold,
        figures,
        predictions,
        tested_step=tested_step,
        steps=steps,
        images_per_second=images_per_second(fold.directory),
        seconds=time.monotonic() - started,
    )
    bundle.save(fold.directory / "bundle", state, fold.config, result)
    files.write_json(fold.directory / "result.json", result)
    return result
