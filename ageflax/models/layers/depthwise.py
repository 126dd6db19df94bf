"""Depthwise convolution, one kernel per channel, in the form that runs best on the device."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ageflax.models.layers.kernel_gradient import strided, summed_over_devices
from ageflax.models.layers.platform import mesh, platform

_MOST = 6

# Bytes of features that a core's cache holds, and rows of outputs beyond which more gain nothing.
_NEARBY, _MOST_TOGETHER = 600_000, 8


@jax.custom_vjp
def relu6(x: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """min(max(x, 0), 6), whose derivative needs the result alone, so that x is not kept."""
    return jnp.minimum(jnp.maximum(x, 0), _MOST)


def _relu6_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = relu6(x)
    return y, y


def _relu6_backward(y: jax.Array, outer: jax.Array) -> tuple[jax.Array]:
    return (jnp.where((y > 0) & (y < _MOST), outer, 0),)


relu6.defvjp(_relu6_forward, _relu6_backward)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis, so that it has ceil(size / stride) outputs, as in TensorFlow.

    An odd zero comes after: a strided convolution sees other pixels than with the same zeros on both
    sides, so weights trained with one padding do not fit the other.
    """
    missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2


def _padded(x: jax.Array, kernel: int, stride: int) -> jax.Array:
    rows, columns = (same_padding(n, kernel, stride) for n in x.shape[1:3])
    return jnp.pad(x, ((0, 0), rows, columns, (0, 0)))


def _tap(x: jax.Array, i: int, j: int, high: int, wide: int, stride: int) -> jax.Array:
    """Pixels of padded images that meet the kernel's place i, j, one per output."""
    b, _, _, c = x.shape
    stop = (b, i + stride * (high - 1) + 1, j + stride * (wide - 1) + 1, c)
    return lax.slice(x, (0, i, j, 0), stop, (1, stride, stride, 1))


def _outputs(x: jax.Array, stride: int) -> tuple[int, int]:
    return -(-x.shape[1] // stride), -(-x.shape[2] // stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def rectified_taps(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k 1 c"],
    stride: int,
    mesh: Mesh | None = None,
) -> Float[Array, "b h2 w2 c"]:
    """Depthwise convolution of relu6(x) as a sum of shifted images, zeros as in `same_padding`.

    XLA's grouped convolution takes ten to thirty times as long on CPUs, where the time of the rest goes
    into reading features: the rectified ones are written once, with the zeros around them, and the
    derivative finds there whether x was between 0 and 6.

    Args:
      x: features.
      kernel: kernel of each channel.
      stride: stride of both axes.
      mesh: devices that the batch is split over; None if it is not split.
    """
    return _forward(x, kernel, stride, mesh)[0]


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, mesh: Mesh | None
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    del mesh  # only the derivative needs it
    size, (high, wide) = len(kernel), _outputs(x, stride)
    padded = _padded(relu6(x), size, stride)
    places = [(i, j) for i in range(size) for j in range(size)]
    parts = (_tap(padded, i, j, high, wide, stride) * kernel[i, j, 0] for i, j in places)
    return functools.reduce(jnp.add, parts), (padded, kernel, jnp.zeros((0, *x.shape[1:3])))


