"""Optimisers and schedules: which parameters learn how fast, which decay, and from when on."""

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

# What Smith & Topin's peak is divided by at the first step, and that again at the last; PyTorch's.
_FIRST_DIVISOR, _LAST_DIVISOR = 25.0, 1e4


def _balances(path: str) -> bool:
    """Whether it is of the losses' balance, which is no weight of the network."""
    return path.startswith("balance/")


def lr_multipliers(params: Params, pairs: Sequence[tuple[str, float]]) -> Any:
    """Factor on the learning rate per parameter: the first pattern that matches, else 1.

    The losses' balance keeps 1 unless a pattern names it ("balance/.*"): one that is broad enough to
    match it, such as "(?!heads).*", was meant for the network.
    """
    paths = paths_of(params)
    for pattern, _ in pairs:
        matching("optim.lr_multipliers", pattern, jax.tree.leaves(paths))

    def factor(path: str) -> float:
        means = [pair for pair in pairs if not _balances(path) or _balances(pair[0])]
        return next((float(f) for pattern, f in means if re.fullmatch(pattern, path)), 1.0)

    return jax.tree.map(factor, paths)


def decay_mask(params: Params, exempt: Sequence[str]) -> Any:
    """True for the parameters that decay.

    The losses' balance never does: that would pull every task's weight towards one.
    """
    paths = paths_of(params)
    for pattern in exempt:
        matching("optim.decay_exempt", pattern, jax.tree.leaves(paths))
    return jax.tree.map(
        lambda path: not _balances(path) and not any(re.fullmatch(e, path) for e in exempt), paths
    )


