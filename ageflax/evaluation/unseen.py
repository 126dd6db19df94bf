"""Folds of a dataset that a model can be tested on: those that it was not trained on."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ageflax.bundle.description import Description
from ageflax.data.dataset import FOLDS
from ageflax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Part:
    """Folds that are tested by the same models.

    Attributes:
      members: indices of the models.
      folds: folds of the dataset.
    """

    members: tuple[int, ...]
    folds: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Models and the folds that they are tested on.

    Attributes:
      parts: parts of the test; each tested fold is in one of them.
      own: True if a model was trained on this very dataset.
      notices: lines for the user on how far the faces are unseen.
    """

    parts: tuple[Part, ...]
    own: bool
    notices: tuple[str, ...]

    @property
    def folds(self) -> tuple[int, ...]:
        """All tested folds, ascending."""
        return tuple(sorted(fold for part in self.parts for fold in part.folds))


def lineage(weights: Any) -> Iterator[tuple[Any, Any]]:
    """Yields (fingerprint, held-out fold) of all data that weights were trained on, however far back.

    Args:
      weights: provenance of weights, as in a bundle's `source.weights`, or of a teacher; None if drawn.
    """
    waiting = [weights.get("trained_on")] if isinstance(weights, dict) else []
    while waiting:
        trained_on = waiting.pop()
        if isinstance(trained_on, dict):
            yield trained_on.get("fingerprint"), trained_on.get("fold")
            teachers = trained_on.get("teachers")
            waiting += teachers if isinstance(teachers, list) else []
            waiting.append(trained_on.get("before"))


def allowed(model: Description, fingerprint: str) -> set[int]:
    """Folds of a dataset that a model has not seen, nor its initial weights, nor its teachers."""
    folds = set(range(len(FOLDS)))
    own = (model.data.get("fingerprint"), model.source.get("fold"))
    teachers = model.source.get("teachers")
    taught = [lineage(teacher) for teacher in teachers] if isinstance(teachers, list) else []
    before = itertools.chain(lineage(model.source.get("weights")), *taught)
    for trained_on, kept in (own, *before):
        if trained_on == fingerprint:
            folds &= {kept}
    return folds


def without_version(name: str) -> str:
    """Name without its version: "adience/aligned" for "adience/aligned/1.0.0"."""
    return re.sub(r"/\d+\.\d+\.\d+$", "", name)


def kinship(model: Description, name: str) -> str:
    """Notice if a model's training data is another dataset that may share faces with this one."""
    trained = model.data.get("name")
    if not isinstance(trained, str):
        return "the model does not say what it was trained on: it may have seen these faces"
    if without_version(trained) == without_version(name):
        return (
            f"the model was trained on another state of this dataset, {trained}, with other faces, folds"
            " or labels: it may have seen some of these faces"
        )
    if trained.split("/")[0] == name.split("/")[0]:
        return (
            f"the model was trained on {without_version(trained)}, from the same builder: it has seen"
            " the faces that the two share"
        )
    return ""


def _seen(name: str, *, own: bool) -> str:
    if own:
        return f"the model was trained on {name} itself"
    return f"the model's initial weights were trained on {name}"


def plan(
    models: Sequence[Description], name: str, fingerprint: str, asked: Sequence[int] | None
) -> Plan:
    """Plans a test in which each fold is tested by all the models that have not seen it.

    A fold of the run's own data is tested by one model, other data by all; of data that initial weights
    come from, the held-out fold alone is tested, by all.

    Args:
      models: description of each model.
      name: name of the dataset.
      fingerprint: fingerprint of its labels; see Faces.fingerprint.
      asked: folds to test; None for each that some model has not seen.

    Raises:
      InputError: every model has seen one of the folds in `asked`, or all folds.
    """
    unseen = [allowed(model, fingerprint) for model in models]
    testable = set().union(*unseen)
    own = any(model.data.get("fingerprint") == fingerprint for model in models)
    refused = [fold for fold in asked or () if fold not in testable]
    if refused or not testable:
        which = f"fold {refused[0]}" if refused else "all of its folds"
        kept = ", ".join(map(str, sorted(testable))) or "none"
        raise InputError(
            f"{_seen(name, own=own)}, {which} included: figures on faces it has seen say nothing about"
            f" others; held-out folds: {kept}"
        )
    groups: dict[tuple[int, ...], list[int]] = {}
    for fold in sorted(testable if asked is None else asked):
        members = tuple(k for k, folds in enumerate(unseen) if fold in folds)
        groups.setdefault(members, []).append(fold)
    parts = tuple(Part(members, tuple(folds)) for members, folds in groups.items())
    notices = []
    if any(len(folds) < len(FOLDS) for folds in unseen):
        tested = sorted(fold for part in parts for fold in part.folds)
        which = f"fold {tested[0]}, held out from it"
        if len(tested) > 1:
            numbers = ", ".join(map(str, tested))
            which = f"folds {numbers}, each by the model that it was held out from"
        notices.append(f"{_seen(name, own=own)}: tested on {which}")
    else:
        notices += sorted({kinship(model, name) for model in models} - {""})
    if (most := max(len(part.members) for part in parts)) > 1:
        notices.append(f"the probabilities of {most} folds' models are averaged")
    return Plan(parts, own, tuple(notices))
