"""Light and colour: brightness, contrast and saturation of RGB images in 0-255.

Each change has a factor per image and cuts to 0-255, as torchvision's ColorJitter does.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Weights of red, green and blue in ITU-R BT.601's luma, which OpenCV and Pillow call grey.
_LUMA = (0.299, 0.587, 0.114)


def luma(images: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 1"]:
    """How bright pixels look, by ITU-R BT.601."""
    return (images * jnp.array(_LUMA, images.dtype)).sum(-1, keepdims=True)


def _cut(images: jax.Array) -> jax.Array:
    return jnp.clip(images, 0.0, 255.0)


def brightened(
    images: Float[Array, "b h w 3"], factors: Float[Array, "b 1 1 1"]
) -> Float[Array, "b h w 3"]:
    """Values times their image's factor."""
    return _cut(images * factors)


def contrasted(
    images: Float[Array, "b h w 3"], factors: Float[Array, "b 1 1 1"]
) -> Float[Array, "b h w 3"]:
    """Distances from the image's mean luma times its factor; at 0 the image is evenly grey."""
    mean = luma(images).mean((1, 2), keepdims=True)
    return _cut(mean + factors * (images - mean))


def saturated(
    images: Float[Array, "b h w 3"], factors: Float[Array, "b 1 1 1"]
) -> Float[Array, "b h w 3"]:
    """Distances from each pixel's own luma times the image's factor; at 0 the image has no colour."""
    grey = luma(images)
    return _cut(grey + factors * (images - grey))
