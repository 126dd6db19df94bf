"""The deployable model: weights, labels and preprocessing in one folder, never pickled."""

from ageflax.bundle.model import (
    Ensemble,
    Model,
    check_alike,
    describe,
    ensemble,
    licence_notice,
    load,
    load_all,
    save,
    write,
)

__all__ = [
    "Ensemble",
    "Model",
    "check_alike",
    "describe",
    "ensemble",
    "licence_notice",
    "load",
    "load_all",
    "save",
    "write",
]
