"""Values and gradients of the objectives against PyTorch in float64; see tests/golden/make_losses.py."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ageflax import losses
from ageflax.augment.views import Preprocessing
from ageflax.losses import Objective
from ageflax.losses.regression import huber
from ageflax.training.freezing import Frozen
from ageflax.training.loss import BatchLoss, Targets
from ageflax.training.recipe import Recipe

ROOT = Path(__file__).parents[2]
CLASSES = {"groups": 8, "years": 101}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(ROOT / "tests/golden/losses.npz", allow_pickle=False) as file:
        return dict(file)


def _objective(name: str, classes: int) -> Objective:
    return {
        "cross_entropy": losses.CrossEntropy(classes),
        "smoothed": losses.CrossEntropy(classes, smoothing=0.1),
        "label_distribution": losses.LabelDistribution(classes, sigma=2.5),
        "mean_variance": losses.MeanVariance(classes),
        "coral": losses.Coral(classes),
        "corn": losses.Corn(classes),
        "absolute": losses.Absolute(classes),
        "huber": losses.Huber(classes, delta=3.0),
        "gaussian": losses.Gaussian(classes),
    }[name]


def _both(
    objective: Objective, scores: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each face, and the gradient of their sum."""
    labels = labels.astype(np.float32 if labels.dtype.kind == "f" else np.int32)

    def total(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss = objective.loss(x, jnp.asarray(labels))
        return loss.sum(), loss

    gradient, loss = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(scores))
    return np.asarray(loss), np.asarray(gradient)


@pytest.mark.parametrize("task", ["groups", "years"])
@pytest.mark.parametrize(
    "name", ["cross_entropy", "smoothed", "label_distribution", "mean_variance", "coral", "corn"]
)
def test_of_classes(golden: dict[str, np.ndarray], task: str, name: str) -> None:
    scores, labels = golden[f"{task}/scores"], golden[f"{task}/labels"]
    objective = _objective(name, CLASSES[task])
    loss, gradient = _both(objective, scores[:, : objective.outputs], labels)
    np.testing.assert_allclose(loss, golden[f"{task}/{name}"], 3e-6)
    expected = golden[f"{task}/{name}/gradient"][:, : objective.outputs]
    # Mean and variance over a hundred years, in float32.
    atol = 3e-4 if name == "mean_variance" else 2e-6
    np.testing.assert_allclose(gradient[: len(expected)], expected, 1e-5, atol)


@pytest.mark.parametrize(("name", "scale"), [("absolute", 10), ("huber", 10), ("gaussian", 1)])
def test_of_an_estimate(golden: dict[str, np.ndarray], name: str, scale: int) -> None:
    # PyTorch's losses are in years, ours in tens of years.
    scores, labels = golden["estimate/scores"], golden["estimate/labels"]
    objective = _objective(name, 101)
    loss, gradient = _both(objective, scores[:, : objective.outputs], labels)
    np.testing.assert_allclose(loss * scale, golden[f"estimate/{name}"], 1e-5, 1e-5)
    expected = golden[f"estimate/{name}/gradient"][:, : objective.outputs]
    np.testing.assert_allclose(gradient * scale, expected, 1e-4, 1e-4)


def test_smooth_l1_is_hubers_loss_with_delta_one(golden: dict[str, np.ndarray]) -> None:
    error = golden["estimate/scores"][:, 0] * 10 - golden["estimate/labels"]
    found = huber(jnp.asarray(error), 1.0)
    np.testing.assert_allclose(found, golden["estimate/smooth_l1"], 1e-5, 1e-5)


class _Scores(nn.Module):
    """A network whose images are its scores."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, train_trunk: bool) -> dict[str, jax.Array]:
        return {"age": x}


@pytest.mark.parametrize("task", ["groups", "years"])
def test_a_steps_class_weights_are_those_of_cross_entropy_loss(
    golden: dict[str, np.ndarray], task: str
) -> None:
    recipe = Recipe(
        preprocessing=Preprocessing(crop=1, mirror=False, channels="rgb"),
        objectives={"age": losses.CrossEntropy(CLASSES[task])},
        weights={},
    )
    labels = golden[f"{task}/labels"].astype(np.int32)
    targets = [Targets({"age": labels}, np.ones(12, bool), jnp.ones(12))]
    batch_loss = BatchLoss(_Scores(), recipe, Frozen(), {"age": golden[f"{task}/weights"]})
    scores, totals = jnp.asarray(golden[f"{task}/scores"]), batch_loss.totals(targets)
    found, _ = batch_loss({}, {}, scores, targets, jax.random.key(0), totals)
    np.testing.assert_allclose(found, golden[f"{task}/cross_entropy_weighted"], 1e-6)


@pytest.mark.parametrize("task", ["groups", "years"])
def test_corns_batch_is_the_papers_but_for_the_number_of_terms(
    golden: dict[str, np.ndarray], task: str
) -> None:
    labels, last = golden[f"{task}/labels"], CLASSES[task] - 1
    loss, _ = _both(losses.Corn(last + 1), golden[f"{task}/scores"][:, :last], labels)
    # A face of class y has y + 1 terms, one of the last class one fewer.
    terms = np.minimum(labels + 1, last).sum()
    np.testing.assert_allclose(loss.sum() / terms, golden[f"{task}/corn_batch"], 1e-6)
