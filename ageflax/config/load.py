"""Resolved configs: defaults, then config files, then the command line."""

import dataclasses
import importlib.util
import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ageflax.config import check
from ageflax.config.key import Nested, flatten, nearest
from ageflax.config.meaning import hint, meant
from ageflax.config.schema import KEYS, MODEL_OPTIONS, Config, replaced, trains, untrained
from ageflax.errors import InputError, one_line, shown

_EXCLUSIVE = (("steps", "epochs"), ("folds", "fold"))
_PACKAGE = Path(__file__).parents[1]
# The recipes: inside the package where it is installed, beside it in a clone.
_OWN = next(
    (path for path in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if path.is_dir()),
    _PACKAGE / "configs",
)


@dataclasses.dataclass(frozen=True)
class _Layer:
    """Values of one source.

    Attributes:
      values: values by key, nested or dotted.
      origin: path of the config file, or a name for values in memory.
      text: content of the config file.
    """

    values: Nested
    origin: str
    text: str = ""

    def where(self, name: str) -> str:
        """Origin, and the line of the text that sets a key if it can be told: "mine.py: line 12"."""
        lines = [line.partition("#")[0] for line in self.text.splitlines()]
        leaf = name.rpartition(".")[2]
        for wanted in (name, leaf):
            sets = re.compile(rf"\b{re.escape(wanted)}\b['\"]?\]?\s*[=:](?!=)")
            found = [number for number, line in enumerate(lines, 1) if sets.search(line)]
            # A leaf alone may be another group's; the last assignment of a full name holds.
            if len(found) == 1 or (found and wanted == name):
                return f"{self.origin}: line {found[-1]}"
        return self.origin


def locate(named: str) -> str:
    """Path of a config file: of `levi` or `configs/levi.py` the package's own, if none is here.

    Returns the name itself if there is no such file.
    """
    path = Path(named)
    here = Path("configs") / f"{named}.py" if re.fullmatch(r"\w+", named) else path
    own = [_OWN / here.name] if here.parent == Path("configs") else []
    return str(next((file for file in (path, here, *own) if file.is_file()), named))


def load(path: str, overrides: Sequence[str] = ()) -> Config:
    """The defaults, then a file's values, then the command line's.

    Args:
      path: Python file with `get_config() -> ml_collections.ConfigDict`, or what `locate` finds;
        values of the file named by its `BASE`, relative to its own folder, come first.
      overrides: words such as "--config.data.resize=64".

    Raises:
      InputError: a file or word that cannot be used, with the file's line and the nearest name that
        exists.
    """
    return _resolved(_layers(locate(path), f"--config={path}"), overrides)


def resolve(values: Nested, overrides: Sequence[str] = (), *, origin: str = "config") -> Config:
    """Like `load`, from values in memory."""
    return _resolved([_Layer(values, origin)], overrides)


def standalone(path: str) -> str:
    """Text of a config file with the values of a file and of those it builds on."""
    values: dict[str, Any] = {}
    for layer in _layers(locate(path), f"--config={path}"):
        _overlay(values, _typed(layer), layer.origin)
    nested: dict[str, Any] = {}
    for name, value in values.items():
        group, _, leaf = name.rpartition(".")
        if value is not None:
            (nested.setdefault(group, {}) if group else nested)[leaf] = value
    return (
        "from ml_collections import ConfigDict\n\n\n"
        f"def get_config() -> ConfigDict:\n    return ConfigDict({nested!r})\n"
    )


def _resolved(layers: Sequence[_Layer], overrides: Sequence[str]) -> Config:
    values = {name: key.default for name, key in KEYS.items()}
    set_by: dict[str, _Layer | None] = {}  # None: the command line
    for layer in layers:
        typed = _typed(layer)
        _overlay(values, typed, layer.origin)
        set_by |= dict.fromkeys(typed, layer)
    parsed = _parsed(overrides)
    _overlay(values, parsed, "the command line")
    set_by |= dict.fromkeys(parsed)
    try:
        return _checked(values)
    except InputError as error:
        raise _placed(error, set_by) from None


def _placed(error: InputError, set_by: Mapping[str, _Layer | None]) -> InputError:
    """The error with the file and line of its first key, unless the command line set one of its keys."""
    named = [word for word in re.findall(r"[\w.]+", str(error)) if word in set_by]
    layers = [set_by[name] for name in named]
    if not layers or layers[0] is None or None in layers or not layers[0].text:
        return error
    return InputError(f"{layers[0].where(named[0])}: {error}")


