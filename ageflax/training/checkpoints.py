"""Saving and restoring a fold's training; the only place that knows Orbax."""

import contextlib
import dataclasses
import json
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from ageflax.errors import RunError, first_line
from ageflax.runtime import hosts
from ageflax.training.state import TrainState

# Two, so that the one before is there when the latest turns out damaged.
_LATEST_KEPT = 2
# Sizes and checksums of a checkpoint's files, in its folder.
_SUMS = "sums.json"
# Orbax notes there when it was done, after the sums were taken.
_UNSUMMED = ("_CHECKPOINT_METADATA", _SUMS)


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


def _sums(directory: Path) -> dict[str, list[int]]:
    """Size and CRC-32 of every file below a folder, by its path."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name not in _UNSUMMED:
            size = crc = 0
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    size, crc = size + len(piece), zlib.crc32(piece, crc)
            found[path.relative_to(directory).as_posix()] = [size, crc]
    return found


def _check(directory: Path) -> None:
    """Raises RunError where a file is not as it was written; says nothing of what has no sums."""
    try:
        expected = json.loads((directory / _SUMS).read_text())
    except FileNotFoundError:
        return  # saved by an earlier release
    except (OSError, ValueError) as error:
        raise RunError(f"{_SUMS} is damaged") from error
    found = _sums(directory)
    for name, sums in expected.items():
        if name not in found:
            raise RunError(f"{name} is absent")
        if found[name] != sums:
            raise RunError(f"{name} is not as it was written")


def skip_byte_counts() -> None:
    """Stops Orbax, in this whole process, from asking TensorStore how many bytes it wrote.

    The count is for a log line that nobody sees, and TensorStore 0.1.86 never frees its answer: 10 kB a
    checkpoint. Commands that train call this; importing or constructing something does not.
    """
    with contextlib.suppress(ImportError):  # private, so it may move
        from orbax.checkpoint._src.serialization import tensorstore_utils

        if hasattr(tensorstore_utils, "get_tensorstore_raw_bytes"):
            tensorstore_utils.get_tensorstore_raw_bytes = lambda *_: 0


class Checkpoints:
    """The checkpoints of one fold: saved asynchronously, the latest and the best kept.

    Writes are atomic: Orbax fills a temporary folder and renames it, so a save that is cut off leaves
    the one before as it was. Of several hosts each writes its part.

    Args:
      directory: where they lie, one folder a step; made if absent.
      say: takes one line for the user.
    """

    def __init__(self, directory: Path, *, say: Callable[[str], None]):
        self._directory = directory.absolute()
        self._say = say
        self._seconds, self._saving = 0.0, 0
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
            item_handlers={
                # A folder an array: the few files of OCDBT, Orbax's default, keep 20 kB of memory a
                # checkpoint for ever (TensorStore 0.1.86), and take longer to write.
                "state": ocp.StandardCheckpointHandler(use_ocdbt=False),
                "notes": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                preservation_policy=keep,
                # What is kept is the policy's to say; but without best_fn Orbax writes no figures,
                # and a continued run would not know which of its checkpoints was the best.
                best_fn=_figure,
                cleanup_tmp_directories=True,
                async_options=ocp.AsyncOptions(post_finalization_callback=self._write_sums),
            ),
        )

    def _write_sums(self) -> None:
        """Before the rename, beside training: there is one temporary folder at a time."""
        if hosts.writer():
            for temporary in self._directory.glob("*.orbax-checkpoint-tmp*"):
                (temporary / _SUMS).write_text(json.dumps(_sums(temporary)))

    def save(
        self, step: int, state: TrainState, notes: dict[str, Any], figure: float | None
    ) -> None:
        """Starts saving; returns as soon as the arrays are copied off the device.

        Args:
          step: names the checkpoint; one of that step is replaced.
          state: may be donated to the next step at once.
          notes: JSON, whatever else is needed to go on.
          figure: decides which is best; larger is better. None where the faces that would tell have not
            been looked at: such a checkpoint is only to go on from.
        """
        started = time.monotonic()
        try:
            if step in self._manager.all_steps():
                self.finish()
                self._manager.delete(step)
            self._manager.wait_until_finished()  # its failure is that step's
            self._saving = step
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(_plain(state)), notes=ocp.args.JsonSave(notes)
                ),
                metrics=None if figure is None else {"figure": figure},
                force=True,
            )
        except (OSError, ValueError) as error:
            raise self._failed(error) from error
        finally:
            self._seconds += time.monotonic() - started

    @property
    def seconds(self) -> float:
        """How long saving has held up training so far."""
        return self._seconds

    def _failed(self, error: Exception) -> RunError:
        lines = str(error).splitlines() or [type(error).__name__]
        # Tensorstore's messages lead through its layers to what the system said.
        first = next((line for line in lines if "No space left" in line), lines[0])
        if "No space left" in first:
            first = "No space left on device"
        return RunError(
            f"cannot save checkpoint {self._directory / str(self._saving)}: {first[:200]}."
            " The one before is kept"
        )

    def finish(self) -> None:
        """Waits until everything is on disk."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Waits, and lets go of Orbax's threads."""
        try:
            self.finish()
        finally:
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
        directory = self._directory / str(step)
        try:
            _check(directory)
            read: Any = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(shapes), notes=ocp.args.JsonRestore()
                ),
            )
        # What a damaged checkpoint raises depends on which byte is gone: all of it means the same.
        except Exception as error:
            first = first_line(error)[:200]
            raise RunError(f"checkpoint {directory} cannot be read: {first}") from error
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
                if hosts.writer():
                    self._set_aside(self._directory / str(step))
                hosts.meet(f"{self._directory.parent.name} {step} set aside")
                self._manager.reload()
        if steps:
            raise RunError(
                f"none of the checkpoints in {self._directory} can be read; move that folder away"
                " to start the fold again"
            )
        return None

    def _set_aside(self, damaged: Path) -> None:
        aside = damaged.with_name(f"{damaged.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)  # of an earlier time
        damaged.rename(aside)
