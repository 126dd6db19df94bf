"""Runs from command-line arguments: configs, their keys and folds, and the runs they start from."""

import argparse
import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ageflax import config as configuration
from ageflax.config import Config
from ageflax.errors import InputError
from ageflax.runtime import command_line, files

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")
_VALUES = re.compile(r"(?:\([^)]*\)|[^,(])+")  # commas within tuples do not separate
_WEIGHTS = "--config.transfer.weights="
_START = re.compile(r"run:(?P<name>[^/]+)(/(?P<fold>[0-4]))?")


@dataclasses.dataclass(frozen=True)
class Start:
    """Another run whose weights a run starts from.

    Attributes:
      name: name of the other run.
      fold: the fold whose weights all folds start from; None for the fold of the same number.
    """

    name: str
    fold: int | None


@dataclasses.dataclass(frozen=True)
class Run:
    """A config with a name and overrides.

    Attributes:
      name: name in tables and of the folder.
      file: the config file, as in `ageflax.main --config=FILE`.
      overrides: "--config.KEY=VALUE" arguments, without fold, folds, data.dir and a `run:` start.
      config: the resolved config.
      start: the run it starts from.
    """

    name: str
    file: str
    overrides: tuple[str, ...]
    config: Config
    start: Start | None = None

    @property
    def folds(self) -> tuple[int, ...]:
        """Its test folds."""
        return (4,) if self.config.eval.protocol == "hold_out" else tuple(self.config.folds)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The runs of a pipeline.

    Attributes:
      runs: runs in the order given, except that a run comes after the one it starts from.
      refused: error by name for each invalid config; the other configs run.
    """

    runs: tuple[Run, ...]
    refused: dict[str, str]


def _files(configs: str) -> dict[str, str]:
    """Config files by name, from comma-separated NAME, FILE.py, LABEL=NAME or LABEL=FILE.py."""
    found: dict[str, str] = {}
    for item in (word.strip() for word in configs.split(",")):
        label, separator, given = item.rpartition("=")
        if not given:
            raise InputError(f"--configs={configs}: expected names such as levi,resnet34")
        given = files.local(given)
        file = configuration.locate(given)
        name = label if separator else Path(given).stem
        if not _NAME.fullmatch(name):
            raise InputError(
                f"--configs: invalid name {name!r}; use letters, digits, '.', '_' and '-'"
            )
        if name in found:
            raise InputError(
                f"--configs: {name!r} is given twice; use labels, such as"
                f" first={given},second={given}"
            )
        found[name] = file
    return found


def _check_name(option: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise InputError(f"{option}: no config is named {name!r}; known names: {', '.join(names)}")


def _own_words(words: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Overrides from --set=NAME:KEY=VALUE, by name."""
    own: dict[str, list[str]] = {name: [] for name in names}
    for word in words:
        name, colon, assignment = word.partition(":")
        if not colon or "=" not in assignment:
            raise InputError(f"--set={word}: expected NAME:KEY=VALUE")
        _check_name(f"--set={word}", name, names)
        own[name].append(f"--config.{assignment.removeprefix('config.')}")
    return own


def _start(words: Sequence[str]) -> Start | None:
    """The start named by the last `transfer.weights` override, if that is run:NAME[/K]."""
    given = [word.removeprefix(_WEIGHTS) for word in words if word.startswith(_WEIGHTS)]
    if not given or not given[-1].startswith("run:"):
        return None
    value = given[-1]
    match = _START.fullmatch(value)
    if match is None:
        raise InputError(f"transfer.weights={value}: expected run:NAME or run:NAME/FOLD, 0 to 4")
    fold = match["fold"]
    return Start(match["name"], None if fold is None else int(fold))


def _ordered(runs: dict[str, Run], refused: dict[str, str]) -> list[Run]:
    """Sorts each run after the one it starts from; refuses a run whose start is refused."""
    placed: list[Run] = []
    remaining = dict(runs)
    while remaining:
        names = {run.name for run in placed}
        ready = [r for r in remaining.values() if r.start is None or r.start.name in names]
        placed += [remaining.pop(run.name) for run in ready]
        if ready:
            continue
        for name, run in remaining.items():
            assert run.start is not None
            refused[name] = f"starts from run {run.start.name!r}, which cannot run before it"
        break
    return placed


