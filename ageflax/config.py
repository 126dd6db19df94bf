"""Every key a run can be given, with its default, what it accepts, and clear words when it is wrong.

A config file in `configs/` holds values only; what it does not name keeps the default given here. The
defaults are the paper's recipe (Levi & Hassner 2015) wherever the paper has a say.
"""

import ast
import difflib
import importlib.util
import json
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from ageflax import labels
from ageflax.errors import InputError

# A locked ml_collections.ConfigDict. Any, since its attributes have no static types.
Config: TypeAlias = Any

TASKS = {"age": ("age",), "gender": ("gender",), "joint": ("age", "gender")}


def defaults() -> Config:
    """All keys with their default values; see the comments for meaning and unit."""
    config = ConfigDict()
    config.task = "age"  # age | gender | joint (both heads on one trunk)
    config.folds = (0, 1, 2, 3, 4)  # the test folds to run
    config.fold = placeholder(int)  # one test fold; short for folds=(K,)
    config.seed = 0
    config.steps = 50_000  # optimiser steps a fold
    config.epochs = placeholder(float)  # instead of steps: passes over an average training set

    config.data = data = ConfigDict()
    data.name = "adience/aligned"  # builder[/config]
    data.dir = ""  # where datasets are built; "" is TFDS's default (TFDS_DATA_DIR)
    data.manual_dir = ""  # where downloaded archives lie; "" is DIR/downloads/manual
    data.label_policy = "strict"  # how raw age labels become classes; see ageflax/labels.py
    data.intervals = ()  # label_policy=intervals: the classes, ((low, high), ...) in whole years
    data.most_frontal = 0  # keep so many faces of the highest face_score; 0 keeps all
    data.resize = 256  # side, in pixels, of the decoded square image
    data.crop = 227  # side, in pixels, of what the network sees
    data.interpolation = "bilinear"  # bilinear, as Caffe's convert_imageset | area
    data.mirror = True  # random horizontal mirror in training
    data.mean = "image"  # subtract the training faces' mean: image (per pixel) | channel
    data.channels = "bgr"  # what the network sees: bgr (Caffe) | rgb | grey (one channel)
    data.validation = "subject"  # subject | none | image_leaky (the authors' lists; leaks persons)
    data.validation_fraction = 0.1  # share of the training folds' faces
    data.batch_size = 50  # over all devices
    data.placement = "auto"  # auto | device | host | stream
    data.memory_share = 0.5  # auto: keep decoded images where they fill at most this share
    data.workers = 0  # stream: decoding processes; 0 decodes in threads of this one

    config.model = model = ConfigDict()
    model.name = "levi_hassner"
    model.width = 1.0  # multiplies every layer's features; 1 is the paper's
    model.norm = "lrn"  # lrn | batch | none
    model.initialization = "gaussian"  # gaussian, the paper's fixed deviations | he
    model.dropout = 0.5
    model.dtype = "float32"  # of the computation: float32 | bfloat16 (parameters stay float32)

    config.optim = optim = ConfigDict()
    optim.name = "sgd"  # sgd (Caffe's) | adamw
    optim.learning_rate = 1e-3
    optim.momentum = 0.9
    optim.weight_decay = 5e-4
    optim.schedule = "step"  # step | constant | cosine
    optim.warmup_steps = 0
    optim.decay_every = 10_000  # step: multiply by decay_factor every so many steps
    optim.decay_factor = 0.1
    # (pattern, factor) pairs over parameter paths, first match wins; heads are "heads/age/kernel".
    optim.lr_multipliers = (
        ("heads/.*/kernel", 10.0),
        ("heads/.*/bias", 20.0),
        (".*/bias", 2.0),
    )
    optim.decay_exempt = (".*/bias",)  # patterns over parameter paths

    config.eval = evaluation = ConfigDict()
    evaluation.protocol = "cross_validation"  # cross_validation | hold_out (60/20/20)
    evaluation.crops = "center"  # center | ten (corners, centre and their mirrors, averaged)
    evaluation.checkpoint = "last"  # which weights are tested: last | best (on validation)
    evaluation.batch_size = 100
    evaluation.every = 1000  # steps between validations, each followed by a checkpoint
    evaluation.log_every = 50  # steps between lines of metrics.jsonl
    return config


