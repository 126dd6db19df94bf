"""Light and colour of RGB images in 0-255.

Each change takes one factor per image and clips to 0-255, like torchvision's ColorJitter.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key


@dataclasses.dataclass(frozen=True)
class Light:
    """Bounds of random light and of its rendering by a camera; static, so hashable.

    Attributes:
      shade: largest slope of the light across the image; see `ramps`.
      cast: as brightness, for each channel by itself.
      brightness: b; values are multiplied by 1 - b to 1 + b.
      gamma: g; shares of 255 are raised to an exponent of 1 / (1 + g) to 1 + g, log-uniform.
      contrast: as brightness, for distances from the image's mean grey.
      saturation: as brightness, for distances from each pixel's grey.
      grey: probability of a grey image.
    """

    shade: float = 0.0
    cast: float = 0.0
    brightness: float = 0.0
    gamma: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grey: float = 0.0


# Weights of red, green and blue in ITU-R BT.601's luma, which OpenCV and Pillow call grey.
_LUMA = (0.299, 0.587, 0.114)


def luma(images: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 1"]:
    """Luma of ITU-R BT.601, the perceived brightness."""
    return (images * jnp.array(_LUMA, images.dtype)).sum(-1, keepdims=True)


def _grey(images: Float[Array, "b h w 3"]) -> Float[Array, "b h w 1"]:
    """Luma once more, as a sum of channels: XLA reduces three values twenty times slower on a CPU."""
    red, green, blue = (
        images[..., channel : channel + 1] * jnp.asarray(weight, images.dtype)
        for channel, weight in enumerate(_LUMA)
    )
    return red + green + blue


def _clipped(images: jax.Array) -> jax.Array:
    return jnp.clip(images, 0.0, 255.0)


def brightened(
    images: Float[Array, "b h w 3"], factors: Float[Array, "b _ _ _"]
) -> Float[Array, "b h w 3"]:
    """Multiplies each image by its factor, or by one per channel or pixel."""
    return _clipped(images * factors)


def ramps(
    angles: Float[Array, " b"], slopes: Float[Array, " b"], height: int, width: int
) -> Float[Array, "b {height} {width} 1"]:
    """Factors that rise linearly across an image, as in light from one side.

    Args:
      angles: direction of the light in radians; 0: from the right, pi / 2: from below.
      slopes: rise over half a side: factors are 1 in the middle, 1 + slope at the side of the light.
      height: height of the images.
      width: width of the images.
    """
    y, x = (jnp.linspace(-1.0, 1.0, side, dtype=jnp.float32) for side in (height, width))
    down, across = ((slopes * along)[:, None, None] for along in (jnp.sin(angles), jnp.cos(angles)))
    return (1.0 + down * y[:, None] + across * x)[..., None]


def curved(
    images: Float[Array, "b h w 3"], exponents: Float[Array, "b 1 1 1"]
) -> Float[Array, "b h w 3"]:
    """Raises values, as shares of 255, to each image's exponent (gamma); above 1 darkens."""
    # Far cheaper than a power on CPUs; the smallest value stands for 0.
    logarithms = jnp.log2(jnp.maximum(images, 1e-6) / 255.0)
    return 255.0 * jnp.exp2(exponents * logarithms)


def greyed(
    images: Float[Array, "b h w 3"], chosen: Bool[Array, "b 1 1 1"]
) -> Float[Array, "b h w 3"]:
    """Replaces chosen images by their luma."""
    return jnp.where(chosen, _grey(images), images)


def contrasted(
    images: Float[Array, "b h w 3"], factors: Float[Array, "b 1 1 1"]
) -> Float[Array, "b h w 3"]:
    """Scales distances from each image's mean luma by its factor; 0 makes the image evenly grey."""
    mean = _grey(images).mean((1, 2), keepdims=True)
    return _clipped(mean + factors * (images - mean))


def saturated(
    images: Float[Array, "b h w 3"], factors: Float[Array, "b 1 1 1"]
) -> Float[Array, "b h w 3"]:
    """Scales distances from each pixel's luma by the image's factor; 0 removes all colour."""
    grey = _grey(images)
    return _clipped(grey + factors * (images - grey))


def relit(
    key: Key[Array, ""], views: Float[Array, "b h w 3"], light: Light
) -> Float[Array, "b h w 3"]:
    """Views in another light, each by its own draws, in the order of `Light`'s attributes.

    Args:
      key: random key of all draws.
      views: RGB, 0-255.
      light: bounds of the draws.
    """
    count, height, width, _ = views.shape

    def between(number: int, low: float, high: float, channels: int = 1) -> jax.Array:
        own = jax.random.fold_in(key, number)
        return jax.random.uniform(own, (count, 1, 1, channels), jnp.float32, low, high)

    def around(most: float, number: int, channels: int = 1) -> jax.Array:
        return between(number, 1 - most, 1 + most, channels)

    if light.shade:
        angles, slopes = between(5, -math.pi, math.pi), between(6, 0.0, light.shade)
        views = brightened(views, ramps(angles.ravel(), slopes.ravel(), height, width))
    if most := light.cast:
        views = brightened(views, around(most, 4, channels=3))
    if most := light.brightness:
        views = brightened(views, around(most, 0))
    if light.gamma:
        largest = math.log1p(light.gamma)
        views = curved(views, jnp.exp(between(3, -largest, largest)))
    if most := light.contrast:
        views = contrasted(views, around(most, 1))
    if most := light.saturation:
        views = saturated(views, around(most, 2))
    if light.grey:
        views = greyed(views, between(7, 0.0, 1.0) < light.grey)
    return views
