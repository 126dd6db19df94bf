"""What `python -m ageflax.evaluate` can be told of data and test; all else is refused by name."""

import dataclasses
from collections.abc import Sequence

from ml_collections import ConfigDict

from ageflax import config as configuration
from ageflax import labels
from ageflax.errors import InputError

_ACCEPTED = (
    "data.name",
    "data.dir",
    "data.manual_dir",
    "data.label_policy",
    "data.most_frontal",
    "data.placement",
    "data.prepared",
    "data.workers",
    "eval.crops",
    "eval.batch_size",
    "fold",
    "folds",
)
# How pixels reach the network: a model is tested with what it was trained with, or not at all.
_OF_THE_MODEL = ("resize", "crop", "interpolation", "channels", "mean", "deviation")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to test on, and how. None is what the model's own protocol has.

    Attributes:
      name: builder[/config] of the dataset; None is the one that the model was trained on.
      directory: where datasets lie; "" is TFDS's default.
      manual_dir: where downloaded archives lie.
      folds: which of the dataset's folds; None is each that the model has not seen.
      label_policy: how raw age labels become the model's age groups.
      most_frontal: keep so many faces of the highest score; 0 keeps all.
      crops: views a face: "center", "mirror" or "ten".
      batch_size: over all devices.
      placement: "host" and "device" decode all that is tested first; "auto" and "stream" while testing,
        since each face is looked at once.
      prepared: take the table of labels from where an earlier start left it beside the dataset, or leave
        it there.
      workers: processes to decode in while testing; 0 decodes in threads.
    """

    name: str | None
    directory: str
    manual_dir: str
    folds: tuple[int, ...] | None
    label_policy: str | None
    most_frontal: int | None
    crops: str | None
    batch_size: int
    placement: str
    prepared: bool
    workers: int


def _refuse(key: str, known: Sequence[str]) -> None:
    """Raises InputError for a key that a run has and a test has not."""
    # Unknown ones are told by the config, with the nearest.
    if key in _ACCEPTED or key not in known:
        return
    group, _, leaf = key.partition(".")
    if group == "model" or (group == "data" and leaf in _OF_THE_MODEL):
        why = "is the model's own, which is tested as it was trained"
    elif key == "data.intervals":
        why = "the classes are the model's own age groups; set data.label_policy to place faces in them"
    elif key == "task":
        why = "the model's heads are tested, each for which the dataset has labels"
    else:
        why = "is of training"
    raise InputError(f"--config.{key}: {why}. Accepted are {', '.join(_ACCEPTED)}")


def of_words(words: Sequence[str]) -> Settings:
    """The settings that a command line's --config.KEY=VALUE words give.

    Raises:
      InputError: a key is unknown or not for this command, or a value is not one that it takes.
    """
    known = list(configuration.KEYS)
    given = set()
    values = ConfigDict()
    for word in words:
        key, _, text = word.removeprefix("--config.").partition("=")
        if word.startswith("--config."):
            _refuse(key, known)
        given.add(key)
        if (key, text) == ("data.label_policy", "intervals"):
            # Which ones, the model says; here it is only that a config has the one with the other.
            values.data = ConfigDict({"intervals": labels.ADIENCE})
            values.data.label_policy = "intervals"
    config = configuration.resolve(values, words)
    data, evaluation = config.data, config.eval
    return Settings(
        name=data.name if "data.name" in given else None,
        directory=data.dir,
        manual_dir=data.manual_dir,
        folds=tuple(config.folds) if given & {"fold", "folds"} else None,
        label_policy=data.label_policy if "data.label_policy" in given else None,
        most_frontal=data.most_frontal if "data.most_frontal" in given else None,
        crops=evaluation.crops if "eval.crops" in given else None,
        batch_size=evaluation.batch_size,
        placement=data.placement,
        prepared=data.prepared,
        workers=data.workers,
    )
