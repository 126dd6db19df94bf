"""Frozen parameters, and the batch statistics that belong to them."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ageflax.arrays import Params
from ageflax.errors import InputError
from ageflax.training.patterns import matching, path_of, paths_of


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Frozen parameters during one phase of training; static under jit.

    Attributes:
      paths: paths of the frozen parameters.
      whole_trunk: True if the whole trunk is frozen; it then runs without dropout, as at test.
    """

    paths: frozenset[str] = frozenset()
    whole_trunk: bool = False

    def _each(self, function: Any, params: Params) -> Params:
        if not self.paths:
            return params
        return jax.tree_util.tree_map_with_path(
            lambda keys, leaf: function(leaf) if path_of(keys) in self.paths else leaf, params
        )

    def stop(self, params: Params) -> Params:
        """Parameters with the frozen ones excluded from differentiation."""
        return self._each(jax.lax.stop_gradient, params)

    def zeroed(self, params: Params) -> Params:
        """Parameters with zeros in place of the frozen ones."""
        return self._each(jnp.zeros_like, params)


@contextlib.contextmanager
def statistics_kept(frozen: Frozen) -> Iterator[None]:
    """Makes batch norms with a frozen scale use their running statistics and not update them.

    Otherwise a frozen network would still change through its statistics.
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
    """Gives (first step, frozen parameters) pairs, steps counted from 0.

    Args:
      params: parameters or their shapes; only paths are read.
      frozen: patterns of paths to freeze.
      unfreeze: (pattern, step) pairs; matching parameters learn after that many steps.

    Raises:
      InputError: a pattern matches no parameter, or every parameter is frozen.
    """
    paths = jax.tree.leaves(paths_of(params))
    at_first = matching("transfer.frozen", frozen, paths)
    if at_first.issuperset(paths):
        raise InputError("transfer.frozen: every parameter is frozen; leave some to learn")
    starts = {0: at_first}
    thawed: set[str] = set()
    for pattern, step in sorted(unfreeze, key=lambda pair: pair[1]):
        thawed |= matching("transfer.unfreeze", [pattern], sorted(at_first))
        starts[step] = at_first - thawed
    trunk = {path for path in paths if path.startswith("trunk/")}
    return [
        (step, Frozen(frozenset(kept), whole_trunk=bool(trunk) and trunk <= kept))
        for step, kept in starts.items()
    ]
