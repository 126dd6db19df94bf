"""Builds the objective that a config's `loss` group names for a task."""

from collections.abc import Callable

from ageflax.config import Loss
from ageflax.errors import InputError
from ageflax.losses.classes import CrossEntropy, Expectation, LabelDistribution, MeanVariance
from ageflax.losses.objective import Objective
from ageflax.losses.ordinal import Coral, Corn
from ageflax.losses.regression import Absolute, Gaussian, Huber

_OBJECTIVES: dict[str, Callable[[Loss, int], Objective]] = {
    "cross_entropy": lambda loss, classes: CrossEntropy(classes, loss.label_smoothing),
    "label_distribution": lambda loss, classes: LabelDistribution(
        classes, loss.deviation, loss.deviation_growth
    ),
    "mean_variance": lambda loss, classes: MeanVariance(classes, loss.mean, loss.variance),
    "coral": lambda _, classes: Coral(classes),
    "corn": lambda _, classes: Corn(classes),
    "l1": lambda _, classes: Absolute(classes),
    "huber": lambda loss, classes: Huber(classes, loss.huber_delta),
    "gaussian": lambda _, classes: Gaussian(classes),
}


def build(task: str, loss: Loss, classes: int) -> Objective:
    """Builds the objective of a task.

    Args:
      task: "age", "years", or "gender", whose classes have no order: always cross-entropy.
      loss: the config's group; `loss.age` and `loss.years` name the objectives.
      classes: number of the task's classes.

    Raises:
      InputError: `loss.expectation` is set for a loss without a distribution.
    """
    if task == "gender":
        return CrossEntropy(classes, loss.label_smoothing)
    name = getattr(loss, task)
    objective = _OBJECTIVES[name](loss, classes)
    if not loss.expectation:
        return objective
    if not objective.distribution:
        others = [other for other, make in _OBJECTIVES.items() if make(loss, classes).distribution]
        raise InputError(
            f"loss.expectation = {loss.expectation}: loss.{task} = {name!r} has no distribution; set"
            f" loss.expectation to 0, or loss.{task} to one of {', '.join(others)}"
        )
    return Expectation(classes, objective, loss.expectation)
