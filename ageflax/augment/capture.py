"""A camera's losses: soft lens, few pixels, sensor noise and JPEG, in the order in which they occur.

Blur and resolution are matrices over rows and columns, a pair of small products whatever is drawn.
Planes are rows of three channels, [b, h, 3, w]: both products then run over contiguous memory.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt32

from ageflax.augment import jpeg

_EXACT = jax.lax.Precision.HIGHEST
# Width of a JPEG file's largest block, two of 8 pixels where chroma is halved.
_BLOCK = 16


@dataclasses.dataclass(frozen=True)
class Camera:
    """Bounds of a random camera; static, so hashable.

    Attributes:
      blur: largest sigma of the lens in pixels, drawn uniformly from 0; 0 is off.
      downscale: largest factor of lost resolution, drawn log-uniformly from 1; 1 is off.
      noise: largest std of the sensor's noise in grey levels, drawn uniformly from 0; 0 is off.
      jpeg: lowest quality, drawn uniformly up to 100; 0 is off.
    """

    blur: float = 0.0
    downscale: float = 1.0
    noise: float = 0.0
    jpeg: int = 0


def gaussian(sigmas: Float[Array, " b"], size: int) -> Float[Array, "b {size} {size}"]:
    """Blur along an axis of `size` pixels; the identity at sigma 0. Edges weigh what is inside."""
    places = jnp.arange(size, dtype=jnp.float32)
    # Below a tenth of a pixel, neighbours weigh nothing in float32.
    scaled = (places[:, None] - places) / jnp.maximum(sigmas, 0.05)[:, None, None]
    weights = jnp.exp(-0.5 * jnp.square(scaled))
    return weights / weights.sum(-1, keepdims=True)


def _triangles(
    positions: Float[Array, "b n"], supports: Float[Array, " b"], size: int
) -> Float[Array, "b n {size}"]:
    """Linear interpolation at positions, widened to average over `supports` pixels."""
    distances = jnp.abs(positions[..., None] - jnp.arange(size, dtype=jnp.float32))
    weights = jnp.maximum(0.0, 1.0 - distances / supports[:, None, None])
    return weights / weights.sum(-1, keepdims=True)


def shrinking(
    sides: Int[Array, " b"], starts: Int[Array, " b"], size: int
) -> Float[Array, "b {size} {size}"]:
    """Shrinks an axis of `size` pixels to some, as Pillow's bilinear filter does.

    Args:
      sides: number of pixels left.
      starts: place of the first of them; the places before and after repeat the outermost.
      size: number of pixels before, and of places after.
    """
    factors = size / sides.astype(jnp.float32)
    places = jnp.arange(size, dtype=jnp.int32) - starts[:, None]
    within = jnp.clip(places, 0, sides[:, None] - 1).astype(jnp.float32)
    return _triangles((within + 0.5) * factors[:, None] - 0.5, factors, size)


def enlarging(
    sides: Int[Array, " b"], starts: Int[Array, " b"], size: int
) -> Float[Array, "b {size} {size}"]:
    """Brings the axis that `shrinking` left back to all its places, by linear interpolation."""
    small = sides.astype(jnp.float32)[:, None]
    places = (jnp.arange(size, dtype=jnp.float32) + 0.5) * small / size - 0.5
    within = jnp.clip(places, 0.0, small - 1.0) + starts.astype(jnp.float32)[:, None]
    return _triangles(within, jnp.ones(len(sides), jnp.float32), size)


def filtered(
    planes: Float[Array, "b s 3 s"], matrices: Float[Array, "b s s"]
) -> Float[Array, "b s 3 s"]:
    """Applies each image's matrix along its columns and along its rows."""
    down = jnp.einsum("bih,bhcw->bicw", matrices, planes, precision=_EXACT)
    return jnp.einsum("bicw,bjw->bicj", down, matrices, precision=_EXACT)


def _hashed(values: UInt32[Array, "*n"]) -> UInt32[Array, "*n"]:
    """Well mixed bits of consecutive numbers (Wellons, hash-prospector, lowbias32)."""
    values = (values ^ (values >> 16)) * jnp.uint32(0x7FEB352D)
    values = (values ^ (values >> 15)) * jnp.uint32(0x846CA68B)
    return values ^ (values >> 16)


def noise(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "b h c w"]:
    """Nearly normal noise of std 1: the sum of four uniform bytes, cut at 3.5.

    JAX draws a normal in 80 ns on a CPU; here each image draws one number, and a hash makes the rest.
    """
    seeds = jax.random.bits(key, (shape[0], 1, 1, 1), jnp.uint32)
    numbers = jax.lax.iota(jnp.uint32, math.prod(shape[1:])).reshape(1, *shape[1:])
    bits = _hashed(numbers ^ _hashed(seeds))
    total = sum((bits >> shift & 255).astype(jnp.int32) for shift in (0, 8, 16, 24))
    return (jnp.asarray(total, jnp.float32) - 510.0) / math.sqrt((256**2 - 1) / 3)


def captured(
    key: Key[Array, ""], views: Float[Array, "b s s 3"], camera: Camera
) -> Float[Array, "b s s 3"]:
    """Views as a worse camera would have taken them, each by its own draws.

    A smaller image takes noise and JPEG at its own size, at any place of JPEG's grid, and is enlarged
    last, as a face that is cut from a photograph.

    Args:
      key: random key of all draws.
      views: RGB, 0-255.
      camera: bounds of the draws.
    """
    count, size = views.shape[:2]
    sigma_key, side_key, start_key, std_key, noise_key, quality_key = jax.random.split(key, 6)
    planes, enlarge = views.swapaxes(2, 3), None
    matrices = None
    if camera.blur:
        sigmas = jax.random.uniform(sigma_key, (count,), jnp.float32, 0.0, camera.blur)
        matrices = gaussian(sigmas, size)
    if camera.downscale > 1:
        factors = jax.random.uniform(
            side_key, (count,), jnp.float32, 0.0, math.log(camera.downscale)
        )
        sides = jnp.maximum(jnp.round(size * jnp.exp(-factors)), 1.0).astype(jnp.int32)
        room = jnp.minimum(size - sides, _BLOCK - 1) + 1
        starts = jax.random.randint(start_key, (count,), 0, room, jnp.int32)
        shrink, enlarge = shrinking(sides, starts, size), enlarging(sides, starts, size)
        matrices = shrink if matrices is None else jnp.matmul(shrink, matrices, precision=_EXACT)
    if matrices is not None:
        planes = filtered(planes, matrices)
    if camera.noise:
        stds = jax.random.uniform(std_key, (count, 1, 1, 1), jnp.float32, 0.0, camera.noise)
        planes = jnp.clip(planes + stds * noise(noise_key, planes.shape), 0.0, 255.0)
    if camera.jpeg:
        qualities = jax.random.randint(quality_key, (count,), camera.jpeg, 101, jnp.int32)
        planes = jpeg.compressed(planes, qualities)
    if enlarge is not None:
        planes = filtered(planes, enlarge)
    return planes.swapaxes(2, 3)