def _staircase(peak: float, every: int, factor: float) -> Callable[[Any], Any]:
    """`peak`, times `factor` after every `every` steps.

    By whole-number division: optax.exponential_decay divides floats, which under jit rounds below
    the whole number for some periods (41, 55) and so drops a step late.
    """

    def rate(count: Any) -> jax.Array:
        drops = (jnp.asarray(count) // every).astype(jnp.float32)
        return peak * jnp.power(factor, drops)

    return rate


def _one_cycle(peak: float, steps: int, rise: float) -> Callable[[Any], Any]:
    """From peak / 25 up to `peak` and down to almost nothing, each by half a cosine.

    Numbers are those of torch.optim.lr_scheduler.OneCycleLR: the peak is at rise * steps - 1, the end
    at the last step. optax.cosine_onecycle_schedule starts, turns and ends elsewhere.
    """
    first = peak / _FIRST_DIVISOR
    last = first / _LAST_DIVISOR
    top, end = rise * steps - 1.0, steps - 1.0

    def rate(count: Any) -> jax.Array:
        at = jnp.minimum(jnp.asarray(count).astype(jnp.float32), end)
        rises = at < top
        share = jnp.where(rises, at / (top or 1.0), (at - top) / ((end - top) or 1.0))
        start, stop = jnp.where(rises, first, peak), jnp.where(rises, peak, last)
        # (1 + cos 2x) / 2 without its cancellation, which is all there would be near the end.
        return stop + (start - stop) * jnp.square(jnp.cos(math.pi / 2 * share))

    return rate


def schedule(optim: Optim, steps: int) -> Callable[[Any], Any]:
    """Learning rate by step.

    `step` multiplies by `decay_factor` every `decay_every` steps (Caffe's policy of that name);
    `cosine` falls to zero at `steps`; `warmup_steps` rise linearly from zero first, and what follows
    counts from their end. `one_cycle` rises by itself, during the share `rise` of the steps.

    References: one_cycle is of Smith & Topin, Super-Convergence, 2019.
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


def _first_steps(params: Params, unfreeze: Sequence[tuple[str, int]], frozen: Sequence[str]) -> Any:
    """Per parameter the step from which it learns: the earliest that a pattern gives it, or 0.

    What is not frozen to begin with learns from 0, whatever else matches it.
    """
    paths = paths_of(params)
    every = jax.tree.leaves(paths)
    at_first = set().union(*(matching("transfer.frozen", pattern, every) for pattern in frozen))
    starts: dict[str, int] = {}
    for pattern, step in unfreeze:
        for path in matching("transfer.unfreeze", pattern, sorted(at_first)):
            starts[path] = min(step, starts.get(path, step))
    return jax.tree.map(lambda path: starts.get(path, 0), paths)


def _stays_frozen(
    params: Params, frozen: Sequence[str], unfreeze: Sequence[tuple[str, int]]
) -> Any:
    """True for parameters that never learn; none where some are to thaw, whose state must be there."""
    if unfreeze:
        return jax.tree.map(lambda _: False, params)
    return jax.tree.map(lambda p: any(re.fullmatch(f, p) for f in frozen), paths_of(params))


def _without(tree: Any, left_out: Any) -> Any:
    """As optax.masked hides leaves from the rule within."""
    return jax.tree.map(lambda leaf, out: optax.MaskedNode() if out else leaf, tree, left_out)


def _adam_from(adam: optax.GradientTransformation, starts: Any) -> optax.GradientTransformation:
    """Adam that counts each parameter's steps from where it starts to learn.

    Without gradients the moments stay zero, wherever the count stands; but the count corrects their
    bias. By a long run's count a late parameter's would not be corrected, and its first step be
    (1 - b1) / sqrt(1 - b2) = 3.2 times too long. The state is that of `adam` itself.
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
    """The optimiser a config's `optim` group describes.

    `sgd` is Caffe's: v <- momentum v - rate * factor * (g + decay w); w <- w + v. The rate is inside
    the momentum, so a drop of the rate does not shrink the steps already under way; optax.sgd and
    PyTorch scale afterwards. While the rate is constant the two are the same.

    While a parameter is frozen, `update` is to be given zeros for its gradient and for itself. It then
    stays where it is, and when it starts to learn it does so as if the optimiser had begun there; the
    learning rate alone is that of the whole run's step.

    Args:
      optim: the config group.
      params: the parameters, or their shapes; for their paths.
      steps: length of the run, for schedules that need it.
      frozen: patterns of the parameters that are frozen to begin with. Those that stay so have no state.
      unfreeze: (pattern, step) pairs: a frozen parameter learns from the earliest step that a pattern
        gives it.

    Raises:
      InputError: a pattern matches no parameter (in `unfreeze`, none that is frozen).
    """
    factors = lr_multipliers(params, optim.lr_multipliers)
    mask = decay_mask(params, optim.decay_exempt)
    stays = _stays_frozen(params, frozen, unfreeze)
    if any(jax.tree.leaves(stays)):
        factors, mask = _without(factors, stays), _without(mask, stays)
    rate = schedule(optim, steps)
    decay = optax.add_decayed_weights(optim.weight_decay, mask)
    starts = _first_steps(params, unfreeze, frozen) if unfreeze else None
    clip = (optax.clip_by_global_norm(optim.clip_norm),) if optim.clip_norm else ()
    if optim.name == "adamw":
        adam = optax.scale_by_adam(b1=optim.momentum)
        rule = optax.chain(
            *clip,
            adam if starts is None else _adam_from(adam, starts),
            decay,
            _scale_each(factors),
            optax.scale_by_learning_rate(rate),
        )
    else:
        rule = optax.chain(
            *clip,
            decay,
            _scale_each(factors),
            optax.scale_by_learning_rate(rate),
            optax.trace(decay=optim.momentum),
        )
    if not any(jax.tree.leaves(stays)):
        return rule
    return optax.masked(rule, jax.tree.map(lambda still: not still, stays))


def moved_average(average: Params, params: Params, step: Int[Array, ""], decay: float) -> Params:
    """The exponential moving average of the weights after one more step.

    average <- d average + (1 - d) params, where d = min(decay, (1 + step) / (10 + step)), so that a
    young average is not held back by the weights that were drawn.

    Args:
      average: so far; float32, and so is what returns.
      params: the weights after the step.
      step: how many steps came before it.
      decay: what d grows to.

    References: the warm-up is that of TensorFlow's ExponentialMovingAverage(num_updates=step).
    """
    past = step.astype(jnp.float32)
    keep = jnp.minimum(jnp.float32(decay), (1.0 + past) / (10.0 + past))
    # As a step from the average: equal weights stay equal, which d a + (1 - d) a does not promise.
    return jax.tree.map(
        lambda old, new: old + (1.0 - keep) * (new.astype(jnp.float32) - old), average, params
    )
