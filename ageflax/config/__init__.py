"""Config of a run: every key with its default and what it accepts, files, overrides and checks."""

from ageflax.config.help import help_text
from ageflax.config.key import flatten
from ageflax.config.load import load, locate, resolve, standalone
from ageflax.config.schema import (
    CONTINUABLE,
    CROPS,
    KEYS,
    MODEL_OPTIONS,
    POINT_LOSSES,
    Config,
    Data,
    Eval,
    Loss,
    Model,
    Optim,
    class_names,
    differing_keys,
    intervals,
    replaced,
    tasks,
    trains,
)

__all__ = [
    "CONTINUABLE",
    "CROPS",
    "KEYS",
    "MODEL_OPTIONS",
    "POINT_LOSSES",
    "Config",
    "Data",
    "Eval",
    "Loss",
    "Model",
    "Optim",
    "class_names",
    "differing_keys",
    "flatten",
    "help_text",
    "intervals",
    "load",
    "locate",
    "replaced",
    "resolve",
    "standalone",
    "tasks",
    "trains",
]