def _backward(
    stride: int,
    mesh: Mesh | None,
    kept: tuple[jax.Array, jax.Array, jax.Array],
    outer: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    padded, kernel, like = kept
    _, height, width = like.shape
    by_input = _input_gradient(outer, kernel, stride, height, width)
    top, left = (same_padding(n, len(kernel), stride)[0] for n in (height, width))
    rectified = padded[:, top : top + height, left : left + width]
    by_input = jnp.where((rectified > 0) & (rectified < _MOST), by_input, 0)
    by_kernel = functools.partial(_kernel_gradient, size=len(kernel), stride=stride)
    return by_input, summed_over_devices(by_kernel, padded, outer, mesh)


def _input_gradient(
    outer: jax.Array, kernel: jax.Array, stride: int, height: int, width: int
) -> jax.Array:
    """Derivative by the input: each input gathers from the outputs that it went to.

    Rows are taken in blocks of `stride`: row r of block q met place stride d + r + before of the kernel
    in output q - d, for a few offsets d.
    """
    size = len(kernel)
    (b, high, wide, c), blocks = outer.shape, (-(-height // stride), -(-width // stride))
    befores = [same_padding(n, size, stride)[0] for n in (height, width)]
    offsets = [
        range(-((stride - 1 + before) // stride), (size - 1 - before) // stride + 1)
        for before in befores
    ]
    edges = [
        (span[-1], max(count - 1 - span[0] - (n - 1), 0))
        for span, count, n in zip(offsets, blocks, (high, wide), strict=True)
    ]
    outer = jnp.pad(outer, ((0, 0), *edges, (0, 0)))
    zeros = [(stride, stride), (stride, stride)]
    kernel = jnp.pad(kernel[:, :, 0], (*zeros, (0, 0)))
    total = None
    for down in offsets[0]:
        for across in offsets[1]:
            start = (0, offsets[0][-1] - down, offsets[1][-1] - across, 0)
            part = lax.slice(outer, start, (b, start[1] + blocks[0], start[2] + blocks[1], c))
            row, column = (
                stride * d + before + stride
                for d, before in zip((down, across), befores, strict=True)
            )
            taps = kernel[row : row + stride, column : column + stride]
            part = part[:, :, None, :, None] * taps[:, None]
            total = part if total is None else total + part
    assert total is not None  # a kernel has a place
    total = total.reshape(b, blocks[0] * stride, blocks[1] * stride, c)
    return total[:, :height, :width]


def _kernel_gradient(padded: jax.Array, outer: jax.Array, *, size: int, stride: int) -> jax.Array:
    """Derivative by the kernel, a few rows of outputs at a time, whose features stay in the cache.

    The sums fill that cache too, so several rows are added before they are written: half the time of
    one by one. Each row is a slice of its own, as XLA does not vectorize over rows of a common slice.
    """
    (b, _, width, c), (_, high, wide, _) = padded.shape, outer.shape
    nearby = _NEARBY // (width * c * padded.dtype.itemsize)  # rows of features
    together = max(
        n
        for n in range(1, _MOST_TOGETHER + 1)
        if n == 1 or (high % n == 0 and stride * (n - 1) + size <= nearby)
    )

    def added(
        sums: tuple[jax.Array, ...], at: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, ...], None]:
        image, first = at
        for row in range(together):
            start = (image, stride * (first + row), 0, 0)
            seen = lax.dynamic_slice(padded, start, (1, size, width, c))[0]
            met = lax.dynamic_slice(outer, (image, first + row, 0, 0), (1, 1, wide, c))[0]
            columns = (strided(seen, j, wide, stride=stride, axis=1) for j in range(size))
            sums = tuple(s + x * met for s, x in zip(sums, columns, strict=True))
        return sums, None

    rows = jnp.arange(0, high, together)
    zeros = (jnp.zeros((size, wide, c), padded.dtype),) * size
    sums, _ = lax.scan(added, zeros, (jnp.repeat(jnp.arange(b), len(rows)), jnp.tile(rows, b)))
    return jnp.stack([total.sum(1) for total in sums], axis=1)[:, :, None]


rectified_taps.defvjp(_forward, _backward)


class DepthwiseConv(nn.Module):
    """ReLU6, and a convolution with a kernel per channel, no bias, padded as TensorFlow's "SAME".

    Attributes:
      kernel_size: side of the kernels.
      strides: stride of both axes.
      dtype: dtype of the computation; parameters are float32.
      kernel_init: initialiser of the kernel, whose shape is k, k, 1, channels.
    """

    kernel_size: int
    strides: int = 1
    dtype: jnp.dtype = jnp.dtype("float32")
    kernel_init: nn.initializers.Initializer = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        """Features of the same channels."""
        channels = x.shape[-1]
        shape = (self.kernel_size, self.kernel_size, 1, channels)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        x, kernel = jnp.asarray(x, self.dtype), jnp.asarray(kernel, self.dtype)
        if platform() == "cpu":
            return rectified_taps(x, kernel, self.strides, mesh())
        return lax.conv_general_dilated(
            relu6(x),
            kernel,
            (self.strides, self.strides),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=channels,
        )
