"""The text of `--help` about the config's keys."""

import dataclasses
import textwrap
from typing import Any

from ageflax.config.key import Key
from ageflax.config.schema import KEYS, MODEL_CHOICES, MODEL_OPTIONS, Config

_WIDTH = 100


def _text(value: Any) -> str:
    """A value as one types it on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _described(key: Key) -> str:
    default = "" if key.default is None else f"={_text(key.default)}"
    bounds = "" if key.low is None else f", {key.low} to {key.high}"
    return f"{key.name}{default}  [{key.expected}{bounds}]  {key.help}"


def _trunk(name: str) -> str:
    """Options of a trunk with their defaults and choices."""
    choices = MODEL_CHOICES.get(name, {})
    options = (
        f"{option}={_text(default)}"
        + (f" [{' | '.join(choices[option])}]" if option in choices else "")
        for option, default in MODEL_OPTIONS[name].items()
    )
    return f"{name}: {', '.join(options)}"


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def help_text() -> str:
    """All keys by group: name, default, type or choices, bounds and meaning; for `--help`."""
    lines = ["config keys, each as --config.KEY=VALUE:"]
    lines += [_wrapped(_described(key)) for name, key in KEYS.items() if "." not in name]
    for field in dataclasses.fields(Config):
        keys = [key for name, key in KEYS.items() if name.startswith(f"{field.name}.")]
        if keys:
            lines += ["", f"{field.name}: {type(field.default).__doc__}"]
            lines += [_wrapped(_described(key)) for key in keys]
        if field.name == "model":
            lines += ["  options of each trunk and their defaults:"]
            lines += [_wrapped(_trunk(name)) for name in MODEL_OPTIONS]
    return "\n".join(lines)
