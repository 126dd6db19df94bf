"""Command-line options shared by the benchmarks."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ageflax.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"


def parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parses the options; --config.KEY=VALUE words are collected in `more`."""
    options, options_more = parser.parse_known_args(words)
    if strange := [word for word in options_more if not word.startswith("--config.")]:
        parser.error(f"unrecognized arguments: {' '.join(strange)}")
    options.more = options_more
    return options


def check_config(name: str, *, flag: str = "--config") -> None:
    """Raises InputError if configs/ has no such file."""
    if not (CONFIGS / f"{name}.py").is_file():
        raise InputError(f"{flag}={name}: no configs/{name}.py")
