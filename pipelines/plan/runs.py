"""From the words of a command to runs: which configs, with which keys, on which folds, after which."""

import argparse
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from ageflax import config as configuration
from ageflax.config import Config
from ageflax.errors import InputError
from pipelines.plan.fingerprint import ROOT

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_WEIGHTS = "--config.transfer.weights="
_START = re.compile(r"run:(?P<name>[^/]+)(/(?P<fold>[0-4]))?")


@dataclasses.dataclass(frozen=True)
class Start:
    """The run whose folds another one starts from.

    Attributes:
      name: of the run.
      fold: the fold whose weights all folds start from; None: each from that of its own number.
    """

    name: str
    fold: int | None


@dataclasses.dataclass(frozen=True)
class Run:
    """One config, under a name, with its keys.

    Attributes:
      name: in tables, and of its folder.
      file: the config file, as `ageflax.main --config` takes it.
      overrides: "--config.KEY=VALUE" words; none of fold, folds, data.dir or a `run:` start.
      config: resolved.
      start: another run it starts from.
    """

    name: str
    file: str
    overrides: tuple[str, ...]
    config: Config
    start: Start | None = None

    @property
    def folds(self) -> tuple[int, ...]:
        """The test folds it runs."""
        return (4,) if self.config.eval.protocol == "hold_out" else tuple(self.config.folds)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
      runs: in the order in which they were named, those that others start from before them.
      refused: name to message of configs that cannot be used; the others are run nevertheless.
    """

    runs: tuple[Run, ...]
    refused: dict[str, str]


def _files(configs: str) -> dict[str, str]:
    """Name to config file, of a comma-separated list of NAME, FILE.py, LABEL=NAME or LABEL=FILE.py."""
    found: dict[str, str] = {}
    for item in (word.strip() for word in configs.split(",")):
        label, separator, given = item.rpartition("=")
        if not given:
            raise InputError(f"--configs={configs}: expected names such as levi,resnet34")
        file = given if given.endswith(".py") else f"configs/{given}.py"
        if not Path(file).is_file() and (ROOT / file).is_file():
            file = str(ROOT / file)
        name = label if separator else Path(given).stem
        if not _NAME.fullmatch(name):
            raise InputError(f"--configs: {name!r} is no name: letters, digits, '.', '_' and '-'")
        if name in found:
            raise InputError(
                f"--configs: {name!r} is named twice; give each a name of its own, such as"
                f" first={given},second={given}"
            )
        found[name] = file
    return found


def _own_words(words: Sequence[str], names: Sequence[str]) -> dict[str, list[str]]:
    """The words of --set=NAME:KEY=VALUE, by name."""
    own: dict[str, list[str]] = {name: [] for name in names}
    for word in words:
        name, colon, assignment = word.partition(":")
        if not colon or "=" not in assignment:
            raise InputError(f"--set={word}: expected NAME:KEY=VALUE")
        if name not in own:
            raise InputError(
                f"--set={word}: no config is named {name!r}; named: {', '.join(names)}"
            )
        own[name].append(f"--config.{assignment.removeprefix('config.')}")
    return own


def _start(words: Sequence[str]) -> Start | None:
    """Of the last `transfer.weights=run:NAME[/K]` among a run's words."""
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
    """Those that others start from first; what starts from something refused is refused."""
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
            refused[name] = f"it starts from run {run.start.name!r}, which cannot be run before it"
        break
    return placed


def make(configs: str, common: Sequence[str], own: Sequence[str]) -> Plan:
    """Resolves every config.

    Args:
      configs: comma-separated configs, as of --configs.
      common: "--config.KEY=VALUE" words for all of them.
      own: "NAME:KEY=VALUE" words for one of them; they are given after the common ones, and hold.

    Raises:
      InputError: a word that means nothing, or no config that can be used.
    """
    for word in common:
        if not word.startswith("--config.") or "=" not in word:
            raise InputError(
                f"{word!r} is no argument of this command; keys are --config.KEY=VALUE for all"
                " configs, --set=NAME:KEY=VALUE for one"
            )
    files = _files(configs)
    words_of = _own_words(own, list(files))
    runs: dict[str, Run] = {}
    refused: dict[str, str] = {}
    for name, file in files.items():
        words = [*common, *words_of[name]]
        start = _start(words)
        if start is not None and start.name not in files:
            known = ", ".join(files)
            raise InputError(f"--set={name}:transfer.weights=run:{start.name}: named are {known}")
        try:
            config = configuration.load(file, words)
        except InputError as error:
            refused[name] = str(error)
            continue
        fixed = ("--config.fold=", "--config.folds=", "--config.data.dir=")
        fixed += () if start is None else (_WEIGHTS,)
        kept = tuple(word for word in words if not word.startswith(fixed))
        runs[name] = Run(name, file, kept, config, start)
    placed = _ordered(runs, refused)
    if not placed:
        raise InputError(next(iter(refused.values())))
    return Plan(tuple(placed), refused)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--configs, --set and --workdir, as every workflow has them."""
    parser.add_argument(
        "--configs",
        metavar="NAME,...",
        required=True,
        help="levi, a FILE.py, or LABEL=levi; several with commas",
    )
    parser.add_argument(
        "--set",
        dest="own",
        metavar="NAME:KEY=VALUE",
        action="append",
        default=[],
        help="a config key for one of them; transfer.weights=run:NAME[/K] starts from fold K of"
        " another, or from its fold of the same number",
    )
    parser.add_argument(
        "--workdir", metavar="DIR", type=Path, required=True, help="where everything goes"
    )
