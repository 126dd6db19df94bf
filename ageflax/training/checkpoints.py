"""Checkpoints of a fold's training; the only module that imports Orbax."""

import contextlib
import dataclasses
import json
import operator
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from ageflax.errors import InputError, RunError, first_line
from ageflax.runtime import hosts
from ageflax.runtime.files import Json
from ageflax.training.state import TrainState

# Two, so that a damaged latest checkpoint leaves the previous one.
_LATEST_KEPT = 2
# Sizes and checksums of a checkpoint's files, in its folder.
_SUMS = "sums.json"
# Orbax writes the time of completion to its metadata after the sums are taken.
_UNSUMMED = ("_CHECKPOINT_METADATA", _SUMS)
# JAX's settings on which the random draws and the types of a step depend.
_SETTINGS = ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_enable_x64")
_PRECISION = "jax_default_matmul_precision"

_figure = operator.itemgetter("figure")


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint read back.

    Attributes:
      state: saved state, placed as the template.
      notes: JSON saved beside the state.
    """

    state: TrainState
    notes: Json


class _DamagedError(RunError):
    """A checkpoint with absent, changed or unreadable files."""


def jax_settings() -> Json:
    """JAX's settings that a resumed run must share, by name."""
    return {name: getattr(jax.config, name) for name in _SETTINGS if hasattr(jax.config, name)}


def matmul_precision() -> str:
    """JAX's precision of matrix products, which may differ when a run resumes."""
    return getattr(jax.config, _PRECISION) or "default"


def _plain(state: TrainState) -> dict[str, Any]:
    """The state by field name, its key as raw bits, which every Orbax release can store."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return fields | {"key": jax.random.key_data(state.key)}


def _sums(directory: Path) -> dict[str, list[int]]:
    """Size and CRC-32 of every file below a folder, by path."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name not in _UNSUMMED:
            size = crc = 0
            with path.open("rb") as file:
                while piece := file.read(1 << 20):
                    size, crc = size + len(piece), zlib.crc32(piece, crc)
            found[path.relative_to(directory).as_posix()] = [size, crc]
    return found


def _check(directory: Path) -> bool:
    """Raises RunError if a file differs from its sums; returns False if there are no sums."""
    try:
        expected = json.loads((directory / _SUMS).read_text())
    except FileNotFoundError:
        return False  # from an earlier release
    except (OSError, ValueError) as error:
        raise RunError(f"{_SUMS} is damaged") from error
    found = _sums(directory)
    for name, sums in expected.items():
        if name not in found:
            raise RunError(f"{name} is absent")
        if found[name] != sums:
            raise RunError(f"{name} has changed since it was written")
    return True


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shape of every array of a tree, or of its metadata, by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: hasattr(x, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
        if hasattr(leaf, "shape")
    }


def _check_settings(directory: Path, made_with: Json) -> None:
    """Raises InputError if a checkpoint was made with other settings of JAX than the present ones."""
    now = jax_settings()
    differing = {name: old for name, old in made_with.items() if now.get(name, old) != old}
    if differing:
        said = ", ".join(f"{k} = {v!r}, now {now[k]!r}" for k, v in differing.items())
        words = " ".join(f"{k.upper()}={str(v).lower()}" for k, v in differing.items())
        raise InputError(
            f"checkpoint {directory}: made with {said}; set {words} to resume, or choose another"
            " --workdir"
        )


def _check_shapes(directory: Path, stored: Any, expected: Any) -> None:
    """Raises InputError if a checkpoint holds the arrays of another network."""
    there, here = _shapes(stored), _shapes(expected)
    differing = [k for k in sorted(there | here) if there.get(k) != here.get(k)]
    if differing:
        name, *more = differing
        old, new = (shapes.get(name, "absent") for shapes in (there, here))
        raise InputError(
            f"checkpoint {directory}: of another network: {name} is {old}, here {new}"
            f"{f', and {len(more)} more arrays differ' if more else ''}; choose another --workdir"
        )


def skip_byte_counts() -> None:
    """Stops Orbax, in the whole process, from asking TensorStore how many bytes it wrote.

    The count goes to a debug log line, and TensorStore 0.1.86 leaks 10 kB per checkpoint for it.
    Commands that train call this; importing or constructing something does not.
    """
    with contextlib.suppress(ImportError):  # a private module, which may move
        from orbax.checkpoint._src.serialization import tensorstore_utils

        if hasattr(tensorstore_utils, "get_tensorstore_raw_bytes"):
            tensorstore_utils.get_tensorstore_raw_bytes = lambda *_: 0


