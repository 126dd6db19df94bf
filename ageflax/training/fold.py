"""Inputs of one fold of a run."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

from ageflax.bundle.model import Member
from ageflax.config import Config
from ageflax.data.balance import Draws, draws
from ageflax.data.batches import Batches
from ageflax.data.dataset import Faces, Target
from ageflax.data.splits import Split
from ageflax.runtime.files import Json
from ageflax.training.program import Program
from ageflax.weights.transfer import Loaded


@dataclasses.dataclass(frozen=True)
class Fold:
    """Inputs of one fold of a run.

    Attributes:
      number: test fold.
      directory: folder of the fold, DIR/fold_K.
      split: faces to train on, to validate and to test.
      faces: labels of the dataset.
      targets: classes per task.
      placement: source of batches.
      config: resolved config.
      program: compiled steps, shared by all folds.
      source: description of the data for result.json and the bundle: name, edition, licence.
      weights: initial weights; None to draw them.
      teachers: models to learn from, if any.
      say: function that prints a line.
    """

    number: int
    directory: Path
    split: Split
    faces: Faces
    targets: dict[str, Target]
    placement: Batches
    config: Config
    program: Program
    source: Json
    weights: Loaded | None
    teachers: tuple[Member, ...]
    say: Callable[[str], None]

    @functools.cached_property
    def draws(self) -> Draws | None:
        """How often each training face is drawn in an epoch; None if once."""
        data, labels = self.config.data, self.placement.labels
        return draws(labels, self.split.train, balance=data.balance, by=data.balance_by)
