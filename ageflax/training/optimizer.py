"""Optimisers and learning rate schedules, with multipliers, weight decay and frozen parameters."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from ageflax.arrays import Params
from ageflax.config import Optim
from ageflax.training.patterns import matching, paths_of

# One cycle, as in PyTorch: the rate starts at peak / 25 and ends at 1e-4 of that.
_FIRST_DIVISOR, _LAST_DIVISOR = 25.0, 1e4


def _balances(path: str) -> bool:
    """True for the losses' balance, which is no weight of the network."""
    return path.startswith("balance/")


def lr_multipliers(params: Params, pairs: Sequence[tuple[str, float]]) -> Any:
    """Factor on each parameter's learning rate: that of the first matching pattern, else 1.

    The losses' balance keeps 1 unless a pattern starts with "balance/": a broad pattern such as
    "(?!heads).*" is meant for the network.
    """
    paths = paths_of(params)
    matching("optim.lr_multipliers", [pattern for pattern, _ in pairs], jax.tree.leaves(paths))

    def factor(path: str) -> float:
        meant = (pair for pair in pairs if not _balances(path) or _balances(pair[0]))
        return next((float(f) for pattern, f in meant if re.fullmatch(pattern, path)), 1.0)

    return jax.tree.map(factor, paths)


def decay_mask(params: Params, exempt: Sequence[str]) -> Any:
    """True for the parameters that decay.

    The losses' balance never decays: that would pull every task's weight towards one.
    """
    paths = paths_of(params)
    spared = matching("optim.decay_exempt", exempt, jax.tree.leaves(paths))
    return jax.tree.map(lambda path: not _balances(path) and path not in spared, paths)


