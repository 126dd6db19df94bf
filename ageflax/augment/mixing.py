"""Mixup and CutMix: views that combine two faces, and the weights of their labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def _patches(
    key: jax.Array, shares: Float[Array, " b"], size: int
) -> tuple[Bool[Array, "b {size} {size} 1"], Float[Array, " b"]]:
    """Masks of the pasted patches, and the exact share of each view that stays its own.

    A patch has the view's proportions and 1 - shares of its area, before the view's edge cuts it; its
    centre is anywhere. Yun et al. also weigh labels by the area after the cut.
    """
    side = jnp.round(size * jnp.sqrt(1.0 - shares)).astype(jnp.int32)[:, None]
    centre = jax.random.randint(key, (len(shares), 2), 0, size, jnp.int32)
    first = jnp.maximum(centre - side // 2, 0)
    sides = jnp.minimum(centre - side // 2 + side, size) - first
    places = jnp.arange(size, dtype=jnp.int32)[None, :, None]
    within = (places >= first[:, None]) & (places < (first + sides)[:, None])
    patch = within[:, :, None, 0] & within[:, None, :, 1]
    return patch[..., None], 1.0 - sides.prod(1).astype(jnp.float32) / size**2


def mix(
    key: jax.Array, views: Float[Array, "b s s c"], *, mixup_alpha: float, cutmix_alpha: float
) -> tuple[Float[Array, "b s s c"], Int[Array, " b"], Float[Array, " b"]]:
    """Mixes another face of the batch into each view: blended (mixup) or pasted (CutMix).

    If both alphas are above 0, each batch uses one of the two, with probability one half. Each view
    draws its own share from Beta(alpha, alpha), where the papers draw one per batch; this gives
    steadier gradients.

    The partner is the next face. Batches are in random order already, so this is as random as any
    choice; and across devices only one row moves between neighbours, where a shuffle would gather the
    whole batch on each.

    Args:
      key: random key of the choice, the shares and the patches.
      views: views from training_views.
      mixup_alpha: alpha of mixup's Beta; 0 is off.
      cutmix_alpha: alpha of CutMix's Beta; 0 is off.

    Returns:
      The views; the row of each view's partner; and the weight of the view's own labels, the partner's
      labels taking the rest.

    References: Zhang et al., mixup, ICLR 2018; Yun et al., CutMix, ICCV 2019.
    """
    count, size = views.shape[:2]
    partner = jnp.roll(jnp.arange(count, dtype=jnp.int32), -1)
    which_key, mixup_key, cutmix_key, patch_key = jax.random.split(key, 4)
    share = jnp.ones((count,), jnp.float32)
    weight = share[:, None, None, None]
    if mixup_alpha:
        share = jax.random.beta(mixup_key, mixup_alpha, mixup_alpha, (count,), jnp.float32)
        weight = share[:, None, None, None]
    if cutmix_alpha:
        drawn = jax.random.beta(cutmix_key, cutmix_alpha, cutmix_alpha, (count,), jnp.float32)
        patch, left = _patches(patch_key, drawn, size)
        own = jnp.where(patch, 0.0, 1.0)
        pasted = jax.random.bernoulli(which_key) if mixup_alpha else True
        share, weight = jnp.where(pasted, left, share), jnp.where(pasted, own, weight)
    others = jnp.roll(views, -1, axis=0)
    return weight * views + (1.0 - weight) * others, partner, share