class Checkpoints:
    """Checkpoints of one fold: saved asynchronously; the latest two and the best are kept.

    Writes are atomic: Orbax fills a temporary folder and renames it, so an interrupted save leaves the
    previous checkpoint intact. With several hosts, each writes its part.

    Args:
      directory: folder of checkpoints, one subfolder per step; made if absent.
      say: function that prints a line.

    Attributes:
      seconds: total time that saving has blocked training.
    """

    def __init__(self, directory: Path, *, say: Callable[[str], None]):
        self._directory = directory.absolute()
        self._say = say
        self.seconds, self._saving = 0.0, 0
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
                # One folder per array: OCDBT, Orbax's default, leaks 20 kB per checkpoint
                # (TensorStore 0.1.86) and takes longer to write.
                "state": ocp.StandardCheckpointHandler(use_ocdbt=False),
                "notes": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                preservation_policy=keep,
                # The policy decides which to keep, but without best_fn Orbax writes no figures, and
                # a resumed run would not know its best checkpoint.
                best_fn=_figure,
                cleanup_tmp_directories=True,
                async_options=ocp.AsyncOptions(post_finalization_callback=self._write_sums),
            ),
        )

    def _write_sums(self) -> None:
        """Runs in Orbax's thread before the rename; there is one temporary folder at a time."""
        if hosts.writer():
            for temporary in self._directory.glob("*.orbax-checkpoint-tmp*"):
                (temporary / _SUMS).write_text(json.dumps(_sums(temporary)))

    def save(self, step: int, state: TrainState, notes: Json, figure: float | None) -> None:
        """Starts saving; returns as soon as the arrays are copied off the device.

        Args:
          step: name of the checkpoint; an existing one of that name is replaced.
          state: state to save; may be donated to the next step at once.
          notes: JSON, everything else needed to resume; JAX's settings are added.
          figure: rank of the checkpoint, larger is better; None if it was not validated, and serves only
            to resume from.
        """
        started = time.monotonic()
        try:
            with self._told():
                self._manager.wait_until_finished()  # a failure here is the previous step's
                if step in self._manager.all_steps():
                    self._manager.delete(step)
                self._saving = step
                self._manager.save(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardSave(_plain(state)),
                        notes=ocp.args.JsonSave({**notes, "jax": jax_settings()}),
                    ),
                    metrics=None if figure is None else {"figure": figure},
                    force=True,
                )
        finally:
            self.seconds += time.monotonic() - started

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turns a failed save into a RunError that names the checkpoint."""
        try:
            yield
        except (OSError, ValueError) as error:
            # TensorStore's messages are long; the system's own words are somewhere in them.
            full = "No space left on device"
            why = full if "No space left" in str(error) else first_line(error)[:200]
            raise RunError(
                f"checkpoint {self._directory / str(self._saving)} cannot be saved: {why};"
                " the previous checkpoint is kept"
            ) from error

    def finish(self) -> None:
        """Waits until everything is on disk."""
        with self._told():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for saves and ends Orbax's threads."""
        try:
            self.finish()
        finally:
            self._manager.close()

    def steps(self) -> list[int]:
        """Steps of the checkpoints on disk, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """Step of the checkpoint with the largest figure; the latest of equals, which Orbax keeps."""
        self.finish()
        found = {step: self._manager.metrics(step) for step in self.steps()}
        figures = {step: _figure(each) for step, each in found.items() if each is not None}
        return max(figures, key=lambda step: (figures[step], step)) if figures else None

    def restore(self, step: int, template: TrainState) -> Restored:
        """Reads a checkpoint, each array placed as the template's.

        Raises:
          InputError: the checkpoint is of another network, or made with other settings of JAX.
          RunError: it cannot be read.
        """
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _plain(template))
        directory = self._directory / str(step)
        sound = False
        try:
            sound = _check(directory)
            notes = self._read(step, notes=ocp.args.JsonRestore())["notes"]
            stored = self._manager.item_metadata(step)["state"].tree
            # Older checkpoints do not name the implementation, but their key has its size.
            key, assumed = _shapes(stored)["key"], {}
            if key != shapes["key"].shape:
                assumed = {"jax_default_prng_impl": "threefry2x32" if key == (2,) else "rbg"}
            _check_settings(directory, assumed | notes.pop("jax", {}))
            _check_shapes(directory, stored, shapes)
            state = self._read(step, state=ocp.args.StandardRestore(shapes))["state"]
        except InputError:
            raise
        # The exception depends on which byte is damaged; all mean the same.
        except Exception as error:
            kind = RunError if sound else _DamagedError
            raise kind(
                f"checkpoint {directory} cannot be read: {first_line(error)[:200]}"
            ) from error
        fields = state | {"key": jax.random.wrap_key_data(state["key"])}
        return Restored(state=TrainState(**fields), notes=notes)

    def _read(self, step: int, **items: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**items))

    def restore_latest(self, template: TrainState) -> Restored | None:
        """Reads the latest undamaged checkpoint; None if there are no checkpoints.

        A damaged one is reported and renamed to `STEP.damaged`, and the previous one is used.

        Raises:
          InputError: see `restore`.
          RunError: it cannot be read though it is undamaged, or all are damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.restore(step, template)
            except _DamagedError as error:
                self._say(f"{error}; resuming from the previous checkpoint")
                if hosts.writer():
                    self._set_aside(self._directory / str(step))
                hosts.meet(f"{self._directory.parent.name} {step} set aside")
                self._manager.reload()
        if steps or any(self._directory.glob("*.damaged")):
            raise RunError(
                f"{self._directory}: no checkpoint can be read; move the folder away to start the fold"
                " again"
            )
        return None

    def _set_aside(self, damaged: Path) -> None:
        aside = damaged.with_name(f"{damaged.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)  # left from an earlier resume
        damaged.rename(aside)
