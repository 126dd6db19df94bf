"""The training loop of a fold: steps, validations, checkpoints; SIGTERM ends it at any step."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from ageflax.data.batches import Batch, Batches
from ageflax.data.order import ShuffledRows
from ageflax.errors import RunError, first_line
from ageflax.evaluation.figures import scores
from ageflax.evaluation.predictions import predict
from ageflax.runtime import hosts, preemption
from ageflax.runtime.files import Json
from ageflax.runtime.mesh import put, replicated, rounded_up
from ageflax.runtime.progress import Progress
from ageflax.training.checkpoints import Checkpoints, matmul_precision
from ageflax.training.fold import Fold
from ageflax.training.log import MetricsLog
from ageflax.training.log_lines import Records
from ageflax.training.program import dispatch, pieces
from ageflax.training.state import TrainState, variables_of


def ranking(figures: dict[str, Json], chosen: str) -> float | None:
    """Figure that ranks checkpoints, larger is better; None if no task has it.

    `exact` and `one_off` are means over the tasks that have them; `mae` is the negative error of the
    head for years, else of that for age groups.
    """
    if chosen == "auto":
        chosen = "mae" if "years" in figures else "exact"
    if chosen == "mae":
        aged = figures.get("years") or figures.get("age") or {}
        mae = aged.get("years", {}).get("mae")
        return None if mae is None else -mae
    found = [f[chosen] for f in figures.values() if f.get(chosen) is not None]
    return float(np.mean(found)) if found else None


@dataclasses.dataclass
class Patience:
    """Early stopping after `limit` validations without a better figure; 0 never stops."""

    limit: int
    best: float = -math.inf
    waited: int = 0

    def see(self, figure: float) -> bool:
        """Records a validation's figure; returns True if training should stop."""
        improved = figure > self.best
        self.best, self.waited = max(figure, self.best), 0 if improved else self.waited + 1
        return bool(self.limit) and self.waited >= self.limit


def _validate(fold: Fold, state: TrainState, placement: Batches) -> tuple[dict[str, float], float]:
    """Validation figures for the log line, and the figure that ranks checkpoints.

    Without labelled validation faces, a later checkpoint ranks higher.
    """
    rows = fold.split.validation
    if not len(rows):
        return {}, float(state.step)
    answer = functools.partial(fold.program.quick_eval_step, variables_of(state))
    size = rounded_up(fold.config.eval.batch_size, fold.program.mesh)
    batches = _until_stopped(placement.eval_batches(rows, size))
    predictions = predict(answer, batches, rows)
    figures = scores(predictions, fold.faces, fold.targets)
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
    figure = ranking(figures, fold.config.eval.figure)
    return record, float(state.step) if figure is None else figure


def _steps_per_dispatch(fold: Fold, placement: Batches) -> int:
    config, resident = fold.config, placement.name == "device"
    return dispatch(config.data, config.eval, resident=resident, mesh=fold.program.mesh)


def _stretches(fold: Fold, start: int, placement: Batches) -> list[range]:
    """Steps from `start` on, in stretches of one dispatch each."""
    program = fold.program
    multiple = _steps_per_dispatch(fold, placement)
    breaks = [phase.start for phase in program.phases]
    return pieces(start, program.steps, multiple=multiple, breaks=breaks)


