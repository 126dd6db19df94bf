"""Every key a run can be given, with its default, what it accepts, and clear words when it is wrong.

A config file in `configs/` holds values only; what it does not name keeps the default of `_keys.py`.
"""

import ast
import contextlib
import importlib.util
import json
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from ageflax import labels
from ageflax.config import check
from ageflax.config.schema import ALTERNATIVES, CONTINUABLE, MODEL_OPTIONS, defaults, tasks_of
from ageflax.errors import InputError, one_line, shown

# A locked ml_collections.ConfigDict. Any, since its attributes have no static types.
Config: TypeAlias = Any

# Of a value on the command line; Python cannot even show numbers of some thousand digits.
_LONGEST = 1000

__all__ = [
    "CONTINUABLE",
    "MODEL_OPTIONS",
    "Config",
    "class_names",
    "defaults",
    "differing_keys",
    "flatten",
    "intervals",
    "load",
    "resolve",
    "tasks",
]


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
    if len(text) > _LONGEST:
        raise InputError(f"--config.{key}={text[:60]}...: {len(text)} characters are no value")
    if kind is str:
        return text
    if kind is bool:
        try:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        except KeyError:
            raise InputError(f"--config.{key}={text}: expected true or false") from None
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise InputError(f"--config.{key}={text}: expected {kind.__name__}") from None


def _assign(config: Config, key: str, value: Any, *, origin: str) -> None:
    """Sets one dotted key, its type checked."""
    group, _, leaf = key.rpartition(".")
    node = config[group] if group else config
    kind = node.get_type(leaf)
    if value is None and node.get_ref(leaf).get() is None:
        return
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # a whole number of four hundred digits
            value = float(value)
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{origin}: {key} = {shown(value)}: expected {kind.__name__}")
    node[leaf] = value


def _kind(config: Config, key: str) -> type:
    group, _, leaf = key.rpartition(".")
    return (config[group] if group else config).get_type(leaf)


def _load(path: str) -> ConfigDict:
    """Runs a config file and returns what its get_config() gives."""
    if not Path(path).is_file():
        siblings = sorted(str(p) for p in Path(path).parent.glob("*.py"))
        hint = check.nearest(path, siblings) if siblings else ""
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
            raise InputError(f"{origin}: unknown key {shown(key)}{check.nearest(key, keys)}")
        _assign(config, key, value, origin=origin)
    _settle(config, {key for key, value in flatten(values) if value is not None}, origin)
    _forget_options(config, overrides)
    given = set()
    for word in overrides:
        key, separator, text = word.removeprefix("--config.").partition("=")
        if not word.startswith("--config.") or not separator:
            raise InputError(
                f"{shown(word)} is no argument of this command; keys are --config.KEY=VALUE"
            )
        if key not in keys:
            raise InputError(
                f"--config.{one_line(key, 200)}: unknown key{check.nearest(key, keys)}"
            )
        _assign(config, key, _convert(key, text, _kind(config, key)), origin=f"--config.{key}")
        given.add(key)
    _settle(config, given, "the command line")
    check.check(config, dict(flatten(config)))
    return config.lock()


def _forget_options(config: Config, overrides: Sequence[str]) -> None:
    """Where the command line names another trunk, the file's options were not for it."""
    names = [w.partition("=")[2] for w in overrides if w.startswith("--config.model.name=")]
    if names and names[-1] != config.model.name:
        for option in {option for trunk in MODEL_OPTIONS.values() for option in trunk}:
            config.model[option] = None


def _settle(config: Config, given: set[str], origin: str) -> None:
    """Of two keys that say the same thing, what is given later holds; both at once are refused."""
    for key, other in ALTERNATIVES:
        if {key, other} <= given:
            raise InputError(f"{origin}: gives both {key} and {other}; give one")
        if key in given:
            config[other] = None


def tasks(config: Config) -> tuple[str, ...]:
    """The tasks that a config trains, in the order age, years, gender."""
    return tasks_of(config.task)


def intervals(config: Config) -> labels.Intervals:
    """The age groups of a config: its own, or Adience's."""
    return config.data.intervals or labels.ADIENCE


def class_names(config: Config) -> dict[str, tuple[str, ...]]:
    """Names of the classes of each task that a config trains."""
    return {task: labels.class_names(task, intervals(config)) for task in tasks(config)}


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
