"""config.json of a bundle, as it may come from anybody: read, and checked before it is believed.

An .onnx file carries the same description in its metadata.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ageflax import config as configuration
from ageflax import labels
from ageflax.config import Config
from ageflax.errors import InputError, one_line, shown

# 1 had neither losses, nor age groups, nor a deviation.
FORMAT, FORMATS = 2, (1, 2)
TASKS = ("age", "years", "gender")
MOST_BYTES = 16_000_000  # figures of a hundred classes have a hundredth of it
_MOST_GROUPS, _MOST_YEARS = 1000, 9999
_LONGEST = 100  # of a word or list among the options
_INPUT = ("resize", "crop", "interpolation", "channels")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


def read(path: Path) -> dict[str, Any]:
    """A description as it is written.

    Raises:
      InputError: the file is absent, too large, or holds no JSON object.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: {size} bytes, more than the {MOST_BYTES} it may have")
        config = json.loads(path.read_bytes(), object_pairs_hook=_once)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: not readable JSON: brackets without end") from error
    except ValueError as error:  # of JSON, of its encoding, or of a number's digits
        raise InputError(f"{path}: not readable JSON: {one_line(str(error), 120)}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path}: no JSON object")
    return config


def _groups(groups: Any) -> labels.Intervals:
    if not isinstance(groups, list) or not 1 <= len(groups) <= _MOST_GROUPS:
        raise ValueError(f"age_groups: expected [low, high] pairs, at most {_MOST_GROUPS}")
    previous = -1
    for pair in groups:
        whole = isinstance(pair, list) and [type(year) for year in pair] == [int, int]
        if not whole or not previous < pair[0] <= pair[1] <= _MOST_YEARS:
            raise ValueError(f"age_groups: {pair!r}: expected [low, high], each above the last")
        previous = pair[1]
    return tuple((low, high) for low, high in groups)


def _check_heads(heads: Any, intervals: labels.Intervals) -> None:
    if heads == {}:
        raise ValueError(
            "a trunk without heads, which answers nothing: it is a start for training,"
            " --config.transfer.weights=BUNDLE"
        )
    if not isinstance(heads, dict):
        raise ValueError("heads: expected the class names of each task")
    for task, names in heads.items():
        if task not in TASKS:
            raise ValueError(f"heads: {task!r} is none of {', '.join(TASKS)}")
        # In this order, since it is that of the probabilities.
        if names != list(wanted := labels.class_names(task, intervals)):
            shown = ", ".join(wanted[:4]) + ", ..." * (len(wanted) > 4)
            raise ValueError(f"heads: {task}: expected the {len(wanted)} classes {shown}")


def _value(value: Any) -> Any:
    """An option's value, as a config has it: lists are tuples there."""
    if isinstance(value, list) and len(value) <= _LONGEST:
        return tuple(_value(part) for part in value)
    if isinstance(value, str) and len(value) <= _LONGEST:
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    raise ValueError(f"an option is no number, short word or short list: {shown(value, 60)}")


def _options(group: Any, name: str) -> dict[str, Any]:
    if not isinstance(group, dict) or len(group) > _LONGEST:
        raise ValueError(f"{name}: expected options by name")
    return {_value(key): _value(value) for key, value in group.items()}


def _options_of(config: Mapping[str, Any], intervals: labels.Intervals) -> Config:
    """A bundle's network, losses and input are those that a config may ask for."""
    spec = config.get("input")
    if not isinstance(spec, dict) or not set(_INPUT) <= spec.keys():
        raise ValueError(f"input: expected {', '.join(_INPUT)}")
    values: dict[str, Any] = {
        "task": "+".join(config["heads"]),
        "data": {key: _value(spec[key]) for key in _INPUT},
    }
    if intervals != labels.ADIENCE:
        values["data"] |= {"label_policy": "intervals", "intervals": intervals}
    if "architecture" in config:
        values["model"] = _options(config["architecture"], "architecture")
        if len(values["model"].get("head_hidden") or ()) > 16:
            raise ValueError("architecture: more than 16 hidden layers of a head")
    if config.get("loss") is not None:
        values["loss"] = _options(config["loss"], "loss")
    try:
        return configuration.resolve(ConfigDict(values), origin="its description")
    except InputError as error:
        raise ValueError(str(error)) from error


def _number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high  # of NaN nothing is true


def _check_framing(config: dict[str, Any]) -> None:
    """Margin of the crop and places of the eyes; without any, the face as it is detected."""
    if config.get("crop_margin") is None:
        config["crop_margin"] = 0.0
    if not _number(config["crop_margin"], -0.5, 10.0):
        raise ValueError("crop_margin: expected a share of the face's side, -0.5 to 10")
    eyes = config.setdefault("eyes", None)
    if eyes is None:
        return
    points = isinstance(eyes, list) and [type(point) for point in eyes] == [list, list]
    if not points or not all(
        len(point) == 2 and all(_number(part, -1.0, 2.0) for part in point) for point in eyes
    ):
        raise ValueError("eyes: expected [[x, y], [x, y]] as fractions of the image")


def _check_provenance(config: dict[str, Any]) -> None:
    """What a description may lack is an empty object afterwards."""
    for key in ("data", "source", "protocol", "calibration", "figures"):
        config[key] = config.get(key) or {}
        if not isinstance(config[key], dict):
            raise ValueError(f"{key}: expected an object")
    if type(config["protocol"].get("most_frontal") or 0) is not int:
        raise ValueError("protocol: most_frontal is no whole number")
    for task, temperature in config["calibration"].items():
        if temperature is not None and not _number(temperature, math.ulp(0.0), 1e30):
            raise ValueError(f"calibration: {task}: {temperature!r} is no temperature")


def check(config: dict[str, Any], origin: object) -> Config:
    """Completes a description, of whatever format, and sees to it that it can be used.

    Args:
      config: changed in place: what an older one lacks is added.
      origin: where it comes from, for messages.

    Returns:
      A config of whose `model` and `loss` the network is.

    Raises:
      InputError: classes, network, losses, input or provenance are not such as this project writes.
    """
    try:
        config.setdefault("age_groups", [list(pair) for pair in labels.ADIENCE])
        intervals = _groups(config["age_groups"])
        _check_heads(config.get("heads"), intervals)
        resolved = _options_of(config, intervals)
        _check_framing(config)
        _check_provenance(config)
    # Another type than was expected, in whatever place.
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise InputError(f"{origin}: its config is damaged: {one_line(str(error), 300)}") from error
    return resolved