def _swept(sweeps: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, dict[str, str]]]:
    """Variants of each config: values of the swept keys by the variant's name, by config."""
    axes: dict[str, list[list[tuple[str, str]]]] = {name: [] for name in names}
    for sweep in sweeps:
        key, _, text = sweep.partition("=")
        name, colon, own = key.rpartition(":")
        values = _VALUES.findall(text)
        if not own or len(values) < 2:
            raise InputError(f"--sweep={sweep}: expected KEY=VALUE,VALUE or NAME:KEY=VALUE,VALUE")
        if colon:
            _check_name(f"--sweep={sweep}", name, names)
        for one in [name] if colon else names:
            axes[one].append([(own.removeprefix("config."), value) for value in values])
    found: dict[str, dict[str, dict[str, str]]] = {}
    for config, own_axes in axes.items():
        found[config] = {}
        for chosen in itertools.product(*own_axes):
            parts = [f"{key.rpartition('.')[2]}_{_UNFIT.sub('', value)}" for key, value in chosen]
            name = "-".join([config, *parts])
            if any(name in variants for variants in found.values()):
                raise InputError(
                    f"--sweep: two runs would be named {name!r}; use labels in --configs"
                )
            found[config][name] = dict(chosen)
    return found


def _variant(start: Start, values: Mapping[str, str], variants: Mapping[str, Mapping]) -> Start:
    """The start, named after the variant that has the same values of the keys swept there."""
    for name, its in variants.items():
        if its.items() <= values.items():
            return dataclasses.replace(start, name=name)
    raise InputError(
        f"--sweep: run:{start.name} is swept over {', '.join(next(iter(variants.values())))}; sweep"
        " what starts from it over the same values"
    )


def make(
    configs: str, common: Sequence[str], own: Sequence[str], sweeps: Sequence[str] = ()
) -> Plan:
    """Resolves every config.

    Args:
      configs: the value of --configs.
      common: "--config.KEY=VALUE" arguments for all configs.
      own: "NAME:KEY=VALUE" arguments for one config; they override the common ones.
      sweeps: "[NAME:]KEY=VALUE,VALUE" arguments; each config becomes a run for every combination of
        values, which override all others.

    Raises:
      InputError: an argument is unknown or malformed, or no config is valid.
    """
    for word in common:
        if not word.startswith("--config.") or "=" not in word:
            raise InputError(
                f"{word!r}: unknown argument; use --config.KEY=VALUE for all configs,"
                " --set=NAME:KEY=VALUE for one"
            )
    files = _files(configs)
    words_of = _own_words(own, list(files))
    runs: dict[str, Run] = {}
    refused: dict[str, str] = {}
    variants = _swept(sweeps, list(files))
    entries = [(of, name, values) for of in files for name, values in variants[of].items()]
    for label, name, values in entries:
        words = [*common, *words_of[label], *(f"--config.{k}={v}" for k, v in values.items())]
        start = _start(words)
        if start is not None:
            if start.name not in files:
                known = ", ".join(files)
                raise InputError(
                    f"--set={label}:transfer.weights=run:{start.name}: no such run; known names: {known}"
                )
            start = _variant(start, values, variants[start.name])
        try:
            config = configuration.load(files[label], words)
        except InputError as error:
            refused[name] = str(error)
            continue
        fixed = ("--config.fold=", "--config.folds=", "--config.data.dir=")
        fixed += () if start is None else (_WEIGHTS,)
        kept = tuple(word for word in words if not word.startswith(fixed))
        runs[name] = Run(name, files[label], kept, config, start)
    placed = _ordered(runs, refused)
    if not placed:
        raise InputError(next(iter(refused.values())))
    return Plan(tuple(placed), refused)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --configs, --set, --sweep and --workdir."""
    add = parser.add_argument
    add("--configs", metavar="NAME,...", required=True,
        help="configs separated by commas: NAME, FILE.py, LABEL=NAME or LABEL=FILE.py")  # fmt: skip
    add("--set", dest="own", metavar="NAME:KEY=VALUE", action="append", default=[],
        help="override for one config; transfer.weights=run:NAME[/K] starts from fold K of another"
        " run (default: the fold of the same number)")  # fmt: skip
    add("--sweep", dest="sweeps", metavar="[NAME:]KEY=V,V...", action="append", default=[],
        help="a run for each value, of all configs or of one; several give all combinations"
        )  # fmt: skip
    add("--workdir", metavar="DIR", type=command_line.path, required=True,
        help="folder for all output")  # fmt: skip
