"""Parameters that training leaves as they are, and the batch statistics that belong to them."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ageflax.arrays import Params
from ageflax.errors import InputError


def _path(keys: Any) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/")


@dataclasses.dataclass(frozen=True)
class Frozen:
    """What is frozen during a stretch of training; static.

    Attributes:
      paths: of the parameters, such as "trunk/conv1/kernel".
      whole_trunk: every parameter of the trunk is among them, so that it runs as at test, its dropout
        off.
    """

    paths: frozenset[str] = frozenset()
    whole_trunk: bool = False

    def _each(self, function: Any, params: Params) -> Params:
        if not self.paths:
            return params
        return jax.tree_util.tree_map_with_path(
            lambda keys, leaf: function(leaf) if _path(keys) in self.paths else leaf, params
        )

    def stop(self, params: Params) -> Params:
        """The parameters, those frozen cut off from differentiation."""
        return self._each(jax.lax.stop_gradient, params)

    def zeroed(self, params: Params) -> Params:
        """The parameters, zeros in place of those frozen."""
        return self._each(jnp.zeros_like, params)


@contextlib.contextmanager
def statistics_kept(frozen: Frozen) -> Iterator[None]:
    """Within, batch norms whose scale is frozen use their running statistics and leave them alone.

    Without it a frozen network would still change: by what it normalises with, and by what it records.
    """
    if not frozen.paths:
        yield
        return

    def intercept(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        called = isinstance(module, nn.BatchNorm) and context.method_name == "__call__"
        if called and "/".join((*module.path, "scale")) in frozen.paths:
            kwargs = {**kwargs, "use_running_average": True}
        return call(*args, **kwargs)

    with nn.intercept_methods(intercept):
        yield


def phases(
    params: Params, frozen: Sequence[str], unfreeze: Sequence[tuple[str, int]]
) -> list[tuple[int, Frozen]]:
    """What is frozen from which step on: (first step, counted from 0; what is frozen) pairs.

    Args:
      params: the parameters, or their shapes; for their paths.
      frozen: patterns over paths.
      unfreeze: (pattern, step) pairs: what matches learns from the step after so many on.

    Raises:
      InputError: a pattern matches no parameter, or nothing is left to learn.
    """
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    paths = [_path(keys) for keys, _ in leaves]

    def matching(pattern: str, key: str, among: Sequence[str]) -> set[str]:
        try:
            found = {path for path in among if re.fullmatch(pattern, path)}
        except re.error as error:
            raise InputError(f"{key}: {pattern!r} is no regular expression: {error}") from None
        if not found:
            raise InputError(
                f"{key}: {pattern!r} matches none of the parameters {', '.join(among[:6])}, ..."
            )
        return found

    at_first: set[str] = set()
    for pattern in frozen:
        at_first |= matching(pattern, "transfer.frozen", paths)
    if at_first.issuperset(paths):
        raise InputError("transfer.frozen: every parameter is frozen; there is nothing to learn")
    starts = {0: at_first}
    thawed: set[str] = set()
    for pattern, step in sorted(unfreeze, key=lambda pair: pair[1]):
        thawed |= matching(pattern, "transfer.unfreeze", sorted(at_first))
        starts[step] = at_first - thawed
    trunk = {path for path in paths if path.startswith("trunk/")}
    return [
        (step, Frozen(frozenset(kept), whole_trunk=bool(trunk) and trunk <= kept))
        for step, kept in starts.items()
    ]