_CHOICES: dict[str, tuple[str, ...]] = {
    "task": tuple(TASKS),
    "data.label_policy": labels.LABEL_POLICIES,
    "data.interpolation": ("bilinear", "area"),
    "data.mean": ("image", "channel"),
    "data.channels": ("bgr", "rgb", "grey"),
    "data.validation": ("subject", "none", "image_leaky"),
    "data.placement": ("auto", "device", "host", "stream"),
    "model.name": ("levi_hassner",),
    "model.norm": ("lrn", "batch", "none"),
    "model.initialization": ("gaussian", "he"),
    "model.dtype": ("float32", "bfloat16"),
    "optim.name": ("sgd", "adamw"),
    "optim.schedule": ("step", "constant", "cosine"),
    "eval.protocol": ("cross_validation", "hold_out"),
    "eval.crops": ("center", "ten"),
    "eval.checkpoint": ("last", "best"),
}
# Inclusive bounds.
_BOUNDS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "steps": (1, 10**9),
    "epochs": (1e-3, 10**6),
    "data.most_frontal": (0, 10**9),
    "data.resize": (8, 4096),
    "data.crop": (8, 4096),
    "data.validation_fraction": (0.001, 0.9),
    "data.batch_size": (1, 10**6),
    "data.memory_share": (0.0, 1.0),
    "data.workers": (0, 1024),
    "model.width": (0.01, 16.0),
    "model.dropout": (0.0, 0.99),
    "optim.learning_rate": (0.0, 1e3),
    "optim.momentum": (0.0, 0.9999),
    "optim.weight_decay": (0.0, 1e3),
    "optim.warmup_steps": (0, 10**9),
    "optim.decay_every": (1, 10**9),
    "optim.decay_factor": (0.0, 1.0),
    "eval.batch_size": (1, 10**6),
    "eval.every": (1, 10**9),
    "eval.log_every": (1, 10**9),
}
# Two ways to say one thing; the second, where it is set, is what holds.
_ALTERNATIVES = (("steps", "epochs"), ("folds", "fold"))
# May differ between a run and its continuation: which folds, where pixels lie, where datasets lie.
# They change neither the recipe nor what a finished fold's figures mean.
CONTINUABLE = (
    "fold",
    "folds",
    "data.dir",
    "data.manual_dir",
    "data.placement",
    "data.memory_share",
    "data.workers",
)


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(names))}"


