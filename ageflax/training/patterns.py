"""Patterns over parameter paths such as "trunk/conv1/kernel"."""

import re
from collections.abc import Collection, Iterable
from typing import Any

import jax

from ageflax.arrays import Params
from ageflax.errors import InputError

_SHOWN = 8


def path_of(keys: Any) -> str:
    """Path of a leaf, from its keys in tree_map_with_path."""
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def paths_of(params: Params) -> Any:
    """Replaces each leaf of the tree by its path."""
    return jax.tree_util.tree_map_with_path(lambda keys, _: path_of(keys), params)


def matching(key: str, patterns: Iterable[str], paths: Collection[str]) -> set[str]:
    """Paths that any of the patterns matches in full.

    Args:
      key: config key of the patterns, for messages.
      patterns: regular expressions.
      paths: paths to match.

    Raises:
      InputError: a pattern is not a regular expression or matches nothing, such as a misspelling.
    """
    matched = set()
    for pattern in patterns:
        try:
            found = {path for path in paths if re.fullmatch(pattern, path)}
        except re.error as error:
            raise InputError(f"{key}: {pattern!r} is not a regular expression: {error}") from None
        if not found:
            some = ", ".join(list(paths)[:_SHOWN]) + ", ..." * (len(paths) > _SHOWN)
            raise InputError(f"{key}: {pattern!r} matches no parameter; they are {some}")
        matched |= found
    return matched