def _until_stopped(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yields the batches; raises Preempted once all hosts agree to stop."""
    for batch in batches:
        if hosts.stopping():
            raise preemption.Preempted
        yield batch


def _taken(inputs: Iterator[Any]) -> Any:
    """Input of the next step."""
    try:
        return next(inputs)
    except Exception as error:
        # A signal to the whole process group also ends the workers that make the input.
        if preemption.asked() and hosts.alone():
            raise preemption.Preempted from error
        raise


@dataclasses.dataclass
class FoldProgress:
    """Loop state saved with every checkpoint.

    Attributes:
      fold: the fold in training.
      checkpoints: the fold's checkpoints.
      patience: early stopping.
      stopped: True once early stopping has ended training.
      unwritten: metrics of the steps since the last log line, if training stopped between two.
      record: log line of a validation that was interrupted.
    """

    fold: Fold
    checkpoints: Checkpoints
    patience: Patience
    stopped: bool = False
    unwritten: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    record: Json | None = None

    def restored(self, notes: Json) -> None:
        """Resumes from a checkpoint's notes."""
        self.patience.best, self.patience.waited = notes["best"], notes["waited"]
        self.stopped = notes["stopped"]
        self.unwritten, self.record = notes.get("unwritten", {}), notes.get("record")

    def save(self, state: TrainState, figure: float | None, **notes: Any) -> None:
        """Starts saving; a checkpoint without a figure serves only to resume from."""
        common = {
            "best": self.patience.best,
            "waited": self.patience.waited,
            "stopped": self.stopped,
            "made_by": made_by(self.fold),
            "teachers": [teacher.sha256 for teacher in self.fold.teachers],
        }
        self.checkpoints.save(int(state.step), state, {**common, **notes}, figure)

    def keep(self, state: TrainState, *, saved: bool = False, **notes: Any) -> None:
        """Saves the state before a stop, unless it was just saved."""
        if not saved:
            self.save(state, None, **notes)
        self.checkpoints.finish()
        self.fold.say(f"fold {self.fold.number}: told to stop; saved at step {int(state.step)}")

    def validate(
        self, state: TrainState, placement: Batches, records: Records, record: Json
    ) -> None:
        """Validates, saves, then writes the log line: every logged figure has its checkpoint."""
        try:
            validation, figure = _validate(self.fold, state, placement)
        except preemption.Preempted:
            self.keep(state, record=record)
            raise
        self.stopped = self.patience.see(figure)
        self.save(state, figure, validation=validation)
        records.write(record, {**validation, "saving_seconds": self.checkpoints.seconds})


def made_by(fold: Fold) -> Json:
    """Devices, placement, steps per dispatch and precision, on which the rounding of sums depends."""
    devices = fold.program.mesh.devices
    return {
        "devices": devices.size,
        "kind": devices.flat[0].device_kind,
        "placement": fold.placement.name,
        "dispatch": _steps_per_dispatch(fold, fold.placement),
        "matmul_precision": matmul_precision(),
    }


def _teachers(fold: Fold) -> tuple[Any, ...]:
    """Argument that teachers add to a step, on the devices; empty without teachers."""
    if not fold.teachers:
        return ()
    variables = tuple(teacher.variables for teacher in fold.teachers)
    return (put(variables, replicated(fold.program.mesh)),)


def train(fold: Fold, state: TrainState, progress: FoldProgress, placement: Batches) -> TrainState:
    """Trains to the last step, or until early stopping; logs, validates and saves.

    Args:
      fold: the fold.
      state: state to start from.
      progress: loop state to start from; updated.
      placement: source of batches; of cached features if the recipe has them.

    Raises:
      RunError: a loss is not finite, a checkpoint cannot be saved, or a device or process is lost.
      Preempted: the run was told to stop; the state is saved.
    """
    start = step = int(state.step)
    config, program = fold.config, fold.program
    stop = program.steps
    order = ShuffledRows(fold.split.train, (config.seed, fold.number), fold.draws)
    stretches = _stretches(fold, start, placement)
    inputs = placement.train_inputs(order, stretches, config.data.batch_size)
    resident = placement.name == "device"
    teachers = _teachers(fold)
    log = MetricsLog(fold.directory, start, silent=not hosts.writer())
    records = Records(
        log,
        start,
        tasks=tuple(fold.targets),
        batch_size=config.data.batch_size,
        training_faces=len(fold.split.train),
        schedule=program.schedule,
        unwritten=progress.unwritten,
    )
    label = f"fold {fold.number}"
    try:
        with Progress(stop, unit="step", label=label, initial=start) as display:
            if progress.record is not None:
                progress.validate(state, placement, records, progress.record)
            for piece in stretches:
                if progress.stopped:
                    fold.say(
                        f"fold {fold.number}: stopped at step {step} of {stop}: no better validation"
                        f" figure in {progress.patience.limit} validations"
                    )
                    break
                phase = program.phase(piece.start)
                take: Callable[..., Any] = (
                    phase.resident_train_step if resident else phase.train_step
                )
                try:
                    arguments = (*_taken(inputs), *teachers)
                except preemption.Preempted:
                    progress.keep(state, unwritten=records.unwritten())
                    raise
                what = f"fold {fold.number} steps from {phase.start}, {len(piece)} at once"
                hosts.compile_together(what, take, state, *arguments)
                state, metrics = take(state, *arguments)
                record = records.add(metrics)
                step = piece.stop
                validated = not step % config.eval.every or step == stop
                if validated:
                    record = records.finish(step)
                    progress.validate(state, placement, records, record)
                elif not step % config.eval.log_every:
                    records.hold(step)
                display.update(len(piece), **_notes(record))
                if hosts.stopping() and step != stop:
                    progress.keep(state, saved=validated, unwritten=records.unwritten())
                    raise preemption.Preempted
    except RunError as error:
        raise RunError(f"fold {fold.number}: {error}") from error
    except jax.errors.JaxRuntimeError as error:
        first = first_line(error)
        if not hosts.alone() and "RESOURCE_EXHAUSTED" not in first:
            raise RunError(
                f"fold {fold.number}: another process was lost near step {step}: {first}; the same"
                " command resumes from the last checkpoint"
            ) from error
        raise RunError(
            f"fold {fold.number}: the device failed near step {step}: {first}; if memory ran out,"
            " lower data.batch_size or set data.placement=host"
        ) from error
    finally:
        records.close()
        log.close()
        progress.checkpoints.finish()
    return state


def _notes(record: Json) -> dict[str, str]:
    """Part of a log line that the progress display shows."""
    if not record:
        return {}
    return {"loss": f"{record['loss']:.3f}", "images": f"{record['images_per_second']:.0f}/s"}