def _checked(values: dict[str, Any]) -> Config:
    for name, key in KEYS.items():
        key.check(values[name])
        values[name] = key.located(values[name])
    if values["fold"] is not None:
        values["folds"] = (values["fold"],)
    for option, default in MODEL_OPTIONS[values["model.name"]].items():
        if values[f"model.{option}"] is None:
            values[f"model.{option}"] = default
    config = replaced(Config(), **values)
    check.check(config)
    return config if trains(config) else untrained(config)


def _typed(layer: _Layer) -> dict[str, Any]:
    """Values of a file by dotted key, in the keys' types."""
    values = {}
    given = dict(flatten(layer.values))
    for name, value in given.items():
        if value is None and given.get(dict(_EXCLUSIVE).get(name, "")) is not None:
            continue  # steps = None beside epochs
        if name not in KEYS:
            raise InputError(f"{layer.where(name)}: unknown key {shown(name)}{hint(name, KEYS)}")
        try:
            values[name] = KEYS[name].cast(value)
        except TypeError as error:
            raise InputError(f"{layer.where(name)}: {error}") from error
    return values


def _parsed(overrides: Sequence[str]) -> dict[str, Any]:
    """Values of the command line by dotted key."""
    values = {}
    for word in overrides:
        name, separator, text = word.removeprefix("--config.").partition("=")
        if not word.startswith("--config.") or not separator:
            raise InputError(f"{shown(word)}: unknown argument; {_instead(word)}")
        if name not in KEYS:
            raise InputError(f"--config.{one_line(name, 200)}: unknown key{hint(name, KEYS)}")
        values[name] = KEYS[name].parse(text)
    return values


def _instead(word: str) -> str:
    """End of an error message about a word that is not --config.KEY=VALUE."""
    name = word.partition("=")[0].removeprefix("--")
    key = name if name in KEYS else meant(name, KEYS)
    return (
        f"did you mean --config.{key}=VALUE?"
        if key
        else "config keys are set by --config.KEY=VALUE"
    )


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


def _layers(path: str, asked: str, above: Sequence[Path] = ()) -> list[_Layer]:
    """Values of a config file, after those of the files that it builds on.

    Args:
      path: config file.
      asked: where it is named, for messages.
      above: files that build on it.
    """
    if not Path(path).is_file():
        siblings = [str(p) for p in Path(path).parent.glob("*.py")]
        if re.fullmatch(r"\w+", path):
            siblings = [p.stem for p in _OWN.glob("*.py")]
        elif Path(path).parent == Path("configs"):
            siblings += [f"configs/{p.name}" for p in _OWN.glob("*.py")]
        hint = nearest(path, siblings) if siblings else ""
        raise InputError(f"{asked}: no such file{hint}")
    here = Path(path).resolve()
    if here in above:
        raise InputError(f"{asked}: the file builds on itself; remove one BASE of the circle")
    base, layer = _executed(path)
    if base is None:
        return [layer]
    asked = f"{layer.where('BASE')}: BASE = {shown(base)}"
    if not isinstance(base, str):
        raise InputError(f"{asked}: expected the path of a config file")
    return [
        *_layers(str(Path(path).parent / Path(base).expanduser()), asked, [*above, here]),
        layer,
    ]


def _executed(path: str) -> tuple[Any, _Layer]:
    """BASE of a config file, None if it has none, and the values of its get_config()."""
    spec = importlib.util.spec_from_file_location("ageflax_user_config", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file")
    module: ModuleType = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise InputError(f"{path}: no get_config(); define it as in configs/quickstart.py")
        config = module.get_config()
    except InputError:
        raise
    # A config is the user's code and may raise anything.
    except Exception as error:
        what = f"{type(error).__name__}: {one_line(str(error))}"
        raise InputError(f"{_place(error, path)}: {what}") from error
    # Imported late: it takes long, and the file has imported it by now.
    from ml_collections import ConfigDict

    if not isinstance(config, ConfigDict):
        raise InputError(f"{path}: get_config() must return an ml_collections.ConfigDict")
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return getattr(module, "BASE", None), _Layer(config, path, text)


def _place(error: Exception, path: str) -> str:
    """File and line of an error in a config file: the last line there, not that of a library."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}: line {error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    return f"{path}: line {lines[-1]}" if lines else path
