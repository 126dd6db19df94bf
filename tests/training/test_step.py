import functools
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

from ageflax import config as configuration
from ageflax import losses, models
from ageflax.augment.views import Preprocessing, eval_views
from ageflax.data.batches import Batch
from ageflax.runtime.mesh import make_mesh
from ageflax.training import program
from ageflax.training.state import TrainState, variables_of
from ageflax.training.step import (
    Recipe,
    init_state,
    make_eval_step,
    make_init_step,
    make_resident_train_step,
    make_train_step,
)

PREPROCESSING = Preprocessing(crop=27, mirror=True, channels="bgr")
NETWORK = models.build(
    {"name": "levi_hassner", "width": 0.05, "initialization": "matched", "dtype": "float32"},
    {"age": models.Head(8), "gender": models.Head(2)},
)
RECIPE = Recipe(
    preprocessing=PREPROCESSING,
    objectives={"age": losses.CrossEntropy(8), "gender": losses.CrossEntropy(2)},
    weights={"age": 1.0, "gender": 1.0},
)
TX = optax.sgd(1e-4)


def batch_of(count: int) -> Batch:
    rng = np.random.default_rng(0)
    return Batch(
        images=rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8),
        labels={
            "age": rng.integers(-1, 8, count).astype(np.int32),
            "gender": rng.integers(0, 2, count).astype(np.int32),
        },
        mask=np.ones(count, bool),
    )


@functools.cache
def init_step(mesh):
    return make_init_step(NETWORK, TX, RECIPE, mesh)


def fresh(mesh) -> TrainState:
    mean, std = np.full((32, 32, 3), 100.0, np.float32), np.ones((1, 1, 3), np.float32)
    return init_step(mesh)(jax.random.key(1), mean, std, {})


@pytest.fixture(scope="module")
def mesh():
    return make_mesh()


@pytest.fixture(scope="module")
def train_step(mesh):
    return make_train_step(NETWORK, TX, RECIPE, mesh)


@pytest.fixture(scope="module")
def resident(mesh):
    return make_resident_train_step(NETWORK, TX, RECIPE, mesh)


def test_the_state_is_donated(mesh, train_step):
    state = fresh(mesh)
    kernel = state.params["trunk"]["fc6"]["kernel"]
    train_step(state, batch_of(8))
    assert kernel.is_deleted()


def test_a_step_counts_its_faces_and_its_labels(mesh, train_step):
    batch = batch_of(8)
    state, metrics = train_step(fresh(mesh), batch)
    metrics = {name: float(value) for name, value in metrics.items()}
    assert int(state.step) == 1
    assert metrics["faces"] == 8
    assert metrics["age_labelled"] == (batch.labels["age"] >= 0).sum()
    assert metrics["gender_labelled"] == 8
    assert 0 <= metrics["age_correct"] <= metrics["age_labelled"]
    np.testing.assert_allclose(metrics["loss"], metrics["age_loss"] + metrics["gender_loss"])


def test_masked_rows_change_nothing(mesh, train_step):
    batch = batch_of(8)
    mask = np.arange(8) < 5
    outcomes = []
    for garbage in (0, 255):
        images = np.where(mask[:, None, None, None], batch.images, np.uint8(garbage))
        masked = batch.replace(images=images, mask=mask)  # type: ignore[attr-defined]
        state, metrics = train_step(fresh(mesh), masked)
        assert metrics["faces"] == 5
        outcomes.append(state.params)
    for one, other in zip(*map(jax.tree.leaves, outcomes), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_a_step_draws_is_a_function_of_key_and_step(mesh, train_step):
    batch = batch_of(8)
    found = [float(train_step(fresh(mesh), batch)[1]["loss"]) for _ in range(2)]
    assert found[0] == found[1]
    later = fresh(mesh).replace(step=jnp.array(5, jnp.int32))  # type: ignore[attr-defined]
    assert float(train_step(later, batch)[1]["loss"]) != found[0]


def test_resident_faces_take_the_same_step(mesh, train_step, resident):
    everything, rows = batch_of(40), np.array([3, 39, 7, 7, 0, 12, 20, 31], np.int32)
    one, _ = resident(fresh(mesh), everything, rows[None])
    other, _ = train_step(fresh(mesh), jax.tree.map(lambda leaf: leaf[rows], everything))
    for got, expected in zip(
        jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8)


def test_many_steps_in_one_dispatch_are_the_same_steps(mesh, resident):
    everything = batch_of(40)
    rows = np.random.default_rng(0).integers(0, 40, (3, 8)).astype(np.int32)
    together, metrics = resident(fresh(mesh), everything, rows)
    assert int(together.step) == 3
    state, losses = fresh(mesh), []
    for k in range(3):
        state, one = resident(state, everything, rows[k : k + 1])
        losses.append(float(one["loss"][0]))
    assert metrics["loss"].shape == (3,)
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-5)
    for got, expected in zip(
        jax.tree.leaves(together.params), jax.tree.leaves(state.params), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_ten_crops_are_the_mean_of_ten_softmaxes(mesh):
    state, batch = fresh(mesh), batch_of(4)
    step = make_eval_step(NETWORK, RECIPE, mesh, crops="ten")
    got = step(variables_of(state), batch.images)
    views = eval_views(batch.images, state.mean, PREPROCESSING, crops="ten")
    answer = jax.jit(lambda view: NETWORK.apply({"params": state.params}, view))
    scores: list[Any] = [answer(views[:, k]) for k in range(10)]
    for task in ("age", "gender"):
        each = [jax.nn.softmax(score[task]) for score in scores]
        np.testing.assert_allclose(got[task], np.mean(each, axis=0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(got[task].sum(-1), 1.0, rtol=1e-5)


@pytest.fixture
def shapes_alone():
    """Lets structs hold shapes, which their annotations refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_papers_step_lowers_for_tpus_and_gpus(dtype, mesh, shapes_alone):
    config = configuration.load("configs/levi.py", [f"--config.model.dtype={dtype}"])
    compiled = program.build(config, mesh, training_faces=1000.0)
    mean = jax.ShapeDtypeStruct((256, 256, 3), jnp.float32)

    def init(mean):
        return init_state(
            compiled.network, compiled.tx, jax.random.key(0), compiled.recipe, mesh, mean=mean
        )

    state = jax.eval_shape(init, mean)
    batch = Batch(
        images=jax.ShapeDtypeStruct((48, 256, 256, 3), jnp.uint8),  # type: ignore[arg-type]
        labels={"age": jax.ShapeDtypeStruct((48,), jnp.int32)},  # type: ignore[dict-item]
        mask=jax.ShapeDtypeStruct((48,), jnp.bool_),  # type: ignore[arg-type]
    )
    step: Any = compiled.phases[0].train_step
    lowered = jax.export.export(step, platforms=("tpu", "cuda"))(state, batch)
    assert lowered.platforms == ("tpu", "cuda")
    assert lowered.nr_devices == 4
    assert ("bf16" in lowered.mlir_module()) == (dtype == "bfloat16")
