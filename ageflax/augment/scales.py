"""The face framed more widely and more closely, for the average at test."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def _resampling(size: int, start: float, side: float, crop: int) -> Float[np.ndarray, "size crop"]:
    """Weights that resample a line of pixels to those of a crop, as columns that sum to one.

    Triangles as wide as a pixel of the larger of the two grids, so nothing aliases.

    Args:
      size: pixels of the line.
      start: place where the crop begins, in pixels of the line; may be fractional.
      side: length of the crop, in pixels of the line.
      crop: pixels of the crop.
    """
    step = side / crop
    places = start + (np.arange(crop) + 0.5) * step - 0.5
    away = np.abs(np.arange(size)[:, None] - places)
    weights = np.maximum(1.0 - away / max(step, 1.0), 0.0)
    return (weights / weights.sum(0)).astype(np.float32)


def scaled_views(images: Float[Array, "b h w 3"], crop: int) -> list[Float[Array, "b crop crop 3"]]:
    """The whole image, and as much closer than the centre crop as that is wider; both at its size.

    The two factors cancel, so that faces look neither larger nor smaller on average. Empty if the
    crop is the whole image.

    Args:
      images: centred images.
      crop: side of the views in pixels.
    """
    factor = min(images.shape[1:3]) / crop
    views = []
    for side in (crop * factor, crop / factor) if factor > 1 else ():
        view = images
        for size in images.shape[1:3]:
            start = (size - crop) // 2 + (crop - side) / 2
            weights = _resampling(size, start, side, crop)
            # The resampled axis becomes the last: after both, the order is b, c, y, x. The matrix is
            # on the right, where an exported product has it.
            view = jnp.tensordot(view, weights, axes=(1, 0), precision=jax.lax.Precision.HIGHEST)
        views.append(jnp.transpose(view, (0, 2, 3, 1)))
    return views
