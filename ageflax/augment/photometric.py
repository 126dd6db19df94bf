"""Light and colour of RGB images in 0-255.

Each change takes one factor per image and clips to 0-255, like torchvision's ColorJitter.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Weights of red, green and blue in ITU-R BT.601's luma, which OpenCV and Pillow call grey.
_LUMA = (0.299, 0.587, 0.114)


def luma(images: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 1"]:
    """Luma of ITU-R BT.601, the perceived brightness."""
    return (images * jnp.array(_LUMA, images.dtype)).sum(-1, keepdims=True)


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
    return jnp.where(chosen, luma(images), images)


def contrasted(
    images: Float[Array, "b h w 3"], factors: Float[Array, "b 1 1 1"]
) -> Float[Array, "b h w 3"]:
    """Scales distances from each image's mean luma by its factor; 0 makes the image evenly grey."""
    mean = luma(images).mean((1, 2), keepdims=True)
    return _clipped(mean + factors * (images - mean))


def saturated(
    images: Float[Array, "b h w 3"], factors: Float[Array, "b 1 1 1"]
) -> Float[Array, "b h w 3"]:
    """Scales distances from each pixel's luma by the image's factor; 0 removes all colour."""
    grey = luma(images)
    return _clipped(grey + factors * (images - grey))
