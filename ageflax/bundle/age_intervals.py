"""Calibration of a bundle's age intervals: for which head and which views it holds."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ageflax import labels
from ageflax.config import CROPS
from ageflax.errors import shown
from ageflax.metrics.conformal import Conformal
from ageflax.runtime.files import Json

if TYPE_CHECKING:
    from ageflax.bundle.model import Model


@dataclasses.dataclass(frozen=True)
class AgeIntervals:
    """Intervals of ages, calibrated on validation people; see metrics.conformal.

    Attributes:
      task: the head, "years" or "age".
      crops: views per face that were averaged.
      conformal: the calibration.
    """

    task: str
    crops: str
    conformal: Conformal

    def to_json(self) -> Json:
        """The `age_interval` object of config.json."""
        return {"task": self.task, "crops": self.crops, **self.conformal.to_json()}

    @classmethod
    def from_json(
        cls, content: Any, heads: Mapping[str, Any], intervals: labels.Intervals
    ) -> "AgeIntervals | None":
        """Checks a calibration that may come from anyone; None for None.

        Args:
          content: the `age_interval` object of config.json.
          heads: class names per head of the bundle.
          intervals: age groups of the bundle.

        Raises:
          ValueError: it is not one for these heads.
        """
        if content is None:
            return None
        if not isinstance(content, dict):
            raise ValueError("age_interval: expected an object")
        task, crops = content.get("task"), content.get("crops")
        if task not in ("years", "age") or task not in heads:
            raise ValueError(f"age_interval: task: {shown(task, 40)} is not a head for ages")
        if crops not in CROPS:
            raise ValueError(f"age_interval: crops: {shown(crops, 40)} is unknown")
        try:
            return cls(
                task, crops, Conformal.from_json(content, labels.Classes.of(task, intervals))
            )
        except ValueError as error:
            raise ValueError(f"age_interval: {error}") from error


def usable(
    model: "Model", crops: str, members: Collection[int] = ()
) -> tuple[AgeIntervals | None, str]:
    """Intervals that a model's answers can have, or a line that says why there are none.

    The line is empty for a model without a head for ages.

    Args:
      model: the model.
      crops: views per face that it averages.
      members: indices of the members in use; all if empty.
    """
    chosen, name = [model.members[k] for k in members] or model.members, model.name
    found = chosen[0].description.age_interval
    if "years" not in model.heads and "age" not in model.heads:
        return None, ""
    if len(chosen) > 1:
        return (
            None,
            f"no age intervals: the models of {name} are calibrated one by one; name one fold",
        )
    if found is None:
        why = f"{name} has none: it is of an earlier version, or had too few validation people"
        return None, f"no age intervals: {why}; a run of zero steps calibrates it"
    if found.crops != crops:
        why = f"those of {name} are calibrated for crops={found.crops}, not {crops}"
        return None, f"no age intervals: {why}"
    return found, ""
