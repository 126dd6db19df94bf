"""Contents of result.json and summary.json, written and checked."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ageflax.errors import InputError, one_line
from ageflax.runtime.files import Json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """Protocol that figures were measured by.

    Attributes:
      name: cross_validation, hold_out, or external for a dataset other than the model's own.
      label_policy: rule that turned raw labels into classes.
      most_frontal: number of faces kept by their score; 0 for all.
      validation: source of the validation faces, data.validation.
      validation_persons_in_training: number of validation subjects also trained on; 0 without a leak.
      resize, crop: sides in pixels of the decoded image and of the network's input.
      crops: views per face.
      age: point of the distribution over years that is the estimated age; None: mean.
      checkpoint: tested weights, last or best.
      train_share: share of the training subjects that were used.
      validation_fraction: share of the training folds' faces held out for validation.
    """

    name: str | None
    label_policy: str | None
    most_frontal: int
    validation: str | None
    validation_persons_in_training: int | None
    resize: int
    crop: int
    crops: str | None
    checkpoint: str | None
    train_share: float | None
    age: str | None = None
    validation_fraction: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FaceCounts:
    """Number of faces per side of a split; None if not known."""

    train: int | None
    validation: int | None
    test: int
    test_unreadable: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldResult:
    """Content of result.json: a fold's figures, or those of any model on a dataset.

    Attributes:
      fold: the test fold; None if several are tested as one.
      protocol: protocol of the figures.
      data: dataset, with the number of faces left out by reason.
      weights: provenance of the initial weights; None if drawn.
      faces: sizes of the splits.
      tasks: figures per task; see figures.measure.
      tested_step: step of the tested weights.
      images_per_second: median rate of training, or of the test.
      seconds: duration.
      more: other keys: of training (steps), or of a test (model, folds, notices, command).
    """

    fold: int | None
    protocol: Protocol
    data: Json
    weights: Json | None
    faces: FaceCounts
    tasks: dict[str, Json]
    tested_step: int | None
    images_per_second: float | None
    seconds: float
    more: Json = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, content: Any, origin: object) -> "FoldResult":
        """Checks the content of a result.json.

        Raises:
          InputError: the content is not a fold's result; names `origin`.
        """
        own = {field.name for field in dataclasses.fields(cls)} - {"more"}
        needed = {"fold", "protocol", "data", "faces", "tasks", "seconds"}
        try:
            known = {name: content[name] for name in needed}
            known |= {name: content.get(name) for name in own - needed}
            known["protocol"] = Protocol(**_completed(Protocol, known["protocol"]))
            known["faces"] = FaceCounts(**_completed(FaceCounts, known["faces"]))
            if not all(isinstance(each["per_class"], dict) for each in known["tasks"].values()):
                raise TypeError("tasks: no figures per class")
            if type(known["faces"].test) is not int:
                raise TypeError("faces: no number of test faces")
            more = {name: value for name, value in content.items() if name not in own}
            return cls(**known, more=more)
        except (KeyError, TypeError, AttributeError) as error:
            why = one_line(f"{type(error).__name__}: {error}", 200)
            raise InputError(
                f"{origin}: not a fold's result ({why}); remove it to test the fold again"
            ) from error

    def to_json(self) -> Json:
        """Content of result.json."""
        found = dataclasses.asdict(self)
        return found | found.pop("more")


def _completed(kind: Any, values: Mapping[str, Any]) -> Json:
    """Fields of a dataclass; None if an older version did not write one."""
    return {field.name: values.get(field.name) for field in dataclasses.fields(kind)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """Content of summary.json: figures over the tested folds.

    Attributes:
      folds: tested folds, ascending.
      protocol: protocol of the figures.
      data: dataset.
      seconds: total duration.
      tasks: per task, mean and std over folds, and figures over all faces.
    """

    folds: Sequence[int | None]
    protocol: Protocol
    data: Json
    seconds: float
    tasks: dict[str, Json]

    def to_json(self) -> Json:
        """Content of summary.json."""
        return dataclasses.asdict(self)
