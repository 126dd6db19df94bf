"""Rotation, zoom, shift and stretch in one bilinear resampling of the image."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Num


@dataclasses.dataclass(frozen=True)
class Framing:
    """Bounds of random framing; static, so hashable.

    Attributes:
      rotation: largest angle in either direction, degrees.
      zoom: largest change of scale, as a share; as often larger as smaller.
      shift: largest move along each axis, as a share of the crop's side, beyond the crop's own place
        in the image.
      stretch: largest change of width at equal area, as a share; as often wider as narrower.
    """

    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    stretch: float = 0.0


def _bilinear(
    image: Float[Array, "h w c"], y: Float[Array, "s s"], x: Float[Array, "s s"]
) -> Float[Array, "s s c"]:
    """Interpolates between pixels; positions outside the image take the value of its edge."""
    height, width, depth = image.shape
    y, x = jnp.clip(y, 0.0, height - 1.0), jnp.clip(x, 0.0, width - 1.0)
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    upper, near = top.astype(jnp.int32), left.astype(jnp.int32)
    lower, far = jnp.minimum(upper + 1, height - 1), jnp.minimum(near + 1, width - 1)
    flat = image.reshape(height * width, depth)

    def between(row: Int[Array, "s s"]) -> jax.Array:
        first = flat.at[row * width + near].get(mode="promise_in_bounds")
        second = flat.at[row * width + far].get(mode="promise_in_bounds")
        return first + right * (second - first)

    above = between(upper)
    return above + down * (between(lower) - above)


def affine_views(
    images: Float[Array, "b h w c"],
    angles: Float[Array, " b"],
    scales: Float[Array, " b"],
    offsets: Num[Array, "b 2"],
    size: int,
    *,
    stretches: Float[Array, " b"] | None = None,
) -> Float[Array, "b {size} {size} c"]:
    """Crops of images that are rotated and scaled around their centres.

    Each image is sampled only once, at the crop's pixels, so a crop adds no second blur. Positions
    outside an image repeat its edge. Without rotation and at scale 1, a view is exactly the crop.

    Args:
      images: images of one size.
      angles: radians, counter-clockwise as displayed (like np.rot90).
      scales: scale factors; above 1 enlarges.
      offsets: top and left of the crop in the image; may be fractional, and beyond its edges.
      size: side of the crop in pixels.
      stretches: factors of each view's width at equal area, after rotation; None for ones.
    """
    height, width = images.shape[1:3]
    middle = jnp.array([(height - 1) / 2, (width - 1) / 2], jnp.float32)
    places = jnp.arange(size, dtype=jnp.float32)
    starts = offsets.astype(jnp.float32) - middle
    cosines, sines = jnp.cos(angles) / scales, jnp.sin(angles) / scales

    lines = starts[..., None] + places
    if stretches is not None:
        roots = jnp.sqrt(stretches)
        lines = lines * jnp.stack([roots, 1.0 / roots], 1)[..., None]

    def view(image: jax.Array, line: jax.Array, cosine: jax.Array, sine: jax.Array) -> jax.Array:
        dy, dx = line[0][:, None], line[1][None, :]
        return _bilinear(
            image, cosine * dy + sine * dx + middle[0], cosine * dx - sine * dy + middle[1]
        )

    return jax.vmap(view)(images, lines, cosines, sines)


def _log_uniform(key: Key[Array, ""], count: int, most: float) -> Float[Array, " {count}"]:
    """Factors from 1 / (1 + most) to 1 + most."""
    largest = math.log1p(most)
    return jnp.exp(jax.random.uniform(key, (count,), jnp.float32, -largest, largest))


def framed_views(
    key: Key[Array, ""],
    images: Float[Array, "b h w c"],
    offsets: Int[Array, "b 2"],
    framing: Framing,
    size: int,
) -> Float[Array, "b {size} {size} c"]:
    """Crops of the images, each rotated, scaled, shifted and stretched by its own draws.

    Args:
      key: random key of all draws.
      images: images of one size.
      offsets: top and left of the crop in the image, before the shift.
      framing: bounds of the draws.
      size: side of the crop in pixels.
    """
    angle_key, scale_key = jax.random.split(key)
    most, count = math.radians(framing.rotation), len(images)
    angles = jax.random.uniform(angle_key, (count,), jnp.float32, -most, most)
    scales = _log_uniform(scale_key, count, framing.zoom)
    places, stretches = offsets, None
    if framing.shift:
        most = framing.shift * size
        shift_key = jax.random.fold_in(key, 2)
        shifts = jax.random.uniform(shift_key, (count, 2), jnp.float32, -most, most)
        places = offsets.astype(jnp.float32) + shifts
    if framing.stretch:
        stretches = _log_uniform(jax.random.fold_in(key, 3), count, framing.stretch)
    return affine_views(images, angles, scales, places, size, stretches=stretches)
