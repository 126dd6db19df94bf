"""Patterns over parameter paths such as "trunk/conv1/kernel"."""

import re
from collections.abc import Collection
from typing import Any

import jax

from ageflax.arrays import Params
from ageflax.errors import InputError

_SHOWN = 8


def path_of(keys: Any) -> str:
    """The path of a leaf, from its keys as tree_map_with_path gives them."""
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def paths_of(params: Params) -> Any:
    """The tree with each leaf replaced by its path."""
    return jax.tree_util.tree_map_with_path(lambda keys, _: path_of(keys), params)


def matching(key: str, pattern: str, paths: Collection[str]) -> set[str]:
    """Paths that a pattern matches as a whole.

    Raises:
      InputError: it matches none, so that a misspelling would silently change the recipe, or it is no
        regular expression.
    """
    try:
        found = {path for path in paths if re.fullmatch(pattern, path)}
    except re.error as error:
        raise InputError(f"{key}: {pattern!r} is no regular expression: {error}") from None
    if not found:
        some = ", ".join(list(paths)[:_SHOWN]) + ", ..." * (len(paths) > _SHOWN)
        raise InputError(f"{key}: {pattern!r} matches no parameter; they are {some}")
    return found
