"""The check of the package's annotations, for `--jaxtyping-packages`."""

import functools
from collections.abc import Callable
from typing import Any

from beartype import beartype

_inner: set[tuple[str, str, tuple[str, ...]]] = set()


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype's check of a function, compiled as it is first called.

    Compiling all of them takes seconds a process, which calls few. A function within another is defined
    anew by each call of the outer one, and checked only as it is first defined.
    """
    if "<locals>" in function.__qualname__:
        # jaxtyping hands over functions that it made itself, with the same arguments.
        name = (function.__module__, function.__qualname__, function.__code__.co_varnames)
        if name in _inner:
            return function
        _inner.add(name)
    compiled = functools.cache(lambda: beartype(function))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return compiled()(*args, **kwargs)

    return call
