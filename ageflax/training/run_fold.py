"""One fold of a run: trained, validated, tested, and its bundle and result written."""

import functools
import time
from typing import Any

import numpy as np

from ageflax import bundle
from ageflax import config as configuration
from ageflax.bundle.age_intervals import AgeIntervals
from ageflax.bundle.inference import network_variables
from ageflax.data import splits
from ageflax.errors import InputError
from ageflax.evaluation import conditions, quality
from ageflax.evaluation.figures import fit_intervals, fit_temperatures, measure
from ageflax.evaluation.predictions import Predictions, predict
from ageflax.evaluation.predictions_csv import write_predictions
from ageflax.evaluation.result import FaceCounts, FoldResult, Protocol
from ageflax.metrics.conformal import FEWEST, Conformal
from ageflax.runtime import files, hosts, preemption
from ageflax.runtime.files import Json
from ageflax.runtime.mesh import rounded_up
from ageflax.training import distillation, initial, untrained
from ageflax.training.checkpoints import Checkpoints
from ageflax.training.fold import Fold
from ageflax.training.log import images_per_second
from ageflax.training.loop import FoldProgress, Patience, made_by, train
from ageflax.training.state import TrainState, variables_of

__all__ = ["Fold", "run"]

# Share of a fold's time above which the time that saving takes is reported.
_SAVING_SHARE = 0.05


def _tested_state(
    fold: Fold, state: TrainState, checkpoints: Checkpoints
) -> tuple[TrainState, int]:
    """State that the protocol tests, last or best, and its step."""
    last = int(state.step)
    best = checkpoints.best_step() if fold.config.eval.checkpoint == "best" else last
    if best is None or best == last:
        return state, last
    return checkpoints.restore(best, state).state, best


def _test(
    fold: Fold, state: TrainState
) -> tuple[Predictions, dict[str, Json], dict[str, Conformal]]:
    """Predictions of the test faces, figures, and intervals of ages.

    Intervals and temperatures are fitted on the validation faces.
    """
    answer = functools.partial(fold.program.eval_step, variables_of(state))
    size = rounded_up(fold.config.eval.batch_size, fold.program.mesh)

    def predicted(rows: np.ndarray) -> Predictions:
        batches = fold.placement.eval_batches(rows, size)
        return predict(answer, batches, rows)

    faces, targets, temperatures, intervals = fold.faces, fold.targets, {}, {}
    if len(fold.split.validation):
        validated = predicted(fold.split.validation)
        temperatures = fit_temperatures(validated, faces, targets)
        intervals = fit_intervals(validated, faces, targets)
    if not intervals and not {"age", "years"}.isdisjoint(targets):
        fold.say(
            f"fold {fold.number}: no age intervals: fewer than {FEWEST} validation people of known age;"
            " raise data.validation_fraction"
        )
    age_groups = faces.target(
        "age",
        policy=fold.config.data.label_policy,
        intervals=configuration.intervals(fold.config),
    )
    predictions = predicted(fold.split.test)
    figures = measure(
        predictions,
        faces,
        targets,
        temperatures=temperatures,
        intervals=intervals,
        age_groups=age_groups,
    )
    return predictions, figures, intervals


def _conditions(fold: Fold, state: TrainState) -> Json:
    """Errors in other conditions than the training's, measured on validation faces."""
    rows = conditions.sample(fold.split.validation, fold.config.eval.conditions)
    if not len(rows):
        return {}
    mesh = fold.program.mesh
    size = rounded_up(fold.config.eval.batch_size, mesh)
    subjects = conditions.Subjects(
        answer=functools.partial(fold.program.eval_step, variables_of(state)),
        batches=conditions.on_host(fold.placement.eval_batches(rows, size)),
        rows=rows,
        mesh=mesh,
        faces=fold.faces,
        targets=fold.targets,
    )
    framings = [subjects.under(change) for change in conditions.FRAMINGS]
    found = {
        "framing_errors": conditions.framing_errors(framings, subjects),
        "quality": quality.measure(subjects, framings),
    }
    return {name: each.to_json() for name, each in found.items() if each}


def _result(
    fold: Fold, figures: dict[str, Json], predictions: Predictions, **measured: Any
) -> FoldResult:
    config, split = fold.config, fold.split
    held_out = config.eval.protocol == "hold_out"
    return FoldResult(
        fold=fold.number,
        protocol=Protocol(
            name=config.eval.protocol,
            label_policy=config.data.label_policy,
            most_frontal=config.data.most_frontal,
            validation="fold_3" if held_out else config.data.validation,
            validation_persons_in_training=split.leaks,
            resize=config.data.resize,
            crop=config.data.crop,
            crops=config.eval.crops,
            age=config.eval.age,
            checkpoint=config.eval.checkpoint,
            train_share=config.data.train_share,
            validation_fraction=None if held_out else config.data.validation_fraction,
        ),
        data=fold.source,
        weights=fold.weights.provenance if fold.weights else None,
        faces=FaceCounts(
            train=len(split.train),
            validation=len(split.validation),
            test=len(split.test),
            test_unreadable=len(predictions.unreadable),
        ),
        tasks=figures,
        **measured,
    )


