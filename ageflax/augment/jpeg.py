"""JPEG's losses as matrix products: 4:2:0 chroma, 8x8 cosine transform, libjpeg's quantisation.

Entropy coding loses nothing and is left out. References: ITU-T T.81 (JPEG), Annex K; JFIF 1.02.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# Quantisation of Annex K at quality 50, rows of vertical frequencies.
_LUMINANCE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
], np.int32)  # fmt: skip
_CHROMINANCE = np.full((8, 8), 99, np.int32)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def _cosines() -> Float[np.ndarray, "64 64"]:
    """Orthonormal cosine transform of an 8x8 block as one matrix: pixels to coefficients."""
    frequency, place = np.mgrid[:8, :8]
    rows = np.cos((2 * place + 1) * frequency * np.pi / 16) * np.where(frequency, 0.5, 8**-0.5)
    return np.kron(rows, rows).astype(np.float32)


_COSINES = _cosines()
_EXACT = jax.lax.Precision.HIGHEST


def _tables(base: Int[np.ndarray, "8 8"], qualities: Int[Array, " b"]) -> Float[Array, "b 1 64"]:
    """Steps of the coefficients, by libjpeg's scale of qualities from 1 to 100."""
    scale = jnp.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    steps = (jnp.asarray(base).reshape(1, 1, 64) * scale[:, None, None] + 50) // 100
    return jnp.clip(steps, 1, 255).astype(jnp.float32)


def _stored(planes: Float[Array, "b n h w"], tables: Float[Array, "b 1 64"]) -> jax.Array:
    """Planes as decoded from their quantised coefficients."""
    count, number, height, width = planes.shape
    blocks = planes.reshape(count, number, height // 8, 8, width // 8, 8).swapaxes(3, 4)
    flat = blocks.reshape(count, -1, 64) - 128.0
    coefficients = jnp.dot(flat, _COSINES.T, precision=_EXACT)
    kept = jnp.round(coefficients / tables) * tables
    flat = jnp.dot(kept, jnp.asarray(_COSINES), precision=_EXACT)
    planes = flat.reshape(blocks.shape).swapaxes(3, 4).reshape(planes.shape)
    return jnp.clip(jnp.round(planes + 128.0), 0.0, 255.0)


def _alternating(even: float, odd: float, width: int) -> Float[np.ndarray, " {width}"]:
    """Numbers that libjpeg adds before it cuts fractions off: halves go up and down by turns."""
    return np.where(np.arange(width) % 2, odd, even).astype(np.float32)


def _halved(planes: Float[Array, "b n h w"]) -> Float[Array, "b n h/2 w/2"]:
    """Means of squares of four samples."""
    *counts, height, width = planes.shape
    means = planes.reshape(*counts, height // 2, 2, width // 2, 2).mean((-3, -1))
    return jnp.floor(means + _alternating(0.25, 0.5, width // 2))


def _smoothly_repeated(planes: Float[Array, "b n h w"], axis: int) -> jax.Array:
    """Twice the samples along an axis, each 3/4 of the nearest and 1/4 of the next."""
    size, shape = planes.shape[axis], list(planes.shape)
    before, after = (
        jnp.take(planes, np.clip(np.arange(size) + step, 0, size - 1), axis) for step in (-1, 1)
    )
    pairs = jnp.stack([0.75 * planes + 0.25 * other for other in (before, after)], axis + 1)
    shape[axis] *= 2
    return pairs.reshape(shape)


def _doubled(planes: Float[Array, "b n h w"]) -> Float[Array, "b n 2*h 2*w"]:
    """Samples at twice the resolution, libjpeg's "fancy" upsampling."""
    doubled = _smoothly_repeated(_smoothly_repeated(planes, 2), 3)
    return jnp.floor(doubled + _alternating(8 / 16, 7 / 16, doubled.shape[3]))


def compressed(
    planes: Float[Array, "b h 3 w"], qualities: Int[Array, " b"]
) -> Float[Array, "b h 3 w"]:
    """Images as they come back from a JPEG file of their own, to a grey level or two.

    The arithmetic is in floats where libjpeg's is in integers, so that few pixels differ by more.

    Args:
      planes: RGB, 0-255; rows of three channels, each contiguous.
      qualities: libjpeg's quality of each image, 1 to 100.
    """
    height, width = planes.shape[1], planes.shape[3]
    below, beside = -height % 16, -width % 16
    padded = jnp.pad(planes, ((0, 0), (0, below), (0, 0), (0, beside)), mode="edge")
    red, green, blue = (padded[:, :, channel] for channel in range(3))
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = jnp.round(jnp.stack([(blue - grey) / 1.772, (red - grey) / 1.402], 1))
    luma = _stored(jnp.round(grey)[:, None], _tables(_LUMINANCE, qualities))[:, 0]
    halved = _stored(_halved(chroma) + 128.0, _tables(_CHROMINANCE, qualities)) - 128.0
    blue_less, red_less = jnp.moveaxis(_doubled(halved), 1, 0)
    decoded = [
        luma + 1.402 * red_less,
        luma - (0.114 * 1.772 * blue_less + 0.299 * 1.402 * red_less) / 0.587,
        luma + 1.772 * blue_less,
    ]
    whole = jnp.clip(jnp.round(jnp.stack(decoded, 2)), 0.0, 255.0)
    return whole[:, :height, :, :width]
