"""Runs of zero steps: a bundle tested, and calibrated on validation faces, as it is."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ageflax import config as configuration
from ageflax.bundle import Description
from ageflax.config import Config
from ageflax.errors import InputError, shown
from ageflax.runtime.files import Json
from ageflax.training.fold import Fold
from ageflax.weights.transfer import Loaded


def _uses(config: Config, given: Description) -> Iterator[tuple[str, Any, Any]]:
    """Yields (key, value of the config, value of the bundle) for all that decides its answers."""
    trained = configuration.tasks(config)
    yield "task", "+".join(trained), "+".join(given.heads)
    yield from (("loss." + k, getattr(config.loss, k), getattr(given.loss, k))
                for k in ("age", "years") if k in trained)  # fmt: skip
    for name, value in vars(given.input).items():
        yield "data." + name, getattr(config.data, name), value
    yield "data.crop_margin", config.data.crop_margin, given.crop_margin
    yield "data.eyes", config.data.eyes, given.eyes or ()
    if "gender" not in trained or len(trained) > 1:
        yield "data.intervals", configuration.intervals(config), given.intervals
    for name, value in given.architecture.items():
        yield "model." + name, getattr(config.model, name), value


def _split(config: Config, given: Description) -> Iterator[tuple[str, Any, Any]]:
    """Yields the same for all that decides which faces it was not trained on, as far as it says so."""
    yield "seed", config.seed, given.source.get("seed")
    yield "eval.protocol", config.eval.protocol, given.protocol.get("name")
    for name in ("validation", "validation_fraction", "label_policy", "most_frontal"):
        its = given.protocol.get(name)
        yield "data." + name, getattr(config.data, name), None if its == "fold_3" else its


def _same_data(given: Description, source: Json) -> bool:
    return given.data.get("fingerprint") == source["fingerprint"]


def check(config: Config, weights_of: Mapping[int, Loaded | None], source: Json) -> None:
    """Checks that a config describes the bundles that it tests.

    Args:
      config: resolved config of zero steps.
      weights_of: weights per test fold.
      source: description of the data.

    Raises:
      InputError: the weights are no bundle's, a key differs from the bundle's, or, on the bundle's own
        data, the validation faces are not those that it was not trained on.
    """
    for loaded in weights_of.values():
        assert loaded is not None  # checked with the config
        name = loaded.provenance["source"]
        if not loaded.described:
            raise InputError(
                f"transfer.weights = {name}: not a bundle, which zero steps need for heads and mean;"
                " name a bundle or a run's fold, or set steps above 0"
            )
        given = Description.from_json(loaded.described, name)
        for key, own, its in _uses(config, given):
            if own != its:
                raise InputError(
                    f"{key} = {shown(own)}: transfer.weights has {shown(its)}, and zero steps change"
                    f" nothing; set {key} to that"
                )
        for key, own, its in _split(config, given) if _same_data(given, source) else ():
            if its is not None and own != its:
                raise InputError(
                    f"{key} = {shown(own)}: transfer.weights was trained on this dataset with"
                    f" {shown(its)}, so validation faces would be among those it has seen; set {key}"
                    " to that"
                )


def of_its_training(description: Description, fold: Fold) -> Description:
    """A fold's description, with the provenance of the bundle that it was tested from, if untrained.

    On other data than the bundle's own, the run is the provenance, and the bundle its initial weights.
    """
    if configuration.trains(fold.config) or fold.weights is None:
        return description
    given = Description.from_json(fold.weights.described, fold.weights.provenance["source"])
    if not _same_data(given, fold.source):
        return description
    return dataclasses.replace(description, source=given.source, data=given.data)
