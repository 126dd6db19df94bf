"""Description of a bundle, its config.json: written, read, and checked, as it may come from anyone.

An .onnx file has the same description in its metadata.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ageflax import __version__, labels
from ageflax import config as configuration
from ageflax.augment.views import Preprocessing
from ageflax.bundle.age_intervals import AgeIntervals
from ageflax.bundle.framing_errors import FramingErrors
from ageflax.bundle.quality import Quality
from ageflax.config import POINT_LOSSES, Config, Loss
from ageflax.errors import InputError, one_line, shown
from ageflax.runtime.files import Json
from ageflax.weights.formats.precision import PRECISIONS

# Format 1 has no losses, age groups or std.
FORMAT, FORMATS = 2, (1, 2)
MOST_BYTES = 16_000_000  # a hundred times the size with figures of a hundred classes
_MOST_GROUPS, _MOST_YEARS = 1000, 9999
# Types of an evaluation's values, as evaluations.of_result makes them.
_OF_EVALUATIONS = {
    "data": dict,
    "protocol": dict,
    "weights": dict,
    "tasks": dict,
    "folds": list | None,
    "photographs": dict | None,
}
_LONGEST = 100  # characters of a string, or entries of a list, among the options

Eyes = tuple[tuple[float, float], tuple[float, float]]


def _portable(data: Json) -> Json:
    """Description of the data without the folder of its source, which may name a user."""
    kept = {key: value for key, value in (data.get("source") or {}).items() if key != "path"}
    return data | ({"source": kept} if kept else {})


@dataclasses.dataclass(frozen=True)
class Input:
    """Form of the network's input.

    Attributes:
      resize: side in pixels of the decoded square image.
      crop: side in pixels of the network's input.
      interpolation: method of resizing; see data.images.
      channels: "bgr", "rgb" or "grey".
    """

    resize: int
    crop: int
    interpolation: str
    channels: str

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing at test: crop and channel order."""
        return Preprocessing(crop=self.crop, mirror=False, channels=self.channels)

    def to_json(self) -> Json:
        """The `input` object of config.json, with the meaning of the tensors in words."""
        return vars(self) | {
            "range": [0, 255],
            "mean": "subtracted after resizing and before cropping; tensor `mean`, RGB",
            "deviation": "divided by after that; tensor `deviation`, RGB",
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """Content of a bundle's config.json: everything needed to use the weights, and their provenance.

    Attributes:
      architecture: config group `model`, without options that the trunk does not have.
      heads: class names per task, in the order of the probabilities.
      loss: config group `loss`, which decides the meaning of the scores.
      intervals: age groups.
      input: form of the network's input.
      crop_margin: share of a detected box's side added on each side.
      eyes: places of the eyes in aligned faces, as fractions of width and height; None if not aligned.
      reading: point of the distribution over years that is the estimated age, mean or median.
      data: training data: name, edition, licence, fingerprint.
      source: fold, step, seed and initial weights of the training.
      protocol: protocol of the figures; see evaluation.result.Protocol.
      calibration: temperature per task, which divides log probabilities; None if it could not be fitted.
      age_interval: calibration of age intervals; None if too few validation people had an age.
      framing_errors: errors where faces are framed otherwise; None if not measured.
      quality: measure of a picture's quality; None if not measured.
      figures: figures of the test fold per task.
      cross_validation: figures of the whole run; see card.add_summary.
      parameters: number of weights of the network; None if not counted.
      storage: precision of the stored weights, and their largest differences from float32; {} for
        float32. See export.small_bundle.
      evaluations: figures of further tests, of these weights or of a named other model; see
        export.small_bundle.
      format: 1 or 2.
    """

    architecture: Mapping[str, Any]
    heads: Mapping[str, tuple[str, ...]]
    loss: Loss
    intervals: labels.Intervals
    input: Input
    crop_margin: float = 0.0
    eyes: Eyes | None = None
    reading: str = "mean"
    data: Json = dataclasses.field(default_factory=dict)
    source: Json = dataclasses.field(default_factory=dict)
    protocol: Json = dataclasses.field(default_factory=dict)
    calibration: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    age_interval: AgeIntervals | None = None
    framing_errors: FramingErrors | None = None
    quality: Quality | None = None
    figures: Json = dataclasses.field(default_factory=dict)
    cross_validation: Json | None = None
    parameters: int | None = None
    storage: Json = dataclasses.field(default_factory=dict)
    evaluations: tuple[Json, ...] = ()
    format: int = FORMAT

    @classmethod
    def of_run(cls, config: Config, result: Json) -> "Description":
        """Makes the description of a trained fold.

        Args:
          config: resolved config.
          result: content of the fold's result.json.
        """
        return cls(
            **_of_config(config),
            heads=(heads := configuration.class_names(config)),
            crop_margin=config.data.crop_margin,
            eyes=cast(Eyes, config.data.eyes) or None,
            data=_portable(result["data"]),
            source={
                "ageflax": __version__,
                "fold": result["fold"],
                "step": result["tested_step"],
                "task": config.task,
                "seed": config.seed,
                "weights": result.get("weights"),
            }
            | ({"teachers": result["teachers"]} if result.get("teachers") else {}),
            protocol=result["protocol"],
            calibration={
                task: figures.get("calibration", {}).get("temperature")
                for task, figures in result["tasks"].items()
            },
            age_interval=AgeIntervals.from_json(
                result.get("age_interval"), heads, configuration.intervals(config)
            ),
            framing_errors=FramingErrors.from_json(result.get("framing_errors")),
            quality=Quality.from_json(result.get("quality")),
            figures=result["tasks"],
        )

    @classmethod
    def from_json(cls, content: Json, origin: object) -> "Description":
        """Checks a description of either format; keys absent in an older one get their defaults.

        Args:
          content: content of config.json.
          origin: name of the file, for messages.

        Raises:
          InputError: classes, network, losses, input or provenance are invalid.
        """
        try:
            intervals = _intervals(content.get("age_groups", labels.ADIENCE))
            heads = _heads(content.get("heads"), intervals)
            return cls(
                **_of_config(_resolved(content, heads, intervals)),
                **_provenance(content),
                heads=heads,
                crop_margin=_crop_margin(content.get("crop_margin")),
                eyes=_eyes(content.get("eyes")),
                age_interval=AgeIntervals.from_json(content.get("age_interval"), heads, intervals),
                framing_errors=FramingErrors.from_json(content.get("framing_errors")),
                quality=Quality.from_json(content.get("quality")),
                cross_validation=content.get("cross_validation"),
                parameters=content.get("parameters"),
                storage=_storage(content.get("storage")),
                evaluations=_evaluations(content.get("evaluations")),
                format=content.get("format", FORMAT),
            )
        # Any of these if a value is of another type than expected.
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            why = one_line(str(error), 300)
            raise InputError(f"{origin}: its config is damaged: {why}") from error

    def to_json(self) -> Json:
        """Content of config.json."""
        found = {
            "format": self.format,
            "architecture": dict(self.architecture),
            "heads": {task: list(names) for task, names in self.heads.items()},
            "loss": self.loss.to_dict(),
            "age_groups": [list(pair) for pair in self.intervals],
            "input": self.input.to_json(),
            "estimated_age": self.reading if self.reading != "mean" else None,
            "crop_margin": self.crop_margin,
            "eyes": self.eyes and [list(place) for place in self.eyes],
            "data": self.data,
            "source": self.source,
            "protocol": self.protocol,
            "calibration": self.calibration,
            "age_interval": self.age_interval and self.age_interval.to_json(),
            "framing_errors": self.framing_errors and self.framing_errors.to_json(),
            "quality": self.quality and self.quality.to_json(),
            "figures": self.figures,
            "cross_validation": self.cross_validation,
            "parameters": self.parameters,
            "storage": self.storage,
            "evaluations": list(self.evaluations),
        }
        seldom = (
            "estimated_age",
            "framing_errors",
            "quality",
            "parameters",
            "storage",
            "evaluations",
        )
        return {key: value for key, value in found.items() if key not in seldom or value}

    @property
    def tells_years(self) -> bool:
        """True if a head gives a distribution over years."""
        return "years" in self.heads and self.loss.years not in POINT_LOSSES

    def classes(self, task: str) -> labels.Classes:
        """Meaning of a task's probabilities."""
        return labels.Classes.of(task, self.intervals, self.reading)


def _of_config(config: Config) -> Json:
    """Fields of a description that a config decides."""
    return {
        "architecture": {k: v for k, v in config.model.to_dict().items() if v is not None},
        "loss": config.loss,
        "intervals": configuration.intervals(config),
        "reading": config.eval.age,
        "input": Input(**{key: getattr(config.data, key) for key in Input.__dataclass_fields__}),
    }


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def read(path: Path) -> Json:
    """Reads a config.json without checking its content.

    Raises:
      InputError: the file is absent, too large, or not a JSON object.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: {size} bytes, more than the limit of {MOST_BYTES}")
        content = json.loads(path.read_bytes(), object_pairs_hook=_once)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: not readable JSON: brackets without end") from error
    except ValueError as error:  # also from the encoding, or from a number with too many digits
        raise InputError(f"{path}: not readable JSON: {one_line(str(error), 120)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object")
    return content


def _intervals(groups: Any) -> labels.Intervals:
    if groups is labels.ADIENCE:
        return groups
    if not isinstance(groups, list) or not 1 <= len(groups) <= _MOST_GROUPS:
        raise ValueError(f"age_groups: expected [low, high] pairs, at most {_MOST_GROUPS}")
    previous = -1
    for pair in groups:
        whole = isinstance(pair, list) and [type(year) for year in pair] == [int, int]
        if not whole or not previous < pair[0] <= pair[1] <= _MOST_YEARS:
            raise ValueError(f"age_groups: {pair!r}: expected [low, high], each above the last")
        previous = pair[1]
    return tuple((low, high) for low, high in groups)


def _heads(heads: Any, intervals: labels.Intervals) -> dict[str, tuple[str, ...]]:
    if heads == {}:
        raise ValueError(
            "a trunk without heads, which can only start a training:"
            " --config.transfer.weights=BUNDLE"
        )
    if not isinstance(heads, dict):
        raise ValueError("heads: expected the class names of each task")
    for task, names in heads.items():
        if task not in labels.TASKS:
            raise ValueError(f"heads: {task!r} is not one of {', '.join(labels.TASKS)}")
        # In this very order, which is that of the probabilities.
        if names != list(wanted := labels.class_names(task, intervals)):
            first = ", ".join(wanted[:4]) + ", ..." * (len(wanted) > 4)
            raise ValueError(f"heads: {task}: expected the {len(wanted)} classes {first}")
    return {task: tuple(names) for task, names in heads.items()}


def _value(value: Any) -> Any:
    """An option's value in the form of a config, with tuples for lists."""
    if isinstance(value, list) and len(value) <= _LONGEST:
        return tuple(_value(part) for part in value)
    if isinstance(value, str) and len(value) <= _LONGEST:
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError(f"an option is not a number, short string or short list: {shown(value, 60)}")


def _options(group: Any, name: str) -> Json:
    if not isinstance(group, dict) or len(group) > _LONGEST:
        raise ValueError(f"{name}: expected options by name")
    return {_value(key): _value(value) for key, value in group.items()}


def _resolved(content: Json, heads: Mapping[str, Any], intervals: labels.Intervals) -> Config:
    """A config with the bundle's network, losses and input, and so checked like any config."""
    spec, keys = content.get("input"), tuple(Input.__dataclass_fields__)
    if not isinstance(spec, dict) or not set(keys) <= spec.keys():
        raise ValueError(f"input: expected {', '.join(keys)}")
    values: Json = {"task": "+".join(heads), "data": {key: _value(spec[key]) for key in keys}}
    if intervals != labels.ADIENCE:
        values["data"] |= {"label_policy": "intervals", "intervals": intervals}
    if "architecture" in content:
        values["model"] = _options(content["architecture"], "architecture")
        if len(values["model"].get("head_hidden") or ()) > 16:
            raise ValueError("architecture: more than 16 hidden layers of a head")
    if content.get("loss") is not None:
        values["loss"] = _options(content["loss"], "loss")
    if content.get("estimated_age") is not None:
        values["eval"] = {"age": _value(content["estimated_age"])}
    try:
        return configuration.resolve(values, origin="its description")
    except InputError as error:
        raise ValueError(str(error)) from error


def _number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high  # False for NaN


def _crop_margin(margin: Any) -> float:
    if margin is None:
        return 0.0
    if not _number(margin, -0.5, 10.0):
        raise ValueError("crop_margin: expected a share of the face's side, -0.5 to 10")
    return margin


def _eyes(eyes: Any) -> Eyes | None:
    if eyes is None:
        return None
    points = isinstance(eyes, list) and [type(point) for point in eyes] == [list, list]
    if not points or not all(
        len(point) == 2 and all(_number(part, -1.0, 2.0) for part in point) for point in eyes
    ):
        raise ValueError("eyes: expected [[x, y], [x, y]] as fractions of the image")
    (a, b), (c, d) = eyes
    if c - a <= 0.02:
        raise ValueError("eyes: expected the eye on the left first")
    return (a, b), (c, d)


def _storage(storage: Any) -> Json:
    if storage is None:
        return {}
    if not isinstance(storage, dict) or storage.get("precision") not in PRECISIONS:
        raise ValueError(f"storage: expected an object with a precision of {', '.join(PRECISIONS)}")
    return storage


def _evaluations(evaluations: Any) -> tuple[Json, ...]:
    if evaluations is None:
        return ()
    if not isinstance(evaluations, list) or len(evaluations) > _LONGEST:
        raise ValueError(f"evaluations: expected a list of at most {_LONGEST}")
    for each in evaluations:
        if not isinstance(each, dict):
            raise ValueError("evaluations: expected objects")
        for key, kind in _OF_EVALUATIONS.items():
            if not isinstance(each.get(key), kind):
                raise ValueError(
                    f"evaluations: {key}: {shown(each.get(key), 60)} is of another type"
                )
    return tuple(evaluations)


def _provenance(content: Json) -> Json:
    """Objects that may be absent, as after an import."""
    found = {
        k: content.get(k) or {} for k in ("data", "source", "protocol", "calibration", "figures")
    }
    for key, value in found.items():
        if not isinstance(value, dict):
            raise ValueError(f"{key}: expected an object")
    if type(found["protocol"].get("most_frontal") or 0) is not int:
        raise ValueError("protocol: most_frontal is not an integer")
    for task, temperature in found["calibration"].items():
        if temperature is not None and not _number(temperature, math.ulp(0.0), 1e30):
            raise ValueError(f"calibration: {task}: {temperature!r} is not a temperature")
    return found
