"""What the benchmarks' command lines have in common."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ageflax.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"


def parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Options; what sets keys of the config, --config.KEY=VALUE, is their `more`."""
    options, options_more = parser.parse_known_args(words)
    if strange := [word for word in options_more if not word.startswith("--config.")]:
        parser.error(f"unrecognized arguments: {' '.join(strange)}")
    options.more = options_more
    return options


def check_config(name: str, *, flag: str = "--config") -> None:
    """Raises InputError where there is no such file under configs/."""
    if not (CONFIGS / f"{name}.py").is_file():
        raise InputError(f"{flag}={name}: no configs/{name}.py")
