"""Compiles the steps of a run for absent devices."""

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
from ageflax.compile_for import hlo
from ageflax.compile_for.chips import Slice
from ageflax.compile_for.roofline import Cost
from ageflax.config import Config
from ageflax.data.batches import Batch
from ageflax.errors import InputError, RunError, first_line
from ageflax.runtime.mesh import check_divides, make_mesh
from ageflax.training import program
from ageflax.training.state import TrainState, variables_of
from ageflax.training.step import init_state

STEPS = ("train", "resident", "evaluate")
# Otherwise libtpu queries the cloud's metadata server, logs that it does not answer, and can be loaded
# by one process at a time only.
_WITHOUT_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclasses.dataclass(frozen=True)
class Compiled(Cost):
    """A compiled step as it would run on one chip of a slice.

    Attributes:
      step: "train", "resident" or "evaluate".
      dtype: the config's computation type.
      seconds: time of the compilation.
      arguments: bytes of state, batch and resident faces.
      temporaries: bytes of everything that lives within a step.
      code: bytes of the program.
      cycles: the compiler's estimate for a step without exchanges; a loop's body is counted once.
      products: number of convolutions and matrix products by the types of their operands.
      host_calls: operations that wait for the host.
      padding: padding of tiles in HBM, as a share.
      parameter_bytes: bytes of the float32 parameters.
    """

    step: str
    dtype: str
    seconds: float
    arguments: int
    temporaries: int
    code: int
    cycles: int
    products: dict[str, int]
    host_calls: list[str]
    padding: float
    parameter_bytes: int

    @property
    def memory(self) -> int:
        """Bytes that the step needs on a chip."""
        return self.arguments + self.temporaries + self.code


def _use_cpu() -> None:
    """Keeps JAX from starting this machine's accelerators, which may be in use."""
    if not jax.config.jax_platforms:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_platforms", "cpu")


def lowering_mesh() -> Mesh:
    """A mesh of one device, on which to lower for another platform."""
    _use_cpu()
    return make_mesh(jax.devices()[:1])


def topology_mesh(where: Slice) -> Mesh:
    """A mesh of a slice's chips, which may be absent.

    Raises:
      InputError: the TPU compiler is not installed.
      RunError: the compiler does not know the slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(
            f"--topology={where.name}: the TPU compiler is not installed:"
            ' pip install "ageflax[tpu]", or uv run --extra tpu'
        )
    _use_cpu()
    for name, value in _WITHOUT_TPU.items():
        os.environ.setdefault(name, value)
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=where.name)
    except Exception as error:  # whatever the compiler's loader raises
        raise RunError(f"--topology={where.name}: {first_line(error)}") from error
    return make_mesh(found.devices)


def _state(built: program.Program, config: Config) -> TrainState:
    """Shapes of a run's training state."""
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
    """Shapes of a batch of `count` decoded faces."""
    size = config.data.resize
    labels = {
        task: jax.ShapeDtypeStruct((count,), jnp.float32 if task == "years" else jnp.int32)
        for task in configuration.tasks(config)
    }
    images: Any = jax.ShapeDtypeStruct((count, size, size, 3), jnp.uint8)
    mask: Any = jax.ShapeDtypeStruct((count,), jnp.bool_)
    return Batch(images=images, labels=labels, mask=mask)  # type: ignore[arg-type]


class StepCompiler:
    """Compiles steps of a config's program for a mesh.

    Args:
      config: resolved config.
      mesh: mesh of devices, which may be absent.
    """

    def __init__(self, config: Config, mesh: Mesh):
        if config.distill.teachers:
            raise InputError(
                "distill.teachers: steps are compiled without them; set --config.distill.teachers=()"
                " and --config.distill.weight=0"
            )
        self.config, self._mesh = config, mesh
        # The mean over Adience's folds; it sets the schedule's length and does not affect a step's cost.
        self._built = program.build(config, mesh, training_faces=14_000.0)
        self._state = _state(self._built, config)

    def images(self, step: str) -> int:
        """Number of faces of a step on each device.

        Raises:
          InputError: the batch does not divide over the devices.
        """
        devices = self._mesh.devices.size
        if step == "evaluate":  # padded, as in a run
            return -(-self.config.eval.batch_size // devices)
        check_divides(self.config.data.batch_size, self._mesh, "data.batch_size")
        return self.config.data.batch_size // devices

    def _traced(self, step: str, faces: int) -> tuple[Any, tuple[Any, ...]]:
        """A step's function and the shapes of its arguments."""
        built, config = self._built, self.config
        batch = _batch(config, self.images(step) * self._mesh.devices.size)
        if step == "evaluate":
            return built.eval_step, (variables_of(self._state), batch.images)
        phase = built.phases[-1]  # the phase with the most trainable weights
        if step == "train":
            if built.recipe.cached:
                features = jax.eval_shape(
                    built.feature_step, variables_of(self._state), batch.images
                )
                batch = batch.replace(images=features)  # type: ignore[attr-defined]
            return phase.train_step, (self._state, batch)
        if built.recipe.cached:
            raise InputError(
                "--steps=resident: transfer.cache_features has no resident faces; drop it"
            )
        count = program.dispatch(config.data, config.eval, resident=True, mesh=self._mesh)
        rows = jax.ShapeDtypeStruct((count, config.data.batch_size), jnp.int32)
        return phase.resident_train_step, (self._state, _batch(config, faces), rows)

    def compile(self, step: str, *, faces: int) -> Compiled | None:
        """Compiles a step; returns None if its arrays do not fit the chip's memory.

        Args:
          step: name from STEPS.
          faces: number of resident faces.

        Raises:
          RunError: the compiler fails for another reason.
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
        memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
        text = compiled.as_text()
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
        """Lowers a step to StableHLO for a platform by jax.export, without compiling it."""
        function, shapes = self._traced(step, faces)
        return jax.export.export(function, platforms=(platform,))(*shapes).mlir_module()
