"""Convolution with few multiplications: on a CPU, 3x3 and 5x5 train in about half the time."""

import functools
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ageflax.models.layers.kernel_gradient import strided

# Sides of tiles, the usual one first; larger tiles would cost more additions, and digits.
_OUTPUTS = (4, 3, 5)
# Another tile pays only below this share of the usual one's products; a larger one has more additions.
_FEWER = 0.85
# Points at which the polynomials are evaluated, besides infinity; small, so that sums keep digits.
_POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))


def _product(factors: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the product of (x - f) over the factors, lowest first."""
    coefficients = [Fraction(1)]
    for factor in factors:
        up, down = [Fraction(0), *coefficients], [*coefficients, Fraction(0)]
        coefficients = [a - factor * b for a, b in zip(up, down, strict=True)]
    return coefficients


@functools.cache
def _matrices(outputs: int, kernel: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A [outputs, n], G [n, kernel], B [n, n] of F(outputs, kernel); n = outputs + kernel - 1.

    The correlation of d [n] with g [kernel] is A ((G g) * (B d)).
    """
    n = outputs + kernel - 1
    points = _POINTS[: n - 1]
    others = [[p for p in points if p != point] for point in points]
    scales = [
        functools.reduce(lambda a, b: a * b, (point - p for p in rest), Fraction(1))
        for point, rest in zip(points, others, strict=True)
    ]
    a = [[p**i for p in points] + [Fraction(int(i == outputs - 1))] for i in range(outputs)]
    g = [[p**j / scale for j in range(kernel)] for p, scale in zip(points, scales, strict=True)]
    g.append([Fraction(int(j == kernel - 1)) for j in range(kernel)])
    b = [[*_product(rest), Fraction(0)] for rest in others] + [_product(points)]
    return tuple(np.array(matrix, np.float64) for matrix in (a, g, b))  # type: ignore[return-value]


def _combined(matrix: np.ndarray, parts: Sequence[jax.Array]) -> list[jax.Array]:
    """Computes matrix @ parts by additions: most entries are 0, 1 or -1."""
    found = []
    for row in matrix:
        terms = [
            part
            if factor == 1
            else -part
            if factor == -1
            else part * np.asarray(factor, part.dtype)
            for factor, part in zip(row, parts, strict=True)
            if factor
        ]
        found.append(functools.reduce(jnp.add, terms))
    return found


def _slices(values: jax.Array, count: int, axis: int, n: int, outputs: int) -> list[jax.Array]:
    """The first to n-th row, or column, of each of `count` tiles, which overlap."""
    return [strided(values, k, count, stride=outputs, axis=axis) for k in range(n)]


def _overlapped(parts: Sequence[jax.Array], axis: int, outputs: int) -> jax.Array:
    """Derivative of `_slices`: tiles side by side, summed where they overlap.

    Sums whole blocks of `outputs` rows; summing single rows with gaps is far slower.
    """
    zeros = jnp.zeros_like(parts[0])
    blocks = -(-len(parts) // outputs)
    filled = [*parts, *[zeros] * (blocks * outputs - len(parts))]
    found = []
    for block in range(blocks):
        rows = jnp.stack(filled[block * outputs : (block + 1) * outputs], axis=axis + 1)
        pads = [(0, 0)] * rows.ndim
        pads[axis] = (block, blocks - 1 - block)
        found.append(jnp.pad(rows, pads))
    summed = functools.reduce(jnp.add, found)
    shape = (*zeros.shape[:axis], -1, *zeros.shape[axis + 1 :])
    length = outputs * (zeros.shape[axis] - 1) + len(parts)
    return jax.lax.slice_in_dim(summed.reshape(shape), 0, length, axis=axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolved(x: jax.Array, kernel: jax.Array, padding: int, outputs: int) -> jax.Array:
    return _forward(x, kernel, padding, outputs)[0]


def _forward(
    x: jax.Array, kernel: jax.Array, padding: int, outputs: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    (batch, height, width, channels), (size, _, _, features) = x.shape, kernel.shape
    a, g, b = _matrices(outputs, size)
    n = len(b)
    high, wide = height + 2 * padding - size + 1, width + 2 * padding - size + 1
    down, across = -(-high // outputs), -(-wide // outputs)
    ends = [
        tiles * outputs + size - 1 - length - padding
        for tiles, length in ((down, height), (across, width))
    ]
    x = jnp.pad(x, ((0, 0), (padding, ends[0]), (padding, ends[1]), (0, 0)))
    rows = jnp.stack(_combined(b, _slices(x, down, 1, n, outputs)))
    inner = jnp.stack(_combined(b, _slices(rows, across, 3, n, outputs)))
    # Columns before rows, as in `inner`. Additions again: a product with a matrix this small is slower.
    parts = jnp.stack(_combined(g, list(kernel)))
    weights = jnp.stack(_combined(g, list(parts.swapaxes(0, 1))))
    tiles = inner.reshape(n * n, -1, channels)
    products = jax.lax.dot_general(
        tiles, weights.reshape(n * n, channels, features), (((2,), (1,)), ((0,), (0,)))
    )
    products = products.reshape(n, n, -1, features)
    columns = jnp.stack(_combined(a, list(products)))
    outer = jnp.stack(_combined(a, [columns[:, k] for k in range(n)]))
    y = outer.reshape(outputs, outputs, batch, down, across, features).transpose(2, 3, 0, 4, 1, 5)
    y = y.reshape(batch, down * outputs, across * outputs, features)[:, :high, :wide]
    return y, (inner, weights)


def _backward(
    padding: int, outputs: int, kept: tuple[jax.Array, jax.Array], outer: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The lines of `_forward` transposed, in reverse order."""
    inner, weights = kept
    (n, _, batch, down, across, channels), features = inner.shape, weights.shape[-1]
    size = n - outputs + 1
    a, g, b = _matrices(outputs, size)
    _, high, wide, _ = outer.shape
    more = ((0, 0), (0, down * outputs - high), (0, across * outputs - wide), (0, 0))
    outer = jnp.pad(outer, more).reshape(batch, down, outputs, across, outputs, features)
    rows = jnp.stack(_combined(a.T, [outer[:, :, k] for k in range(outputs)]))
    products = jnp.stack(_combined(a.T, [rows[:, :, :, :, k] for k in range(outputs)]))
    products = products.reshape(n * n, -1, features)
    by_weights = jax.lax.dot_general(
        inner.reshape(n * n, -1, channels), products, (((1,), (1,)), ((0,), (0,)))
    )
    by_inner = jax.lax.dot_general(
        products, weights.reshape(n * n, channels, features), (((2,), (2,)), ((0,), (0,)))
    )
    columns = _combined(g.T, list(by_weights.reshape(n, n, channels, features)))
    by_kernel = jnp.stack(_combined(g.T, list(jnp.stack(columns, axis=1))))
    slices = _combined(b.T, list(by_inner.reshape(inner.shape)))
    rows = _overlapped(slices, 3, outputs)
    padded = _overlapped(_combined(b.T, list(rows)), 1, outputs)
    height, width = high + size - 1 - 2 * padding, wide + size - 1 - 2 * padding
    by_x = padded[:, padding : padding + height, padding : padding + width]
    return by_x, by_kernel


_convolved.defvjp(_forward, _backward)


def tile_outputs(height: int, width: int, kernel: int) -> int:
    """Side of the tiles that need clearly fewer products, those for padding outputs included.

    Args:
      height: height of the convolution's output; 14 takes three tiles of 5 instead of four of 4, and 6
        two of 3 instead of two of 4.
      width: width of the output.
      kernel: side of the kernel.
    """

    def products(outputs: int) -> int:
        return -(-height // outputs) * -(-width // outputs) * (outputs + kernel - 1) ** 2

    usual, *others = _OUTPUTS
    most = _FEWER * products(usual)
    fewer = [n for n in others if n + kernel - 1 <= len(_POINTS) + 1 and products(n) < most]
    return min(fewer, key=products, default=usual)


def winograd_convolution(
    x: Float[Array, "b h w c"],
    kernel: Float[Array, "k k c f"],
    *,
    padding: int,
    outputs: int | None = None,
) -> Float[Array, "b h2 w2 f"]:
    """Convolution of stride 1 by tiles of outputs x outputs, each from (outputs + k - 1)^2 products.

    Tiles of 4x4 take 64 products instead of 400 for 5x5 kernels and 36 instead of 144 for 3x3; of 5x5,
    49 instead of 225; of 3x3, 25 instead of 81. Sums are in another order and pass through small
    fractions: in float32 the error is 1e-5 to 2e-5 of the largest value. Derivatives use the same
    products.

    Args:
      x: features.
      kernel: square kernel.
      padding: zeros on each side.
      outputs: side of a tile; at most 9 with the kernel's side. None takes `tile_outputs`.

    References: Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
    """
    size = len(kernel)
    if outputs is None:
        high, wide = (length + 2 * padding - size + 1 for length in x.shape[1:3])
        outputs = tile_outputs(high, wide, size)
    return _convolved(x, kernel, padding, outputs)
