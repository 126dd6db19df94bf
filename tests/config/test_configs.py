"""Every config builds its program and takes a step; sizes are cut down, nothing else."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from ageflax import config as configuration
from ageflax.data.batches import Batch
from ageflax.runtime.mesh import make_mesh
from ageflax.training import program
from ageflax.training.state import TrainState
from ageflax.training.step import init_state

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))
# Widths at which the larger trunks compile and run in seconds.
NARROW = {"vit_b16": ("--config.model.width=0.09", "--config.model.depth=2")}


def labels_of(task: str, count: int) -> np.ndarray:
    if task == "years":
        return np.linspace(1, 80, count, dtype=np.float32)
    return (np.arange(count) % 2).astype(np.int32)


def drawn(shapes: TrainState) -> TrainState:
    """A state of these shapes at rest: small positive weights, which a variance may have too."""
    rng = np.random.default_rng(0)

    def fill(leaf: Any) -> Any:
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            return rng.uniform(0.01, 0.05, leaf.shape).astype(leaf.dtype)
        return np.zeros(leaf.shape, leaf.dtype)

    key = jax.random.key(0)
    state: Any = jax.tree.map(fill, shapes.replace(key=np.zeros(())))  # type: ignore[attr-defined]
    momentum = jax.tree.map(np.zeros_like, state.opt_state)
    return state.replace(key=key, opt_state=momentum)


@pytest.fixture
def untyped():
    """Structs hold shapes here, and functions are traced whole; types are checked elsewhere."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_builds_and_takes_a_step(path, untyped):
    asked = configuration.load(str(path))
    narrow = NARROW.get(asked.model.name, ("--config.model.width=0.05",))
    late = [f"--config.transfer.unfreeze={tuple((p, 1) for p, _ in asked.transfer.unfreeze)}"]
    config = configuration.load(
        str(path),
        ["--config.data.resize=40", "--config.data.crop=32", "--config.steps=2", *narrow, *late],
    )
    mesh = make_mesh(jax.devices()[:1])
    built = program.build(config, mesh, training_faces=100.0)
    batch = Batch(
        images=np.random.default_rng(0).integers(0, 256, (8, 40, 40, 3), dtype=np.uint8),
        labels={task: labels_of(task, 8) for task in configuration.tasks(config)},
        mask=np.ones(8, bool),
    )
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam mixes types
        mean = jax.ShapeDtypeStruct((1, 1, 3), jnp.float32)
        state = drawn(
            jax.eval_shape(
                lambda mean: init_state(
                    built.network, built.tx, jax.random.key(0), built.recipe, mesh, mean=mean
                ),
                mean,
            )
        )
        step: Any = built.phase(0).train_step
        # It runs once: compiling it well takes longer than running it badly.
        quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
        after, metrics = step.lower(state, batch).compile(compiler_options=quick)(state, batch)
    assert int(after.step) == 1
    assert jnp.isfinite(metrics["loss"])
    moved = jax.tree.map(lambda a, b: bool((np.asarray(a) != b).any()), after.params, state.params)
    # A warm-up starts at a rate of zero.
    assert any(jax.tree.leaves(moved["heads"])) == (np.asarray(built.schedule(0)) > 0)
    if built.phase(0).frozen.whole_trunk:
        assert not any(jax.tree.leaves(moved["trunk"]))
