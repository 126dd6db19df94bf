"""Batch normalisation with PyTorch's running statistics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float


def _moments(x: Float[Array, "b ... c"], near: Float[Array, " c"]) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance of each channel, from one pass over x.

    They are computed on x less `near`, so that a mean much larger than the std does not cost the
    variance its digits. A pixel of x would always be near the mean, but devices would first have to
    agree on it: one more exchange per layer, and no sum could start while x is being computed.
    """
    axes = tuple(range(x.ndim - 1))
    off = x.astype(np.promote_types(x.dtype, np.float32)) - near
    mean = off.mean(axes)
    variance = jnp.maximum(jnp.square(off).mean(axes) - jnp.square(mean), 0.0)
    return mean + near, variance


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _normalized(
    x: Float[Array, "b ... c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    near: Float[Array, " c"],
    epsilon: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The batch normalised by its own moments, and the moments, which are not differentiated.

    XLA differentiates the definition in four passes over the features; this takes two. `near` changes
    the result only by rounding.
    """
    mean, variance = _moments(x, near)
    factor = jax.lax.rsqrt(variance + epsilon) * scale
    # The mean is subtracted first: x and the mean may be large while their difference is small.
    return ((x.astype(mean.dtype) - mean) * factor + bias).astype(x.dtype), mean, variance


def _normalized_forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, near: jax.Array, epsilon: float
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[jax.Array, ...]]:
    y, mean, variance = _normalized(x, scale, bias, near, epsilon)  # pyright: ignore[reportGeneralTypeIssues]
    return (y, mean, variance), (x, scale, mean, variance)


def _normalized_backward(
    epsilon: float, kept: tuple[jax.Array, ...], cotangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    x, scale, mean, variance = kept
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    inverse = jax.lax.rsqrt(variance + epsilon)
    g = cotangents[0].astype(mean.dtype)
    normal = (x.astype(mean.dtype) - mean) * inverse
    to_bias, to_scale = g.sum(axes), (g * normal).sum(axes)
    to_x = scale * inverse * (g - to_bias / count - normal * (to_scale / count))
    return to_x.astype(x.dtype), to_scale, to_bias, jnp.zeros_like(mean)


_normalized.defvjp(_normalized_forward, _normalized_backward)


def _normalized_product(
    x: Float[Array, "b ... c"],
    kernel: Float[Array, "c f"],
    scale: Float[Array, " f"],
    bias: Float[Array, " f"],
    epsilon: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The product with a kernel, normalised by its own moments, and the moments.

    The moments of the product follow from the mean and the covariance of x, so the kernel takes up the
    norm and the product is read no further: neither for its moments nor for their derivatives. That pays
    if x has fewer features than the product.
    """
    flat = x.reshape(-1, x.shape[-1])
    mean = flat.mean(0)
    flat = flat - mean
    covariance = flat.T @ flat / len(flat)
    variance = ((covariance @ kernel) * kernel).sum(0)
    y = flat @ (kernel * (jax.lax.rsqrt(variance + epsilon) * scale)) + bias
    return y.reshape(*x.shape[:-1], -1), mean @ kernel, jnp.maximum(variance, 0.0)


class BatchNorm(nn.BatchNorm):
    """flax's batch norm, always in float32, with PyTorch's running variance.

    A batch is normalised with its biased variance, but the unbiased variance, n / (n - 1) times as
    large, is kept for test, as in torch.nn.BatchNorm2d. flax keeps the biased one, which makes a
    different network at test for deep layers with few pixels and small batches. Means over a batch lose
    too much in bfloat16; the result has the input's dtype.

    Under jit over a sharded batch the moments are those of the whole batch; no axis name is needed. Of
    flax's attributes, only momentum, epsilon and use_running_average have an effect.

    References: Ioffe & Szegedy, Batch Normalization, ICML 2015, whose algorithm 2 has the unbiased
      variance; torch.nn.BatchNorm2d.
    """

    momentum: float = 0.9  # share that is kept; PyTorch's momentum is the rest, 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  # without mask
        self,
        x: Float[Array, "b ... c"],
        use_running_average: bool | None = None,
        *,
        kernel: Float[Array, "c f"] | None = None,
    ) -> Float[Array, "b ... _"]:
        """Normalises over all axes but the last.

        Args:
          x: features.
          use_running_average: True normalises by the running statistics.
          kernel: kernel of a linear layer, whose product with x is normalised in place of x; see
            `_normalized_product`.
        """
        average = nn.merge_param(
            "use_running_average", self.use_running_average, use_running_average
        )
        features = (x.shape[-1] if kernel is None else kernel.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, features, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, features, jnp.float32)
        kept_mean = self.variable("batch_stats", "mean", jnp.zeros, features, jnp.float32)
        kept_var = self.variable("batch_stats", "var", jnp.ones, features, jnp.float32)
        if not average:
            # The running mean is on every device, and soon near the batch's mean.
            near = jnp.asarray(kept_mean.value)
            if kernel is None:
                y, mean, var = _normalized(x, scale, bias, near, self.epsilon)  # pyright: ignore[reportGeneralTypeIssues]
            else:
                y, mean, var = _normalized_product(x, kernel, scale, bias, self.epsilon)
            if not self.is_initializing():
                count = x.size // x.shape[-1]
                unbiased = var * (count / max(count - 1, 1))
                keep = self.momentum
                kept_mean.value = keep * kept_mean.value + (1 - keep) * mean
                kept_var.value = keep * kept_var.value + (1 - keep) * unbiased
            return y
        if kernel is not None:
            x = x @ kernel
        exact = x.astype(np.promote_types(x.dtype, np.float32))
        factor = jax.lax.rsqrt(kept_var.value + self.epsilon) * scale
        return ((exact - kept_mean.value) * factor + bias).astype(x.dtype)
