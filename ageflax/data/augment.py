"""What happens to decoded pixels on the device: mean, crop, mirror, channel order.

One path for streamed and resident data alike, inside the jitted step. Everything random is a
function of the key, and of the row's place in the batch alone, so any number of devices draws the
same.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key, UInt8

from ageflax.structs import AnyArray

# Weights of red, green and blue in ITU-R BT.601's luma, which OpenCV and Pillow call grey.
_LUMA = (0.299, 0.587, 0.114)


@struct.dataclass
class Preprocessing:
    """How the network sees a decoded image; static, so hashable.

    Attributes:
      crop: side in pixels of what the network sees.
      mirror: mirror at random in training.
      channels: "bgr", "rgb", or "grey", the luma of ITU-R BT.601 as one channel.
    """

    crop: int = struct.field(pytree_node=False)
    mirror: bool = struct.field(pytree_node=False)
    channels: str = struct.field(pytree_node=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of one image as the network sees it, with its batch axis."""
        return (1, self.crop, self.crop, 1 if self.channels == "grey" else 3)


def _crop(
    image: Float[Array, "h w c"], offset: Int[Array, " 2"], size: int
) -> Float[Array, "size size c"]:
    zero = jnp.zeros((), offset.dtype)
    return jax.lax.dynamic_slice(image, (offset[0], offset[1], zero), (size, size, image.shape[2]))


def _centred(images: UInt8[AnyArray, "b h w 3"], mean: Float[AnyArray, "mh mw 3"]) -> jax.Array:
    """The mean image lies under the whole decoded image, as in Caffe, and is cropped with it."""
    return jnp.asarray(images, jnp.float32) - mean


def _order(images: jax.Array, channels: str) -> jax.Array:
    if channels == "grey":
        return (images * jnp.array(_LUMA, images.dtype)).sum(-1, keepdims=True)
    return images[..., ::-1] if channels == "bgr" else images


def training_views(
    key: Key[Array, ""],
    images: UInt8[AnyArray, "b h w 3"],
    mean: Float[AnyArray, "mh mw 3"],
    preprocessing: Preprocessing,
) -> Float[Array, "b crop crop _"]:
    """One random crop of each image, mirrored with probability one half.

    Args:
      key: decides offsets and mirrors.
      images: RGB, 0-255.
      mean: subtracted before the crop; of the images' size, or 1x1.
      preprocessing: crop size, mirroring, channel order.
    """
    count, height, width, _ = images.shape
    size = preprocessing.crop
    crop_key, mirror_key = jax.random.split(key)
    limits = jnp.array([height - size + 1, width - size + 1], jnp.int32)
    offsets = jax.random.randint(crop_key, (count, 2), 0, limits, jnp.int32)
    views = jax.vmap(_crop, in_axes=(0, 0, None))(_centred(images, mean), offsets, size)
    if preprocessing.mirror:
        mirrored = jax.random.bernoulli(mirror_key, shape=(count, 1, 1, 1))
        views = jnp.where(mirrored, views[:, :, ::-1], views)
    return _order(views, preprocessing.channels)


def eval_views(
    images: UInt8[AnyArray, "b h w 3"],
    mean: Float[AnyArray, "mh mw 3"],
    preprocessing: Preprocessing,
    *,
    crops: str,
) -> Float[Array, "b views crop crop _"]:
    """The fixed views whose probabilities are averaged at test.

    "center" is one view; "ten" is Caffe's over-sample: the four corners and the centre, then their
    mirrors. The centre offset rounds down, as Caffe's does.
    """
    size = preprocessing.crop
    bottom, right = images.shape[1] - size, images.shape[2] - size
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    centred = _centred(images, mean)
    offsets = corners if crops == "ten" else corners[-1:]
    views = jnp.stack([centred[:, y : y + size, x : x + size] for y, x in offsets], axis=1)
    if crops == "ten":
        views = jnp.concatenate([views, views[:, :, :, ::-1]], axis=1)
    return _order(views, preprocessing.channels)
