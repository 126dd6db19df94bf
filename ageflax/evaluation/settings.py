"""Settings of `python -m ageflax.evaluate`: the config keys that it accepts."""

import dataclasses
from collections.abc import Sequence

from ageflax import config as configuration
from ageflax import labels
from ageflax.errors import InputError

_ACCEPTED = (
    "data.name",
    "data.dir",
    "data.manual_dir",
    "data.rebuild",
    "data.label_policy",
    "data.most_frontal",
    "data.placement",
    "data.prepared",
    "data.workers",
    "eval.age",
    "eval.crops",
    "eval.batch_size",
    "fold",
    "folds",
)
# Keys of the input, which is always the model's own.
_OF_THE_MODEL = ("resize", "crop", "interpolation", "channels", "mean", "deviation")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Dataset and protocol of a test; None for those of the model's own protocol.

    Attributes:
      name: builder[/config] of the dataset; None for the one that the model was trained on.
      directory: folder of datasets; "" for TFDS's default.
      manual_dir: folder of downloaded archives.
      rebuild: True to rebuild the dataset if its source files have changed.
      folds: folds to test; None for each that the model has not seen.
      label_policy: rule that turns raw age labels into the model's age groups.
      most_frontal: number of faces to keep, those with the highest score; 0 for all.
      age: point of the distribution over years that is the estimated age, mean or median.
      crops: views per face, one of CROPS.
      batch_size: faces per batch, over all devices.
      placement: "host" and "device" decode all faces first; "auto" and "stream" while testing.
      prepared: True to cache the labels beside the dataset.
      workers: number of processes that decode while testing; 0 for threads.
    """

    name: str | None
    directory: str
    manual_dir: str
    rebuild: bool
    folds: tuple[int, ...] | None
    label_policy: str | None
    most_frontal: int | None
    age: str | None
    crops: str | None
    batch_size: int
    placement: str
    prepared: bool
    workers: int


def _refuse(key: str, known: Sequence[str]) -> None:
    """Raises InputError for a key that only a training run has."""
    # The config reports unknown keys, with the nearest.
    if key in _ACCEPTED or key not in known:
        return
    group, _, leaf = key.partition(".")
    if group == "model" or (group == "data" and leaf in _OF_THE_MODEL):
        why = "the model is tested as it was trained"
    elif key == "data.intervals":
        why = "the classes are the model's age groups; data.label_policy places faces in them"
    elif key == "task":
        why = "the model's heads are tested, those for which the dataset has labels"
    else:
        why = "only for training"
    raise InputError(f"--config.{key}: {why}; accepted are {', '.join(_ACCEPTED)}")


def of_words(words: Sequence[str]) -> Settings:
    """Reads the settings from the --config.KEY=VALUE words of a command line.

    Raises:
      InputError: a key is unknown or not accepted, or a value is invalid.
    """
    known = list(configuration.KEYS)
    given = set()
    values = {}
    for word in words:
        key, _, text = word.removeprefix("--config.").partition("=")
        if word.startswith("--config."):
            _refuse(key, known)
        if text != "None":
            given.add(key)
        if (key, text) == ("data.label_policy", "intervals"):
            # A placeholder: the config needs intervals with this policy; the model's are used.
            values["data"] = {"intervals": labels.ADIENCE, "label_policy": "intervals"}
        if key == "eval.age":  # likewise: whether the model's head fits is checked with the model
            values["task"] = "years"
    config = configuration.resolve(values, words)
    data, evaluation = config.data, config.eval
    return Settings(
        name=data.name if "data.name" in given else None,
        directory=data.dir,
        manual_dir=data.manual_dir,
        rebuild=data.rebuild,
        folds=tuple(config.folds) if given & {"fold", "folds"} else None,
        label_policy=data.label_policy if "data.label_policy" in given else None,
        most_frontal=data.most_frontal if "data.most_frontal" in given else None,
        age=evaluation.age if "eval.age" in given else None,
        crops=evaluation.crops if "eval.crops" in given else None,
        batch_size=evaluation.batch_size,
        placement=data.placement,
        prepared=data.prepared,
        workers=data.workers,
    )