def _staircase(peak: float, every: int, factor: float) -> Callable[[Any], Any]:
    """`peak`, multiplied by `factor` every `every` steps.

    Uses integer division: optax.exponential_decay divides floats, which under jit rounds down for some
    periods (41, 55) and drops a step late.
    """

    def rate(count: Any) -> jax.Array:
        drops = (jnp.asarray(count) // every).astype(jnp.float32)
        return peak * jnp.power(factor, drops)

    return rate


def _one_cycle(peak: float, steps: int, rise: float) -> Callable[[Any], Any]:
    """From peak / 25 up to `peak` and down to almost zero, each along half a cosine.

    Equal to torch.optim.lr_scheduler.OneCycleLR: the peak is at rise * steps - 1, the end at the last
    step. optax.cosine_onecycle_schedule starts, turns and ends elsewhere.
    """
    first = peak / _FIRST_DIVISOR
    last = first / _LAST_DIVISOR
    top, end = rise * steps - 1.0, steps - 1.0

    def rate(count: Any) -> jax.Array:
        at = jnp.minimum(jnp.asarray(count).astype(jnp.float32), end)
        rises = at < top
        share = jnp.where(rises, at / (top or 1.0), (at - top) / ((end - top) or 1.0))
        start, stop = jnp.where(rises, first, peak), jnp.where(rises, peak, last)
        # (1 + cos 2x) / 2 without its cancellation, which would dominate near the end.
        return stop + (start - stop) * jnp.square(jnp.cos(math.pi / 2 * share))

    return rate


def schedule(optim: Optim, steps: int) -> Callable[[Any], Any]:
    """Learning rate by step.

    `step` multiplies by `decay_factor` every `decay_every` steps (Caffe's policy of that name);
    `cosine` falls to zero at `steps`; both start after a linear rise from zero over `warmup_steps`.
    `one_cycle` has its own rise, over the share `rise` of the steps.

    References: one_cycle: Smith & Topin, Super-Convergence, 2019.
    """
    peak = optim.learning_rate
    if optim.schedule == "one_cycle":
        return _one_cycle(peak, steps, optim.rise)
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


def _first_steps(paths: Any, unfreeze: Sequence[tuple[str, int]], frozen: set[str]) -> Any:
    """Step from which each parameter learns: the earliest of its patterns; 0 if never frozen."""
    starts: dict[str, int] = {}
    for pattern, step in unfreeze:
        for path in matching("transfer.unfreeze", [pattern], sorted(frozen)):
            starts[path] = min(step, starts.get(path, step))
    return jax.tree.map(lambda path: starts.get(path, 0), paths)


def _without(tree: Any, kept: Any) -> Any:
    """Hides the leaves that are not kept, as optax.masked hides them from the rule within."""
    return jax.tree.map(lambda leaf, keep: leaf if keep else optax.MaskedNode(), tree, kept)


def _adam_from(adam: optax.GradientTransformation, starts: Any) -> optax.GradientTransformation:
    """Adam that counts each parameter's steps from where it starts to learn.

    Adam corrects the bias of its moments by the count. By the run's count, the moments of a late
    parameter would not be corrected, and its first step would be (1 - b1) / sqrt(1 - b2) = 3.2 times
    too long. The state is that of `adam` itself.
    """

    def update(updates: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        chosen, after = adam.update(updates, state, params)
        for start in sorted(set(jax.tree.leaves(starts)) - {0}):
            shifted = state._replace(count=jnp.maximum(state.count - start, 0))
            late, _ = adam.update(updates, shifted, params)
            chosen = jax.tree.map(
                lambda now, new, at, start=start: new if at == start else now, chosen, late, starts
            )
        return chosen, after

    return optax.GradientTransformation(adam.init, update)


def build(
    optim: Optim,
    params: Params,
    *,
    steps: int,
    frozen: Sequence[str] = (),
    unfreeze: Sequence[tuple[str, int]] = (),
) -> optax.GradientTransformation:
    """Builds the optimiser that a config's `optim` group describes.

    `sgd` is Caffe's: v <- momentum v - rate * factor * (g + decay w); w <- w + v. The momentum includes
    the rate, so a drop of the rate does not shrink steps already under way; optax.sgd and PyTorch scale
    afterwards. At a constant rate the two are equal.

    While a parameter is frozen, pass zeros to `update` as its gradient and its value. It then stays as
    it is, and later learns as if the optimiser had started there, but at the run's learning rate.

    Args:
      optim: the config group.
      params: parameters or their shapes; only paths are read.
      steps: number of steps of the run, for schedules that need it.
      frozen: patterns of the parameters frozen at the start; those never unfrozen have no state.
      unfreeze: (pattern, step) pairs; a frozen parameter learns from the earliest step of its patterns.

    Raises:
      InputError: a pattern matches no parameter (in `unfreeze`, no frozen one).
    """
    factors = lr_multipliers(params, optim.lr_multipliers)
    mask = decay_mask(params, optim.decay_exempt)
    paths = paths_of(params)
    at_first = matching("transfer.frozen", frozen, jax.tree.leaves(paths))
    # None if some are unfrozen later, as those need optimiser state.
    stays = at_first if not unfreeze else set()
    learns = jax.tree.map(lambda path: path not in stays, paths)
    if stays:
        factors, mask = _without(factors, learns), _without(mask, learns)
    starts = _first_steps(paths, unfreeze, at_first) if unfreeze else None
    clip = (optax.clip_by_global_norm(optim.clip_norm),) if optim.clip_norm else ()
    rated = (
        optax.add_decayed_weights(optim.weight_decay, mask),
        _scale_each(factors),
        optax.scale_by_learning_rate(schedule(optim, steps)),
    )
    if optim.name == "adamw":
        adam = optax.scale_by_adam(b1=optim.momentum)
        rule = optax.chain(*clip, adam if starts is None else _adam_from(adam, starts), *rated)
    else:
        rule = optax.chain(*clip, *rated, optax.trace(decay=optim.momentum))
    return optax.masked(rule, learns) if stays else rule


def moved_average(average: Params, params: Params, step: Int[Array, ""], decay: float) -> Params:
    """Exponential moving average of the weights after one more step, float32.

    average <- d average + (1 - d) params, where d = min(decay, (1 + step) / (10 + step)): the warm-up
    keeps the initial weights from dominating.

    Args:
      average: average before the step, float32.
      params: weights after the step.
      step: number of steps before this one.
      decay: limit of d.

    References: the warm-up is that of TensorFlow's ExponentialMovingAverage(num_updates=step).
    """
    past = step.astype(jnp.float32)
    keep = jnp.minimum(jnp.float32(decay), (1.0 + past) / (10.0 + past))
    # A step from the average keeps equal weights equal, unlike d a + (1 - d) a.
    return jax.tree.map(
        lambda old, new: old + (1.0 - keep) * (new.astype(jnp.float32) - old), average, params
    )
