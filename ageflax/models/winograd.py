"""Convolution with few multiplications: on a CPU, 3x3 and 5x5 ones train in about half the time."""

import functools
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Of the polynomials that are multiplied; small, so that sums keep their digits. Infinity is added.
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
    """Matrix @ parts, as additions: most entries are 0, 1 or -1."""
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


def winograd_convolution(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c f"], *, padding: int, outputs: int = 4
) -> Float[Array, "b h2 w2 f"]:
    """A convolution of stride 1 by tiles of outputs x outputs, each from (outputs + k - 1)^2 products.

    Of tiles of 4x4: 64 products in place of 400 for 5x5 kernels, 36 in place of 144 for 3x3. Sums are
    in another order and pass through small fractions: in float32 the result is off by 1e-5 to 2e-5 of
    its largest value.

    Args:
      x: features.
      kernel: square.
      padding: zeros on each side.
      outputs: side of a tile; with the kernel at most 8.

    References: Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
    """
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

    def tiles(values: jax.Array, count: int, axis: int) -> list[jax.Array]:
        """The n-th row, or column, of every tile; tiles overlap."""
        span = outputs * (count - 1) + 1
        return [
            jax.lax.slice_in_dim(values, k, k + span, stride=outputs, axis=axis) for k in range(n)
        ]

    rows = jnp.stack(_combined(b, tiles(x, down, 1)))
    inner = jnp.stack(_combined(b, tiles(rows, across, 3))).reshape(n * n, -1, channels)
    # Columns before rows, as in `inner`. Additions again: a product with so small a matrix is slower.
    parts = jnp.stack(_combined(g, list(kernel)))
    weights = jnp.stack(_combined(g, list(parts.swapaxes(0, 1))))
    weights = weights.reshape(n * n, channels, features)
    products = jax.lax.dot_general(inner, weights, (((2,), (1,)), ((0,), (0,))))
    products = products.reshape(n, n, -1, features)
    columns = jnp.stack(_combined(a, list(products)))
    outer = jnp.stack(_combined(a, [columns[:, k] for k in range(n)]))
    y = outer.reshape(outputs, outputs, batch, down, across, features).transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(batch, down * outputs, across * outputs, features)[:, :high, :wide]
