"""The steps that a run would take, compiled for devices that need not be there."""

import dataclasses
import importlib.util
import os
import time
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
from jax.sharding import Mesh

from ageflax import config as configuration
from ageflax.data.batches import Batch
from ageflax.training.state import TrainState, variables_of
from ageflax.compile_for import hlo
from ageflax.compile_for.chips import Slice
from ageflax.config import Config
from ageflax.errors import InputError, RunError, first_line
from ageflax.runtime.mesh import check_divides, make_mesh
from ageflax.training import program
from ageflax.training.step import init_state

STEPS = ("train", "resident", "evaluate")
# Otherwise the TPU's library asks the cloud about its machine, complains that nobody answers, and
# lets one process at a time load it.
_WITHOUT_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A step as it would run on one chip of a slice.

    Attributes:
      step: "train", "resident" or "evaluate".
      images: of the batch, on a chip.
      dtype: that the config computes in.
      seconds: that the compiler took.
      arguments: bytes of state and batch; of the faces too, where they are resident.
      temporaries: bytes of everything that lives within a step.
      code: bytes of the program.
      flops: operations of a step; a loop's body is counted once.
      bytes: touched in a step, likewise, those in the chip's own memory included.
      cycles: that the compiler expects, likewise, exchanges not counted.
      collectives: exchanges with other chips.
      products: convolutions and matrix products by the types of their operands.
      host_calls: what waits for the host.
      padding: what fills up tiles in HBM, as a share.
      parameter_bytes: of the float32 parameters.
    """

    step: str
    images: int
    dtype: str
    seconds: float
    arguments: int
    temporaries: int
    code: int
    flops: float
    bytes: float
    cycles: int
    collectives: list[hlo.Collective]
    products: dict[str, int]
    host_calls: list[str]
    padding: float
    parameter_bytes: int

    @property
    def memory(self) -> int:
        """Bytes that the step needs on a chip."""
        return self.arguments + self.temporaries + self.code


def _wake_no_device() -> None:
    """Only this machine's compilers are wanted; a device that it has may be at work."""
    if not jax.config.jax_platforms:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_platforms", "cpu")


def lowering_mesh() -> Mesh:
    """A mesh of one device, to lower for another platform on."""
    _wake_no_device()
    return make_mesh(jax.devices()[:1])


def topology_mesh(where: Slice) -> Mesh:
    """A mesh of the slice's chips, which need not be there.

    Raises:
      InputError: no TPU compiler is installed.
      RunError: it does not know the slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(
            f"--topology={where.name}: the TPU's compiler is not installed; `uv run --extra tpu`, or"
            ' pip install "ageflax[tpu]"'
        )
    _wake_no_device()
    for name, value in _WITHOUT_TPU.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=where.name)
    except Exception as error:  # whatever the compiler's loader raises
        raise RunError(f"--topology={where.name}: {first_line(error)}") from error
    return make_mesh(found.devices)


def _state(built: program.Program, config: Config) -> TrainState:
    """Shapes of a run's state."""
    side = config.data.resize if config.data.mean == "image" else 1
    weights = {}
    if config.loss.class_weights != "none":
        weights = {
            task: jax.ShapeDtypeStruct((objective.classes,), jnp.float32)
            for task, objective in built.recipe.objectives.items()
        }

    def init(mean: jax.Array, weights: Any) -> TrainState:
        return init_state(
            built.network,
            built.tx,
            jax.random.key(0),
            built.recipe,
            built.mesh,
            mean=mean,
            class_weights=weights,
        )

    return jax.eval_shape(init, jax.ShapeDtypeStruct((side, side, 3), jnp.float32), weights)


def _batch(config: Config, count: int) -> Batch:
    """Shapes of `count` decoded faces."""
    size = config.data.resize
    labels = {
        task: jax.ShapeDtypeStruct((count,), jnp.float32 if task == "years" else jnp.int32)
        for task in configuration.tasks(config)
    }
    images: Any = jax.ShapeDtypeStruct((count, size, size, 3), jnp.uint8)
    mask: Any = jax.ShapeDtypeStruct((count,), jnp.bool_)
    return Batch(images=images, labels=labels, mask=mask)  # type: ignore[arg-type]


class Recipe:
    """A config's program for a mesh, to compile steps of.

    Args:
      config: resolved.
      mesh: of devices that need not be there.
    """

    def __init__(self, config: Config, mesh: Mesh):
        self.config, self._mesh = config, mesh
        # The mean over Adience's folds; it decides the schedule's length and nothing of a step's cost.
        self._built = program.build(config, mesh, training_faces=14_000.0)
        self._state = _state(self._built, config)

    def images(self, step: str) -> int:
        """Faces that a step takes on each device.

        Raises:
          InputError: the batch does not divide over the devices.
        """
        devices = self._mesh.devices.size
        if step == "evaluate":  # as a run does it: what is missing is padded
            return -(-self.config.eval.batch_size // devices)
        check_divides(self.config.data.batch_size, self._mesh, "data.batch_size")
        return self.config.data.batch_size // devices

    def _traced(self, step: str, faces: int) -> tuple[Any, tuple[Any, ...]]:
        """A step's function, and the shapes of its arguments."""
        built, config = self._built, self.config
        batch = _batch(config, self.images(step) * self._mesh.devices.size)
        if step == "evaluate":
            return built.eval_step, (variables_of(self._state), batch.images)
        phase = built.phases[-1]  # the one in which most learns
        if step == "train":
            if built.recipe.cached:
                features = jax.eval_shape(
                    built.feature_step, variables_of(self._state), batch.images
                )
                batch = batch.replace(images=features)  # type: ignore[attr-defined]
            return phase.train_step, (self._state, batch)
        if built.recipe.cached:
            raise InputError("--steps=resident: with transfer.cache_features no faces are resident")
        count = program.dispatch(config.data, config.eval, resident=True, mesh=self._mesh)
        rows = jax.ShapeDtypeStruct((count, config.data.batch_size), jnp.int32)
        return phase.resident_train_step, (self._state, _batch(config, faces), rows)

    def compile(self, step: str, *, faces: int) -> Compiled | None:
        """A step, compiled; None where its arrays do not fit the chip's memory.

        Args:
          step: of STEPS.
          faces: that are resident.

        Raises:
          RunError: the compiler fails otherwise.
        """
        function, shapes = self._traced(step, faces)
        started = time.monotonic()
        try:
            compiled = function.lower(*shapes).compile()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" in str(error):
                return None
            raise RunError(f"{step}: {first_line(error)}") from error
        seconds = time.monotonic() - started
        memory, cost, text = (
            compiled.memory_analysis(),
            compiled.cost_analysis(),
            compiled.as_text(),
        )
        leaves = jax.tree.leaves(self._state.params)
        return Compiled(
            step=step,
            images=self.images(step),
            dtype=self.config.model.dtype,
            seconds=seconds,
            arguments=memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            - memory.alias_size_in_bytes,
            temporaries=memory.temp_size_in_bytes,
            code=memory.generated_code_size_in_bytes,
            flops=float(cost.get("flops", 0.0)),
            bytes=float(cost.get("bytes accessed", 0.0)),
            cycles=hlo.cycles(text),
            collectives=hlo.collectives(text),
            products=hlo.products(text),
            host_calls=hlo.host_calls(text),
            padding=hlo.padding(text),
            parameter_bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in leaves),
        )

    def lower(self, step: str, *, platform: str, faces: int) -> str:
        """A step in StableHLO for a platform, as jax.export writes it; nothing is compiled."""
        function, shapes = self._traced(step, faces)
        return jax.export.export(function, platforms=(platform,))(*shapes).mlir_module()
