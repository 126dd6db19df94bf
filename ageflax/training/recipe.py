"""Everything that a training step does besides the network and the optimiser."""

import dataclasses
from collections.abc import Mapping

from ageflax import config as configuration
from ageflax import losses
from ageflax.augment.views import Preprocessing
from ageflax.config import Config, Data


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that a training step does besides the network and the optimiser.

    Attributes:
      preprocessing: how pixels become views.
      objectives: meaning of each task's scores, and their loss.
      weights: factor of each task's loss.
      balanced: tasks are weighed by trainable parameters instead (params["balance"]).
      mixup: alpha of Beta for blends of two faces; 0 is off.
      cutmix: alpha of Beta for patches of another face; 0 is off.
      parts: parts that a batch is computed in, one after another.
      average: decay of the weights' moving average; 0 keeps none.
      cached: batches hold a frozen trunk's features instead of pixels.
    """

    preprocessing: Preprocessing
    objectives: Mapping[str, losses.Objective]
    weights: Mapping[str, float]
    balanced: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    parts: int = 1
    average: float = 0.0
    cached: bool = False


def preprocessing_of(data: Data) -> Preprocessing:
    """How pixels become the network's input, from the config's `data` group."""
    return Preprocessing(
        crop=data.crop,
        mirror=data.mirror,
        channels=data.channels,
        rotation=data.rotation,
        zoom=data.zoom,
        brightness=data.brightness,
        contrast=data.contrast,
        saturation=data.saturation,
        erasing=data.erasing,
    )


def objectives_of(config: Config) -> dict[str, losses.Objective]:
    """Objective of each task that a config trains."""
    return {
        task: losses.build(task, config.loss, len(names))
        for task, names in configuration.class_names(config).items()
    }


def recipe_of(config: Config) -> Recipe:
    """The recipe that a config describes."""
    named = dict(config.loss.weights)
    return Recipe(
        preprocessing=preprocessing_of(config.data),
        objectives=objectives_of(config),
        weights={task: float(named.get(task, 1.0)) for task in configuration.tasks(config)},
        balanced=config.loss.balance == "uncertainty",
        mixup=config.data.mixup,
        cutmix=config.data.cutmix,
        parts=config.optim.accumulate,
        average=config.optim.ema,
        cached=config.transfer.cache_features,
    )
