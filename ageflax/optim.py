"""Optimisers and schedules: which parameters learn how fast, and which decay."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ageflax.config import Config
from ageflax.errors import InputError
from ageflax.structs import Params


def _paths(params: Params) -> Any:
    """The tree with each leaf replaced by its path, such as "trunk/conv1/bias"."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path, simple=True, separator="/"), params
    )


def _check_used(patterns: Sequence[str], paths: Sequence[str], key: str) -> None:
    """A pattern that matches nothing is a misspelling, and would silently change the recipe."""
    for pattern in patterns:
        try:
            used = any(re.fullmatch(pattern, path) for path in paths)
        except re.error as error:
            raise InputError(f"{key}: {pattern!r} is no regular expression: {error}") from None
        if not used:
            raise InputError(
                f"{key}: {pattern!r} matches no parameter; they are {', '.join(paths)}"
            )


def lr_multipliers(params: Params, pairs: Sequence[tuple[str, float]]) -> Any:
    """Factor on the learning rate per parameter: the first pattern that matches, else 1."""
    paths = _paths(params)
    _check_used([pattern for pattern, _ in pairs], jax.tree.leaves(paths), "optim.lr_multipliers")

    def factor(path: str) -> float:
        return next((float(f) for pattern, f in pairs if re.fullmatch(pattern, path)), 1.0)

    return jax.tree.map(factor, paths)


def decay_mask(params: Params, exempt: Sequence[str]) -> Any:
    """True for the parameters that decay."""
    paths = _paths(params)
    _check_used(exempt, jax.tree.leaves(paths), "optim.decay_exempt")
    return jax.tree.map(lambda path: not any(re.fullmatch(e, path) for e in exempt), paths)


def _staircase(peak: float, every: int, factor: float) -> Callable[[Any], Any]:
    """`peak`, times `factor` after every `every` steps.

    By whole-number division: optax.exponential_decay divides floats, which under jit rounds below
    the whole number for some periods (41, 55) and so drops a step late.
    """

    def rate(count: Any) -> jax.Array:
        drops = (jnp.asarray(count) // every).astype(jnp.float32)
        return peak * jnp.power(factor, drops)

    return rate


def schedule(optim: Config, steps: int) -> Callable[[Any], Any]:
    """Learning rate by step.

    `step` multiplies by `decay_factor` every `decay_every` steps (Caffe's policy of that name);
    `cosine` falls to zero at `steps`; `warmup_steps` rise linearly from zero first, and what follows
    counts from their end.
    """
    peak = optim.learning_rate
    if optim.schedule == "step":
        main = _staircase(peak, optim.decay_every, optim.decay_factor)
    elif optim.schedule == "cosine":
        main = optax.cosine_decay_schedule(peak, max(steps - optim.warmup_steps, 1))
    else:
        main = optax.constant_schedule(peak)
    if not optim.warmup_steps:
        return main
    warmup = optax.linear_schedule(0.0, peak, optim.warmup_steps)
    return optax.join_schedules([warmup, main], [optim.warmup_steps])


def _scale_each(factors: Any) -> optax.GradientTransformation:
    return optax.stateless(
        lambda updates, _: jax.tree.map(lambda update, factor: update * factor, updates, factors)
    )


def build(optim: Config, params: Params, *, steps: int) -> optax.GradientTransformation:
    """The optimiser a config's `optim` group describes.

    `sgd` is Caffe's: v <- momentum v - rate * factor * (g + decay w); w <- w + v. The rate is inside
    the momentum, so a drop of the rate does not shrink the steps already under way; optax.sgd and
    PyTorch scale afterwards. While the rate is constant the two are the same.

    Args:
      optim: the config group.
      params: the parameters, or their shapes; for their paths.
      steps: length of the run, for schedules that need it.
    """
    factors = lr_multipliers(params, optim.lr_multipliers)
    mask = decay_mask(params, optim.decay_exempt)
    rate = schedule(optim, steps)
    decay = optax.add_decayed_weights(optim.weight_decay, mask)
    if optim.name == "adamw":
        return optax.chain(
            optax.scale_by_adam(b1=optim.momentum),
            decay,
            _scale_each(factors),
            optax.scale_by_learning_rate(rate),
        )
    return optax.chain(
        decay,
        _scale_each(factors),
        optax.scale_by_learning_rate(rate),
        optax.trace(decay=optim.momentum),
    )
