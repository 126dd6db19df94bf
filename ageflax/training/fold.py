"""One fold of a run: what it works with."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ageflax.config import Config
from ageflax.data.batches import Batches
from ageflax.data.dataset import Faces, Target
from ageflax.data.splits import Split
from ageflax.training.program import Program
from ageflax.weights.transfer import Loaded


@dataclasses.dataclass(frozen=True)
class Fold:
    """What one fold of a run works with.

    Attributes:
      number: the test fold.
      directory: DIR/fold_K.
      split: which faces train, validate and test.
      faces: the dataset's labels.
      targets: classes per task.
      placement: where the pixels are.
      config: resolved.
      program: compiled steps, shared by all folds.
      source: what result.json and the bundle say of the data: name, edition, licence.
      weights: what training starts from; None from scratch.
      say: takes lines for the user.
    """

    number: int
    directory: Path
    split: Split
    faces: Faces
    targets: dict[str, Target]
    placement: Batches
    config: Config
    program: Program
    source: dict[str, Any]
    weights: Loaded | None
    say: Callable[[str], None]


def eval_batch_size(fold: Fold) -> int:
    """The config's, rounded up to what divides over the devices; padding makes it exact."""
    devices = fold.program.mesh.devices.size
    return -(-fold.config.eval.batch_size // devices) * devices
