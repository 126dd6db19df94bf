"""Batch normalisation as PyTorch trains it."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float


class BatchNorm(nn.BatchNorm):
    """flax's, in float32 whatever the network computes in, with PyTorch's running variance.

    A batch is normalised with its biased variance; what is kept for test is the unbiased one,
    n / (n - 1) times as large, as torch.nn.BatchNorm2d keeps it. flax keeps the biased one, which over
    the few pixels of a deep layer and a small batch is another network at test. Means over a batch lose
    too much in bfloat16; the result is returned in the dtype that came in.

    Under jit over a sharded batch the mean is over the whole batch; no axis name is needed. Of the
    attributes of flax's, momentum, epsilon and use_running_average are heeded.

    References: Ioffe & Szegedy, Batch Normalization, ICML 2015, whose algorithm 2 has the unbiased
      variance; torch.nn.BatchNorm2d.
    """

    momentum: float = 0.9  # the share that is kept; PyTorch calls the rest so, 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]  # without mask
        self, x: Float[Array, "b ... c"], use_running_average: bool | None = None
    ) -> Float[Array, "b ... c"]:
        """Normalised over all axes but the last."""
        average = nn.merge_param(
            "use_running_average", self.use_running_average, use_running_average
        )
        features = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, features, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, features, jnp.float32)
        kept_mean = self.variable("batch_stats", "mean", jnp.zeros, features, jnp.float32)
        kept_var = self.variable("batch_stats", "var", jnp.ones, features, jnp.float32)
        exact = x.astype(np.promote_types(x.dtype, np.float32))
        if average:
            mean, var = kept_mean.value, kept_var.value
        else:
            axes = tuple(range(x.ndim - 1))
            mean = exact.mean(axes)
            var = jnp.square(exact - mean).mean(axes)
            if not self.is_initializing():
                count = x.size // x.shape[-1]
                unbiased = var * (count / max(count - 1, 1))
                keep = self.momentum
                kept_mean.value = keep * kept_mean.value + (1 - keep) * mean
                kept_var.value = keep * kept_var.value + (1 - keep) * unbiased
        # The mean goes first: x and it may be large where their difference is not.
        factor = jax.lax.rsqrt(var + self.epsilon) * scale
        return ((exact - mean) * factor + bias).astype(x.dtype)