def flatten(config: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) pairs of all leaves."""
    for key in config:
        value = config[key]
        if isinstance(value, ConfigDict | dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _convert(key: str, text: str, kind: type) -> Any:
    """A command-line word as the type its key has."""
    if kind is str:
        return text
    if kind is bool:
        try:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        except KeyError:
            raise InputError(f"--config.{key}={text}: expected true or false") from None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise InputError(f"--config.{key}={text}: expected {kind.__name__}") from None


def _assign(config: Config, key: str, value: Any, *, origin: str) -> None:
    """Sets one dotted key, its type checked."""
    group, _, leaf = key.rpartition(".")
    node = config[group] if group else config
    kind = node.get_type(leaf)
    if value is None and node.get_ref(leaf).get() is None:
        return
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{origin}: {key} = {value!r}: expected {kind.__name__}")
    node[leaf] = value


def _kind(config: Config, key: str) -> type:
    group, _, leaf = key.rpartition(".")
    return (config[group] if group else config).get_type(leaf)


def _load(path: str) -> ConfigDict:
    """Runs a config file and returns what its get_config() gives."""
    if not Path(path).is_file():
        siblings = sorted(str(p) for p in Path(path).parent.glob("*.py"))
        hint = _nearest(path, siblings) if siblings else ""
        raise InputError(f"--config={path}: no such file{hint}")
    spec = importlib.util.spec_from_file_location("ageflax_user_config", path)
    if spec is None or spec.loader is None:
        raise InputError(f"--config={path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config()
    # A config is the user's code: whatever it raises is told in one line, with its line number.
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1].lineno
        line = error.lineno if isinstance(error, SyntaxError) else line
        raise InputError(
            f"--config={path}: line {line}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(config, ConfigDict):
        raise InputError(f"--config={path}: get_config() must return a ConfigDict")
    return config


def load(path: str, overrides: Sequence[str] = ()) -> Config:
    """The defaults, then the file's values, then the command line's.

    Args:
      path: a Python file with `get_config() -> ConfigDict`.
      overrides: words such as "--config.data.resize=64".

    Returns:
      A locked, checked ConfigDict.

    Raises:
      InputError: names what is wrong and the nearest thing that exists.
    """
    return resolve(_load(path), overrides, origin=path)


def resolve(values: ConfigDict, overrides: Sequence[str] = (), *, origin: str = "config") -> Config:
    """As `load`, from values in memory."""
    config = defaults()
    keys = [key for key, _ in flatten(config)]
    for key, value in flatten(values):
        if key not in keys:
            raise InputError(f"{origin}: unknown key {key!r}{_nearest(key, keys)}")
        _assign(config, key, value, origin=origin)
    _settle(config, {key for key, value in flatten(values) if value is not None}, origin)
    given = set()
    for word in overrides:
        key, separator, text = word.removeprefix("--config.").partition("=")
        if not word.startswith("--config.") or not separator:
            raise InputError(
                f"{word!r} is no argument of this command; keys are --config.KEY=VALUE"
            )
        if key not in keys:
            raise InputError(f"--config.{key}: unknown key{_nearest(key, keys)}")
        _assign(config, key, _convert(key, text, _kind(config, key)), origin=f"--config.{key}")
        given.add(key)
    _settle(config, given, "the command line")
    _check(config)
    return config.lock()


def _settle(config: Config, given: set[str], origin: str) -> None:
    """Of two keys that say the same thing, what is given later holds; both at once are refused."""
    for key, other in _ALTERNATIVES:
        if {key, other} <= given:
            raise InputError(f"{origin}: gives both {key} and {other}; give one")
        if key in given:
            config[other] = None


def _check(config: Config) -> None:
    """What no type can say: choices, bounds, and keys that must fit each other."""
    for key, value in flatten(config):
        if key in _CHOICES and value not in _CHOICES[key]:
            raise InputError(f"{key} = {value!r}: not a choice{_nearest(value, _CHOICES[key])}")
        low, high = _BOUNDS.get(key, (None, None))
        if low is not None and value is not None and not low <= value <= high:
            raise InputError(f"{key} = {value!r}: must lie in {low} to {high}")
    if config.fold is not None:
        config.folds = (config.fold,)
    if not config.folds or len(set(config.folds)) != len(config.folds):
        raise InputError(f"folds = {config.folds}: name each test fold once, at least one")
    for fold in config.folds:
        if fold not in range(5) or isinstance(fold, bool):
            raise InputError(f"fold {fold!r} is out of range: a dataset has folds 0 to 4")
    if config.data.crop > config.data.resize:
        raise InputError(
            f"data.crop = {config.data.crop} is larger than data.resize = {config.data.resize}"
        )
    _check_intervals(config.data.label_policy, config.data.intervals)
    for pair in config.optim.lr_multipliers:
        if not (
            isinstance(pair, tuple)
            and len(pair) == 2
            and isinstance(pair[0], str)
            and isinstance(pair[1], int | float)
        ):
            raise InputError(f"optim.lr_multipliers: {pair!r} is no (pattern, factor) pair")
    for pattern in config.optim.decay_exempt:
        if not isinstance(pattern, str):
            raise InputError(f"optim.decay_exempt: {pattern!r} is no pattern")
    crossed = config.eval.protocol == "cross_validation"
    if config.eval.checkpoint == "best" and config.data.validation == "none" and crossed:
        raise InputError("eval.checkpoint = 'best' needs validation faces: set data.validation")
    if config.eval.protocol == "hold_out" and tuple(config.folds) not in ((0, 1, 2, 3, 4), (4,)):
        raise InputError("eval.protocol = 'hold_out' tests fold 4 alone: leave folds as it is")


def _check_intervals(policy: str, intervals: Any) -> None:
    if (policy == "intervals") != bool(intervals):
        raise InputError(
            "data.intervals and data.label_policy = 'intervals' go together: set both or neither"
        )
    previous = -1
    for pair in intervals:
        whole = isinstance(pair, tuple) and [type(year) for year in pair] == [int, int]
        if not whole or not previous < pair[0] <= pair[1]:
            raise InputError(
                f"data.intervals: {pair!r}: expected (low, high) in whole years, each above the last,"
                " such as ((0, 12), (13, 29), (30, 49), (50, 100))"
            )
        previous = pair[1]
    if len(intervals) == 1:
        raise InputError("data.intervals: one class is nothing to learn; give two or more")


def class_names(config: Config) -> dict[str, tuple[str, ...]]:
    """Names of the classes of each task that a config trains."""
    intervals = config.data.intervals or labels.ADIENCE
    return {task: labels.class_names(task, intervals) for task in TASKS[config.task]}


def differing_keys(old: dict[str, Any], new: Config) -> list[str]:
    """Keys whose change makes another experiment, as "key: old -> new" lines.

    Args:
      old: the config that a run was started with, as read back from its config.json.
      new: the config it is asked to go on with.
    """
    # Through JSON, so that tuples on one side and lists on the other compare equal.
    before, after = (
        dict(flatten(json.loads(json.dumps(config)))) for config in (old, new.to_dict())
    )
    return [
        f"{key}: {before.get(key)!r} -> {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if key not in CONTINUABLE and before.get(key) != after.get(key)
    ]
