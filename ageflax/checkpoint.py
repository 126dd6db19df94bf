"""Saving and restoring a fold's training; the only place that knows Orbax."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from ageflax.errors import RunError
from ageflax.structs import TrainState

# Two, so that the one before is there when the latest turns out damaged.
_LATEST_KEPT = 2


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint read back.

    Attributes:
      state: as saved, placed as the template was.
      notes: what was saved beside it, JSON.
    """

    state: TrainState
    notes: dict[str, Any]


def _plain(state: TrainState) -> dict[str, Any]:
    """The state by field name, its key as raw bits, which every Orbax release can store."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return fields | {"key": jax.random.key_data(state.key)}


def _figure(metrics: Any) -> float:
    return metrics["figure"]


class Checkpoints:
    """The checkpoints of one fold: saved asynchronously, the latest and the best kept.

    Writes are atomic: Orbax fills a temporary folder and renames it, so a save that is cut off leaves
    the one before as it was.

    Args:
      directory: where they lie, one folder a step; made if absent.
      say: takes one line for the user.
    """

    def __init__(self, directory: Path, *, say: Callable[[str], None]):
        # Orbax logs its own doings at every save; the user is told what matters by this class.
        logging.getLogger("absl").setLevel(logging.ERROR)
        self._directory = directory.absolute()
        self._say = say
        keep = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(_LATEST_KEPT),
                checkpoint_managers.BestN(
                    get_metric_fn=_figure,
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=keep,
                # What is kept is the policy's to say; but without best_fn Orbax writes no figures,
                # and a continued run would not know which of its checkpoints was the best.
                best_fn=_figure,
                cleanup_tmp_directories=True,
            ),
        )

    def save(self, step: int, state: TrainState, notes: dict[str, Any], figure: float) -> None:
        """Starts saving; returns as soon as the arrays are copied off the device.

        Args:
          step: names the checkpoint.
          state: may be donated to the next step at once.
          notes: JSON, whatever else is needed to go on.
          figure: decides which is best; larger is better.
        """
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(_plain(state)), notes=ocp.args.JsonSave(notes)
                ),
                metrics={"figure": figure},
                force=True,
            )
        except (OSError, ValueError) as error:
            raise self._failed(step, error) from error

    def _failed(self, step: int, error: Exception) -> RunError:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return RunError(f"cannot save checkpoint {self._directory / str(step)}: {first}")

    def finish(self) -> None:
        """Waits until everything is on disk."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._failed(self._manager.latest_step() or 0, error) from error

    def close(self) -> None:
        """Waits, and lets go of Orbax's threads."""
        self.finish()
        self._manager.close()

    def steps(self) -> list[int]:
        """Steps of the checkpoints on disk, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """Step of the checkpoint with the largest figure; the latest of equals, as Orbax keeps it."""
        self.finish()
        figures = {}
        for step in self.steps():
            metrics = self._manager.metrics(step)
            if metrics is not None:
                figures[step] = metrics["figure"]
        return max(figures, key=lambda step: (figures[step], step)) if figures else None

    def restore(self, step: int, template: TrainState) -> Restored:
        """Reads one checkpoint back, each array placed as the template's.

        Raises:
          RunError: it is damaged, or of another network.
        """
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _plain(template))
        try:
            read: Any = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(shapes), notes=ocp.args.JsonRestore()
                ),
            )
        # What a damaged checkpoint raises depends on which byte is gone: all of it means the same.
        except Exception as error:
            first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise RunError(
                f"checkpoint {self._directory / str(step)} cannot be read: {first}"
            ) from error
        fields = read.state | {"key": jax.random.wrap_key_data(read.state["key"])}
        return Restored(state=TrainState(**fields), notes=read.notes)

    def restore_latest(self, template: TrainState) -> Restored | None:
        """The latest checkpoint that can be read; None where there is none at all.

        A damaged one is said, set aside as `STEP.damaged`, and the one before is used.

        Raises:
          RunError: there are checkpoints and none can be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.restore(step, template)
            except RunError as error:
                self._say(f"{error}; going on from the one before")
                damaged = self._directory / str(step)
                damaged.rename(damaged.with_name(f"{step}.damaged"))
                self._manager.reload()
        if steps:
            raise RunError(
                f"none of the checkpoints in {self._directory} can be read; move that folder away"
                " to start the fold again"
            )
        return None
