"""The objective that a config's `loss` group names for a task."""

from collections.abc import Callable

from ageflax.config import Config
from ageflax.errors import InputError
from ageflax.losses.classes import CrossEntropy, LabelDistribution, MeanVariance
from ageflax.losses.expectation import Expectation
from ageflax.losses.objective import Objective
from ageflax.losses.ordinal import Coral, Corn
from ageflax.losses.regression import Absolute, Gaussian, Huber

_DISTRIBUTIONS: dict[str, Callable[[Config, int], Objective]] = {
    "cross_entropy": lambda loss, classes: CrossEntropy(classes, loss.label_smoothing),
    "label_distribution": lambda loss, classes: LabelDistribution(classes, loss.deviation),
    "mean_variance": lambda loss, classes: MeanVariance(classes, loss.mean, loss.variance),
    "coral": lambda _, classes: Coral(classes),
    "corn": lambda _, classes: Corn(classes),
}
_OF_YEARS: dict[str, Callable[[Config, int], Objective]] = {
    **_DISTRIBUTIONS,
    "l1": lambda _, classes: Absolute(classes),
    "huber": lambda loss, classes: Huber(classes, loss.huber_delta),
    "gaussian": lambda _, classes: Gaussian(classes),
}
AGE_LOSSES = tuple(_DISTRIBUTIONS)
YEARS_LOSSES = tuple(_OF_YEARS)


def build(task: str, loss: Config, classes: int) -> Objective:
    """The objective of a task.

    Args:
      task: "age", "years", or "gender", whose classes have no order and are told by cross-entropy.
      loss: the config's group; `loss.age` and `loss.years` name the objectives.
      classes: of the task.

    Raises:
      InputError: the task has no such loss, or the loss takes no such term.
    """
    if task == "gender":
        return _DISTRIBUTIONS["cross_entropy"](loss, classes)
    choices = _OF_YEARS if task == "years" else _DISTRIBUTIONS
    name = loss[task]
    if name not in choices:
        raise InputError(f"loss.{task} = {name!r}: expected one of {', '.join(choices)}")
    objective = choices[name](loss, classes)
    if not loss.expectation:
        return objective
    if not objective.distribution:
        raise InputError(
            f"loss.expectation = {loss.expectation}: is for losses with a distribution, which"
            f" loss.{task} = {name!r} is not; set it to 0, or loss.{task} to one of"
            f" {', '.join((*_DISTRIBUTIONS, 'gaussian'))}"
        )
    return Expectation(classes, objective, loss.expectation)
