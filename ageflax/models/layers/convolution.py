"""flax's convolution, computed in the form that suits its shape and the device."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.kernel_gradient import (
    plain_convolution,
    strided,
    summed_gradient_convolution,
)
from ageflax.models.layers.platform import mesh, platform
from ageflax.models.layers.winograd import winograd_convolution

# Matrix units take 16 to 128 channels at once; up to this number, more channels cost no more.
_FEW_CHANNELS = 64
# Multiple of channels that GPUs' matrix units take in bfloat16.
_WHOLE_CHANNELS = 8
# Kernels for which Winograd's form pays; at test only if features have 6 channels^2 values or more.
_TILED, _AT_TEST = (3, 5), 6
# Channels from which Winograd's additions cost little against the products saved, and patches pay.
_MANY_CHANNELS = 32
# Outputs per image up to which patches pay in training: XLA's derivatives of so few are far slower.
_FEW_OUTPUTS = 9


def space_to_depth_convolution(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c f"], *, stride: int, padding: int
) -> Float[Array, "b h2 w2 f"]:
    """Strided convolution as one of stride 1 over blocks of stride x stride pixels.

    An image's three channels leave matrix units almost empty; a block's 3 stride^2 do not. The kernel
    is padded with zeros to whole blocks. The sums are those of the plain convolution in another order.

    Args:
      x: images.
      kernel: kernel of the plain convolution.
      stride: stride of both axes.
      padding: zeros on each side.

    References: Ying et al., Image Classification at Supercomputer Scale, 2018.
    """
    (b, height, width, c), (size, _, _, features) = x.shape, kernel.shape
    taps = -(-size // stride)  # blocks per kernel side
    blocks = [(n + 2 * padding - size) // stride + taps for n in (height, width)]
    # Negative padding cuts off rows and columns beyond the last block.
    ends = [count * stride - n - padding for count, n in zip(blocks, (height, width), strict=True)]
    x = jax.lax.pad(
        x,
        jnp.zeros((), x.dtype),
        ((0, 0, 0), (padding, ends[0], 0), (padding, ends[1], 0), (0, 0, 0)),
    )
    x = x.reshape(b, blocks[0], stride, blocks[1], stride, c).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(b, *blocks, stride * stride * c)
    more = taps * stride - size
    kernel = jnp.pad(kernel, ((0, more), (0, more), (0, 0), (0, 0)))
    kernel = kernel.reshape(taps, stride, taps, stride, c, features).transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(taps, taps, stride * stride * c, features)
    # Otherwise cuDNN pads copies of both, forward and backward.
    missing = -x.shape[-1] % _WHOLE_CHANNELS
    x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))
    kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, missing), (0, 0)))
    return plain_convolution(x, kernel, 1, 0)


def patch_convolution(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c f"], *, stride: int, padding: int
) -> Float[Array, "b h2 w2 f"]:
    """Convolution as one matrix product with the image's patches.

    The patches are kept for the kernel's derivative, again a matrix product. On a CPU both are much
    faster than XLA's convolutions for three channels; without the derivative, also for many channels
    with few pixels. The patches cost memory.

    Args:
      x: images.
      kernel: kernel of the plain convolution.
      stride: stride of both axes.
      padding: zeros on each side.
    """
    (b, height, width, c), (size, _, _, features) = x.shape, kernel.shape
    high, wide = ((n + 2 * padding - size) // stride + 1 for n in (height, width))
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))

    def shifted(values: jax.Array, count: int, axis: int) -> jax.Array:
        parts = [strided(values, k, count, stride=stride, axis=axis) for k in range(size)]
        return jnp.concatenate(parts, axis=-1)

    # Along rows, then columns: fewer and longer copies than one per place of the kernel.
    patches = shifted(shifted(x, wide, 2), high, 1).reshape(-1, size * size * c)
    return (patches @ kernel.reshape(-1, features)).reshape(b, high, wide, features)


class Conv(nn.Module):
    """nn.Conv with square kernels: parameters have the same names and initial values.

    Attributes:
      features: output channels.
      kernel_size: side of the kernel.
      strides: stride of both axes.
      padding: zeros on each side.
      use_bias: True adds a bias.
      dtype: dtype of the computation; parameters are float32.
      kernel_init: initialiser of the kernel.
      bias_init: initialiser of the bias.
    """

    features: int
    kernel_size: int
    strides: int = 1
    padding: int = 0
    use_bias: bool = True
    dtype: jnp.dtype = jnp.dtype("float32")
    kernel_init: nn.initializers.Initializer = nn.linear.default_kernel_init
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool = False) -> jax.Array:
        """Features float[b, h2, w2, features].

        Args:
          x: images or features.
          train: True takes the form whose derivatives are fast. Otherwise, outside of `traced_for`,
            exporters and inference compilers see the plain operation.
        """
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        x, kernel = jnp.asarray(x, self.dtype), jnp.asarray(kernel, self.dtype)
        y = self._convolved(x, kernel, train=train)
        if not self.use_bias:
            return y
        bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
        return y + jnp.asarray(bias, self.dtype)

    def _convolved(self, x: jax.Array, kernel: jax.Array, *, train: bool) -> jax.Array:
        size, stride, channels = self.kernel_size, self.strides, x.shape[-1]
        on_cpu = platform() == "cpu" and self.dtype == jnp.float32
        few = 1 < stride < size and stride * stride * channels <= _FEW_CHANNELS
        # A TPU's compiler has its own form for three channels, and is slower with blocks.
        if few and (train or on_cpu) and platform() != "tpu":
            form = patch_convolution if on_cpu else space_to_depth_convolution
            return form(x, kernel, stride=stride, padding=self.padding)
        many = min(channels, self.features) >= _MANY_CHANNELS
        tiled = on_cpu and size in _TILED and stride == 1 and many
        # Transforming the kernel costs the same for one face as for many.
        if tiled and (train or x.size >= _AT_TEST * channels**2):
            return winograd_convolution(x, kernel, padding=self.padding)
        high, wide = ((n + 2 * self.padding - size) // stride + 1 for n in x.shape[1:3])
        if train and on_cpu and many and max(size, stride) > 1 and high * wide > _FEW_OUTPUTS:
            return summed_gradient_convolution(x, kernel, stride, self.padding, mesh())
        # 1x1, or at test: there XLA uses YNNPACK, which fuses all convolutions before a mean into one
        # call, four times as slow. XLA's derivative of a 1x1 first transposes its features.
        if on_cpu and (many or max(size, stride) == 1):
            return patch_convolution(x, kernel, stride=stride, padding=self.padding)
        return plain_convolution(x, kernel, stride, self.padding)
