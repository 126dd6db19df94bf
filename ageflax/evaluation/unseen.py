"""Which faces of a dataset a model can be tested on: those that it was not trained on."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ageflax.bundle.description import Description
from ageflax.data.dataset import FOLDS
from ageflax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Part:
    """Folds that the same models answer for.

    Attributes:
      members: which of the models, by their place.
      folds: of the dataset.
    """

    members: tuple[int, ...]
    folds: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Who is tested on what.

    Attributes:
      parts: each fold that is tested is in one of them.
      own: the models were trained on this very dataset.
      notices: what one has to know of how far the faces are unseen.
    """

    parts: tuple[Part, ...]
    own: bool
    notices: tuple[str, ...]

    @property
    def folds(self) -> tuple[int, ...]:
        """All that are tested, ascending."""
        return tuple(sorted(fold for part in self.parts for fold in part.folds))


def _lineage(model: Description) -> Iterator[tuple[str, Any]]:
    """(fingerprint, fold kept for testing) of a model's data, then of those its weights come from."""
    if isinstance(model.data.get("fingerprint"), str):
        yield model.data["fingerprint"], model.source.get("fold")
    weights = model.source.get("weights")
    before = weights.get("trained_on") if isinstance(weights, dict) else None
    while isinstance(before, dict):
        if isinstance(before.get("fingerprint"), str):
            yield before["fingerprint"], before.get("fold")
        before = before.get("before")


def _allowed(model: Description, fingerprint: str) -> set[int]:
    """Folds of a dataset that this model has not seen."""
    folds = set(range(len(FOLDS)))
    for trained_on, kept in _lineage(model):
        if trained_on == fingerprint:
            folds &= {kept}
    return folds


def without_version(name: str) -> str:
    """Such as "adience/aligned" of "adience/aligned/1.0.0"."""
    return re.sub(r"/\d+\.\d+\.\d+$", "", name)


def _kinship(model: Description, name: str) -> str:
    """What is to be said where a model's data are not these, but may share faces with them."""
    trained = model.data.get("name")
    if not isinstance(trained, str):
        return "the model does not say what it was trained on: it may have seen these faces"
    if without_version(trained) == without_version(name):
        return (
            f"the model was trained on another state of this dataset, {trained}, whose faces, folds or"
            " labels differ from those here: it may have seen some of these faces"
        )
    if trained.split("/")[0] == name.split("/")[0]:
        return (
            f"the model was trained on {without_version(trained)}, of the same builder: it has seen"
            " what faces the two share"
        )
    return ""


def _seen(name: str, *, own: bool) -> str:
    if own:
        return f"the model was trained on {name} itself"
    return f"the weights that the model started from were trained on {name}"


def plan(
    models: Sequence[Description], name: str, fingerprint: str, asked: Sequence[int] | None
) -> Plan:
    """Each fold is answered for by all the models that have not seen it, together.

    So of a run on its own data by one, on other data by all; and on data that all of them were
    transferred from, by all, but one fold alone.

    Args:
      models: description of each model.
      name: of the dataset.
      fingerprint: of its labels, see Faces.fingerprint.
      asked: folds to test; None is each that some model has not seen.

    Raises:
      InputError: a fold that is asked for, or every one, was trained on.
    """
    allowed = [_allowed(model, fingerprint) for model in models]
    testable = set().union(*allowed)
    own = any(model.data.get("fingerprint") == fingerprint for model in models)
    refused = [fold for fold in asked or () if fold not in testable]
    if refused or not testable:
        which = f"fold {refused[0]}" if refused else "all of its folds"
        kept = ", ".join(map(str, sorted(testable))) or "none"
        raise InputError(
            f"{_seen(name, own=own)}, {which} included: figures on faces that it has seen say nothing of"
            f" others. Folds that were kept from it: {kept}"
        )
    groups: dict[tuple[int, ...], list[int]] = {}
    for fold in sorted(testable if asked is None else asked):
        members = tuple(k for k, folds in enumerate(allowed) if fold in folds)
        groups.setdefault(members, []).append(fold)
    parts = tuple(Part(members, tuple(folds)) for members, folds in groups.items())
    notices = []
    if any(len(folds) < len(FOLDS) for folds in allowed):
        tested = sorted(fold for part in parts for fold in part.folds)
        which = f"fold {tested[0]}, which was kept from it"
        if len(tested) > 1:
            numbers = ", ".join(map(str, tested))
            which = f"folds {numbers}, each by the model that it was kept from"
        notices.append(f"{_seen(name, own=own)}: tested on {which}")
    else:
        notices += sorted({_kinship(model, name) for model in models} - {""})
    if (most := max(len(part.members) for part in parts)) > 1:
        notices.append(
            f"the models of {most} folds answer as one: their probabilities are averaged"
        )
    return Plan(parts, own, tuple(notices))
