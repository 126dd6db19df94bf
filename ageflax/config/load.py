"""Resolved configs: defaults, then config files, then the command line."""

import importlib.util
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ageflax.config import check
from ageflax.config.key import Nested, flatten, nearest
from ageflax.config.schema import KEYS, MODEL_OPTIONS, Config, replaced
from ageflax.errors import InputError, one_line, shown

_EXCLUSIVE = (("steps", "epochs"), ("folds", "fold"))


def load(path: str, overrides: Sequence[str] = ()) -> Config:
    """The defaults, then a file's values, then the command line's.

    Args:
      path: Python file with `get_config() -> ml_collections.ConfigDict`; values of the file named
        by its `BASE`, relative to its own folder, come first.
      overrides: words such as "--config.data.resize=64".

    Raises:
      InputError: a file or word that cannot be used, with the nearest name that exists.
    """
    return _resolved(_layers(path, f"--config={path}"), overrides)


def resolve(values: Nested, overrides: Sequence[str] = (), *, origin: str = "config") -> Config:
    """Like `load`, from values in memory."""
    return _resolved([(origin, values)], overrides)


def standalone(path: str) -> str:
    """Text of a config file with the values of a file and of those it builds on."""
    values: dict[str, Any] = {}
    for origin, layer in _layers(path, f"--config={path}"):
        _overlay(values, _typed(layer, origin), origin)
    nested: dict[str, Any] = {}
    for name, value in values.items():
        group, _, leaf = name.rpartition(".")
        if value is not None:
            (nested.setdefault(group, {}) if group else nested)[leaf] = value
    return (
        "from ml_collections import ConfigDict\n\n\n"
        f"def get_config() -> ConfigDict:\n    return ConfigDict({nested!r})\n"
    )


def _resolved(layers: Sequence[tuple[str, Nested]], overrides: Sequence[str]) -> Config:
    values = {name: key.default for name, key in KEYS.items()}
    for origin, layer in layers:
        _overlay(values, _typed(layer, origin), origin)
    _overlay(values, _parsed(overrides), "the command line")
    for name, key in KEYS.items():
        key.check(values[name])
    if values["fold"] is not None:
        values["folds"] = (values["fold"],)
    for option, default in MODEL_OPTIONS[values["model.name"]].items():
        if values[f"model.{option}"] is None:
            values[f"model.{option}"] = default
    config = replaced(Config(), **values)
    check.check(config)
    return config


def _typed(layer: Nested, origin: str) -> dict[str, Any]:
    """Values of a file by dotted key, in the keys' types."""
    values = {}
    for name, value in flatten(layer):
        if name not in KEYS:
            raise InputError(f"{origin}: unknown key {shown(name)}{nearest(name, KEYS)}")
        try:
            values[name] = KEYS[name].cast(value)
        except TypeError as error:
            raise InputError(f"{origin}: {error}") from error
    return values


def _parsed(overrides: Sequence[str]) -> dict[str, Any]:
    """Values of the command line by dotted key."""
    values = {}
    for word in overrides:
        name, separator, text = word.removeprefix("--config.").partition("=")
        if not word.startswith("--config.") or not separator:
            raise InputError(
                f"{shown(word)}: unknown argument; config keys are set by --config.KEY=VALUE"
            )
        if name not in KEYS:
            raise InputError(f"--config.{one_line(name, 200)}: unknown key{nearest(name, KEYS)}")
        values[name] = KEYS[name].parse(text)
    return values


def _overlay(values: dict[str, Any], layer: Mapping[str, Any], origin: str) -> None:
    """Puts a layer's values over those of the layers below it.

    Resolves exclusive keys (steps/epochs, fold/folds): the later layer wins. Where a layer names
    another trunk, options below it were meant for the former one and go.
    """
    for key, other in _EXCLUSIVE:
        given = [name for name in (key, other) if layer.get(name) is not None]
        if len(given) > 1:
            raise InputError(f"{origin}: gives both {key} and {other}; give one")
        if given == [key]:
            values[other] = None
    trunk = values.get("model.name", KEYS["model.name"].default)
    if layer.get("model.name", trunk) != trunk:
        for option in {option for options in MODEL_OPTIONS.values() for option in options}:
            values[f"model.{option}"] = None
    values.update(layer)


def _layers(path: str, asked: str, above: Sequence[Path] = ()) -> list[tuple[str, Nested]]:
    """(path, values) of a config file, after those of the files that it builds on.

    Args:
      path: config file.
      asked: where it is named, for messages.
      above: files that build on it.
    """
    if not Path(path).is_file():
        siblings = sorted(str(p) for p in Path(path).parent.glob("*.py"))
        hint = nearest(path, siblings) if siblings else ""
        raise InputError(f"{asked}: no such file{hint}")
    here = Path(path).resolve()
    if here in above:
        raise InputError(f"{asked}: the file builds on itself; remove one BASE of the circle")
    base, values = _executed(path)
    if base is None:
        return [(path, values)]
    if not isinstance(base, str):
        raise InputError(f"{path}: BASE = {shown(base)}: expected the path of a config file")
    below = _layers(str(Path(path).parent / base), f"{path}: BASE = {base!r}", [*above, here])
    return [*below, (path, values)]


def _executed(path: str) -> tuple[Any, Nested]:
    """BASE of a config file, None if it has none, and the values of its get_config()."""
    spec = importlib.util.spec_from_file_location("ageflax_user_config", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file")
    module: ModuleType = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config()
    # A config is the user's code and may raise anything.
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1].lineno
        line = error.lineno if isinstance(error, SyntaxError) else line
        raise InputError(f"{path}: line {line}: {type(error).__name__}: {error}") from error
    # Imported late: it takes long, and the file has imported it by now.
    from ml_collections import ConfigDict

    if not isinstance(config, ConfigDict):
        raise InputError(f"{path}: get_config() must return an ml_collections.ConfigDict")
    return getattr(module, "BASE", None), config
