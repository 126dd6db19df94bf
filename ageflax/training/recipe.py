"""The recipe of a training step: everything besides the network and the optimiser."""

import dataclasses
from collections.abc import Mapping

from jax.sharding import Mesh

from ageflax import config as configuration
from ageflax import losses
from ageflax.augment.views import Preprocessing
from ageflax.bundle.model import Network
from ageflax.config import Config
from ageflax.training.distillation import Distillation


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that a training step does besides the network and the optimiser.

    Attributes:
      preprocessing: transformation of pixels into views.
      objectives: meaning and loss of each task's scores.
      weights: factor on each task's loss.
      balanced: True to weight tasks by trainable parameters instead (params["balance"]).
      mixup: alpha of the Beta distribution for blends of two faces; 0 for none.
      cutmix: alpha of the Beta distribution for patches of another face; 0 for none.
      parts: number of parts of a batch that are computed one after another.
      average: decay of the weights' moving average; 0 for none.
      distillation: teachers and their share in the loss; None for none.
      cached: True if batches hold features of a frozen trunk instead of pixels.
    """

    preprocessing: Preprocessing
    objectives: Mapping[str, losses.Objective]
    weights: Mapping[str, float]
    balanced: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    parts: int = 1
    average: float = 0.0
    distillation: Distillation | None = None
    cached: bool = False


def recipe_of(config: Config, mesh: Mesh, teachers: tuple[Network, ...] = ()) -> Recipe:
    """Recipe that the config describes; `teachers` are those that it names."""
    distill, distillation = config.distill, None
    if teachers:
        distillation = Distillation(
            teachers, distill.weight, distill.temperature, config.data.channels, mesh
        )
    named, fields = dict(config.loss.weights), dataclasses.fields(Preprocessing)
    return Recipe(
        preprocessing=Preprocessing(**{f.name: getattr(config.data, f.name) for f in fields}),
        objectives={
            task: losses.build(task, config.loss, len(names))
            for task, names in configuration.class_names(config).items()
        },
        weights={task: float(named.get(task, 1.0)) for task in configuration.tasks(config)},
        balanced=config.loss.balance == "uncertainty",
        mixup=config.data.mixup,
        cutmix=config.data.cutmix,
        parts=config.optim.accumulate,
        average=config.optim.ema,
        distillation=distillation,
        cached=config.transfer.cache_features,
    )
