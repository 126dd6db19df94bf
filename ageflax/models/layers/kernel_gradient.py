"""Convolution whose kernel derivative is a sum of matrix products, a few images at a time.

On a CPU, XLA's derivative takes two to four times as long as the convolution; this one about as long.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

# Images whose patches fit the processor's cache together.
_TOGETHER = 4


def strided(values: jax.Array, start: int, count: int, *, stride: int, axis: int) -> jax.Array:
    """Every `stride`-th slice along an axis, `count` of them."""
    stop = start + stride * (count - 1) + 1
    return jax.lax.slice_in_dim(values, start, stop, stride=stride, axis=axis)


def plain_convolution(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c f"], stride: int, padding: int
) -> Float[Array, "b h2 w2 f"]:
    """XLA's convolution.

    Args:
      x: features.
      kernel: square kernel.
      stride: stride of both axes.
      padding: zeros on each side.
    """
    pads: Any = ((padding, padding),) * 2
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def kernel_gradient(
    x: Float[Array, "b h w c"],
    outer: Float[Array, "b h2 w2 f"],
    *,
    size: int,
    stride: int,
    padding: int,
    mesh: Mesh | None = None,
) -> Float[Array, "k k c f"]:
    """Derivative by a convolution's kernel, from the derivative by its output.

    Args:
      x: input of the convolution.
      outer: derivative by its output.
      size: side of the kernel.
      stride: stride of both axes.
      padding: zeros on each side.
      mesh: devices that the batch is split over; None if it is not split.
    """
    summed = functools.partial(_summed, size=size, stride=stride, padding=padding)
    return summed_over_devices(summed, x, outer, mesh)


def summed_over_devices(
    summed: Callable[[jax.Array, jax.Array], jax.Array],
    x: Float[Array, "b h w c"],
    outer: Float[Array, "b h2 w2 f"],
    mesh: Mesh | None,
) -> jax.Array:
    """Sum over a batch, to which each device adds its own images' part.

    Args:
      summed: function of some images and their derivatives, a sum over these images.
      x: images.
      outer: derivatives by what was computed from them.
      mesh: devices that the batch is split over; None if it is not split.
    """
    if mesh is None or len(x) % mesh.size:
        return summed(x, outer)

    # Explicit: the compiler would gather the whole batch before looping over it.
    batched = P(mesh.axis_names)
    return jax.shard_map(
        lambda x, outer: jax.lax.psum(summed(x, outer), mesh.axis_names),
        mesh=mesh, in_specs=(batched, batched), out_specs=P(), check_vma=False,
    )(x, outer)  # fmt: skip


def _summed(
    x: Float[Array, "b h w c"],
    outer: Float[Array, "b h2 w2 f"],
    *,
    size: int,
    stride: int,
    padding: int,
) -> Float[Array, "k k c f"]:
    (batch, _, _, channels), (_, high, wide, features) = x.shape, outer.shape
    together = math.gcd(batch, _TOGETHER)

    def added(sums: jax.Array, few: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        images, outer = few
        images = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        parts = [strided(images, k, wide, stride=stride, axis=2) for k in range(size)]
        columns = jnp.concatenate(parts, axis=-1)
        # The longer side last: the product is much faster than the other way round.
        outer = outer.reshape(-1, features).T
        rows = (
            strided(columns, k, high, stride=stride, axis=1).reshape(-1, size * channels)
            for k in range(size)
        )
        return sums + jnp.stack([outer @ row for row in rows]), None

    sums, _ = jax.lax.scan(
        added,
        jnp.zeros((size, features, size * channels), x.dtype),
        jax.tree.map(lambda a: a.reshape(-1, together, *a.shape[1:]), (x, outer)),
    )
    return sums.transpose(0, 2, 1).reshape(size, size, channels, features)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def summed_gradient_convolution(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k c f"],
    stride: int,
    padding: int,
    mesh: Mesh | None = None,
) -> Float[Array, "b h2 w2 f"]:
    """Plain convolution whose kernel derivative is `kernel_gradient`; see there for the arguments."""
    del mesh  # only the derivative needs it
    return plain_convolution(x, kernel, stride, padding)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, mesh: Mesh | None
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return summed_gradient_convolution(x, kernel, stride, padding, mesh), (x, kernel)


def _backward(
    stride: int,
    padding: int,
    mesh: Mesh | None,
    kept: tuple[jax.Array, jax.Array],
    outer: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    (by_input,) = jax.vjp(lambda x: plain_convolution(x, kernel, stride, padding), x)[1](outer)
    by_kernel = kernel_gradient(
        x, outer, size=kernel.shape[0], stride=stride, padding=padding, mesh=mesh
    )
    return by_input, by_kernel


summed_gradient_convolution.defvjp(_forward, _backward)
