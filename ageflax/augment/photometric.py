"""Brightness, contrast and saturation of RGB images in 0-255.

Each change takes one factor per image and clips to 0-255, like torchvision's ColorJitter.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Weights of red, green and blue in ITU-R BT.601's luma, which OpenCV and Pillow call grey.
_LUMA = (0.299, 0.587, 0.114)


def luma(images: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 1"]:
    """Luma of ITU-R BT.601, the perceived brightness."""
    return (images * jnp.array(_LUMA, images.dtype)).sum(-1, keepdims=True)


def _clipped(images: jax.Array) -> jax.Array:
    return jnp.clip(images, 0.0, 255.0)


def brightened(
    images: Float[Array, "b h w 3"], factors: Float[Array, "b 1 1 1"]
) -> Float[Array, "b h w 3"]:
    """Multiplies each image by its factor."""
    return _clipped(images * factors)


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