def _check_teachers(fold: Fold, before: list[str]) -> None:
    """Raises InputError if a run resumes with other teachers' weights than it started with."""
    for teacher, sha256 in zip(fold.teachers, before, strict=False):
        if teacher.sha256 != sha256:
            raise InputError(
                f"distill.teachers: {teacher.path}: other weights than at the start of this run (sha256"
                f" {sha256[:16]} -> {teacher.sha256[:16]}); restore them or choose another --workdir"
            )


def _trained(fold: Fold, checkpoints: Checkpoints) -> tuple[TrainState, int, int]:
    """Trains or resumes; gives the tested state, the number of steps, and the tested step."""
    state = initial.state(
        fold.program, fold.config, fold.number, fold.placement, fold.split, draws=fold.draws
    )
    restored = checkpoints.restore_latest(state)
    progress = FoldProgress(fold, checkpoints, Patience(fold.config.eval.patience))
    if restored is None:
        if fold.weights is not None:
            state = initial.transferred(state, fold.weights, fold.config, say=fold.say)
    else:
        state = restored.state
        progress.restored(restored.notes)
        steps = fold.program.steps
        fold.say(f"fold {fold.number}: resuming from step {int(state.step)} of {steps}")
        _check_teachers(fold, restored.notes.get("teachers", []))
        before, now = restored.notes.get("made_by", {}), made_by(fold)
        if changed := [f"{k} {v} -> {now[k]}" for k, v in before.items() if v != now[k]]:
            fold.say(f"fold {fold.number}: {', '.join(changed)}: the same but for rounding")
    unfinished = int(state.step) < fold.program.steps and not progress.stopped
    if unfinished or progress.record is not None:
        placement = fold.placement
        if fold.program.recipe.cached:
            placement = initial.cached(fold.program, fold.placement, fold.split, state)
        with preemption.deferred():
            state = train(fold, state, progress, placement)
    tested, tested_step = _tested_state(fold, state, checkpoints)
    return tested, int(state.step), tested_step


def _write_bundle(fold: Fold, state: TrainState, result: FoldResult) -> None:
    tested = variables_of(state)
    description = bundle.Description.of_run(fold.config, result.to_json())
    bundle.write(
        fold.directory / "bundle",
        untrained.of_its_training(description, fold),
        network_variables(tested.params, tested.batch_stats),
        mean=tested.mean,
        std=tested.std,
    )


def run(fold: Fold) -> FoldResult:
    """Trains and tests one fold; resumes if it was interrupted.

    Returns:
      Content of result.json, which is written last: its presence marks the fold as done.

    Raises:
      RunError: the loss is not finite, or a checkpoint cannot be saved or read.
      Preempted: the run was told to stop; the state is saved.
    """
    started = time.monotonic()
    splits.check(fold.split, fold.faces, fold.targets)
    fold.directory.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(fold.directory / "checkpoints", say=fold.say)
    try:
        state, steps, tested_step = _trained(fold, checkpoints)
        saving = checkpoints.seconds
    finally:
        checkpoints.close()

    predictions, figures, intervals = _test(fold, state)
    measured = _conditions(fold, state)
    seconds = time.monotonic() - started
    if saving > _SAVING_SHARE * seconds:
        fold.say(
            f"fold {fold.number}: saving blocked training for {saving:.1f} of {seconds:.1f} seconds;"
            " raise eval.every to save less often"
        )
    promised = {}
    for task, found in intervals.items():  # one, or none
        promised["age_interval"] = AgeIntervals(task, fold.config.eval.crops, found).to_json()
    taught = {"teachers": distillation.described(fold.teachers)} if fold.teachers else {}
    result = _result(
        fold,
        figures,
        predictions,
        tested_step=tested_step,
        more={"steps": steps, **promised, **taught, **measured},
        images_per_second=images_per_second(fold.directory) if steps and hosts.writer() else None,
        seconds=seconds,
    )
    if hosts.writer():
        path = fold.directory / "predictions.csv"
        write_predictions(path, predictions, fold.faces, fold.targets, intervals)
        _write_bundle(fold, state, result)
        files.write_json(fold.directory / "result.json", result.to_json())
    hosts.meet(f"fold {fold.number} written")
    return result
