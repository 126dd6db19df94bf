"""From decoded pixels to the network's input: framing, light, camera, mean, erasing, channel order.

Streamed and resident data take the same path, inside the jitted step. All draws depend only on the
key and the row's place in the batch, so any number of devices draws the same.
"""

import dataclasses
import math
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from ageflax.arrays import AnyArray
from ageflax.augment import photometric
from ageflax.augment.capture import Camera, captured
from ageflax.augment.geometric import Framing, framed_views
from ageflax.augment.photometric import Light, relit
from ageflax.augment.scales import scaled_views

_Part = TypeVar("_Part", Camera, Framing, Light)

# Folded into the key, so that each kind of change has draws of its own; the step folds in a 5.
_AFFINE, _LIGHT, _ERASING, _CAPTURE = 2, 3, 4, 6
# Area and aspect ratio of an erased rectangle (Zhong et al., Random Erasing, AAAI 2020).
_ERASED_AREA, _ERASED_ASPECT = (0.02, 0.2), (0.3, 3.3)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Path from a decoded image to the network's input; static, so hashable.

    Attributes:
      crop: side of the network's input in pixels.
      mirror: True mirrors at random in training.
      channels: "bgr", "rgb", or "grey", the luma of ITU-R BT.601 as one channel.
      erasing: probability of blanking a rectangle in training.
      rotation, zoom, shift, stretch: bounds of a random `Framing` in training.
      shade, cast, brightness, gamma, contrast, saturation, grey: bounds of a random `Light`.
      blur, downscale, noise, jpeg: bounds of a random `Camera`.
    """

    crop: int
    mirror: bool
    channels: str
    rotation: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erasing: float = 0.0
    shift: float = 0.0
    stretch: float = 0.0
    gamma: float = 0.0
    cast: float = 0.0
    shade: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    downscale: float = 1.0
    noise: float = 0.0
    jpeg: int = 0

    def part(self, kind: type[_Part]) -> _Part:
        """The bounds of a framing, of a light or of a camera."""
        return kind(**{f.name: getattr(self, f.name) for f in dataclasses.fields(kind)})

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of a batch of one as the network's input."""
        return (1, self.crop, self.crop, 1 if self.channels == "grey" else 3)


def _crop(
    image: Float[Array, "h w c"], offset: Int[Array, " 2"], size: int
) -> Float[Array, "size size c"]:
    zero = jnp.zeros((), offset.dtype)
    return jax.lax.dynamic_slice(image, (offset[0], offset[1], zero), (size, size, image.shape[2]))


def _mirrored(views: Float[Array, "b h w c"], mirrored: Bool[Array, "b 1 1 1"] | None) -> jax.Array:
    return views if mirrored is None else jnp.where(mirrored, views[:, :, ::-1], views)


def _cropped(
    images: jax.Array,
    mean: Float[AnyArray, "mh mw 3"],
    std: Float[AnyArray, "dh dw 3"] | None,
    offsets: Int[Array, "b 2"],
    mirrored: Bool[Array, "b 1 1 1"] | None,
    *,
    size: int,
) -> Float[Array, "b size size 3"]:
    """Crops of the images less the mean, mirrored if asked; bit-identical on all platforms.

    On GPUs each pixel is fetched by its index, mirroring included: one load per value, where slices
    and a choice between them take two. Elsewhere such loads are slow, and slices are copied whole.
    """

    def indexed(images: jax.Array, mean: jax.Array, offsets: jax.Array) -> jax.Array:
        along = jnp.arange(size, dtype=offsets.dtype)[None]
        across = along
        if mirrored is not None:
            across = jnp.where(mirrored[:, :, 0, 0], size - 1 - along, along)
        rows, columns = (offsets[:, :1] + along)[:, :, None], (offsets[:, 1:] + across)[:, None]

        def under(values: AnyArray) -> jax.Array:
            whole = jnp.asarray(values)
            if whole.shape[0] == 1:
                return whole
            return whole.at[rows, columns].get(mode="promise_in_bounds")

        each = jnp.arange(len(images), dtype=offsets.dtype)[:, None, None]
        views = images.at[each, rows, columns].get(mode="promise_in_bounds")
        centred = jnp.asarray(views, jnp.float32) - under(mean)
        return centred if std is None else centred / under(std)

    def sliced(images: jax.Array, mean: jax.Array, offsets: jax.Array) -> jax.Array:
        views = jax.vmap(_crop, in_axes=(0, 0, None))(_centred(images, mean, std), offsets, size)
        return _mirrored(views, mirrored)

    return jax.lax.platform_dependent(
        images, jnp.asarray(mean), offsets, cuda=indexed, default=sliced
    )


def _centred(
    images: Float[Array, "b h w 3"] | UInt8[AnyArray, "b h w 3"],
    mean: Float[AnyArray, "mh mw 3"],
    std: Float[AnyArray, "dh dw 3"] | None,
) -> jax.Array:
    """Subtracts the mean from the whole decoded image, as Caffe does, before any crop."""
    centred = jnp.asarray(images, jnp.float32) - mean
    return centred if std is None else centred / std


def _order(images: jax.Array, channels: str) -> jax.Array:
    if channels == "grey":
        return photometric.luma(images)
    return images[..., ::-1] if channels == "bgr" else images


def _settled(key: Key[Array, ""], views: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """The views, held in memory where XLA would fetch them anew for each of their uses.

    On CPUs it merges loads by index into all that follows, which then takes four times as long, and
    drops optimization barriers. A condition that it cannot foresee is one.
    """

    def held(views: jax.Array) -> jax.Array:
        return jax.lax.cond(jax.random.uniform(key) < 1.0, lambda v: v, jnp.zeros_like, views)

    return jax.lax.platform_dependent(views, cpu=held, default=lambda v: v)


def _erased(
    key: Key[Array, ""], views: Float[Array, "b h w c"], probability: float
) -> Float[Array, "b h w c"]:
    """Sets a rectangle of some views to zero, the mean after its subtraction."""
    count, height, width, _ = views.shape
    chosen_key, area_key, aspect_key, place_key = jax.random.split(key, 4)
    area = jax.random.uniform(area_key, (count,), jnp.float32, *_ERASED_AREA) * height * width
    low, high = (math.log(bound) for bound in _ERASED_ASPECT)
    aspect = jnp.exp(jax.random.uniform(aspect_key, (count,), jnp.float32, low, high))
    tall = jnp.minimum(jnp.round(jnp.sqrt(area * aspect)), height)
    wide = jnp.minimum(jnp.round(jnp.sqrt(area / aspect)), width)
    place = jax.random.uniform(place_key, (2, count))
    top = jnp.floor(place[0] * (height - tall + 1.0))[:, None]
    left = jnp.floor(place[1] * (width - wide + 1.0))[:, None]
    rows = jnp.arange(height, dtype=jnp.float32)
    columns = jnp.arange(width, dtype=jnp.float32)
    across = (rows >= top) & (rows < top + tall[:, None])
    along = (columns >= left) & (columns < left + wide[:, None])
    chosen = jax.random.bernoulli(chosen_key, probability, (count, 1, 1))
    return jnp.where((across[:, :, None] & along[:, None, :] & chosen)[..., None], 0.0, views)


def training_views(
    key: Key[Array, ""],
    images: UInt8[AnyArray, "b h w 3"],
    mean: Float[AnyArray, "mh mw 3"],
    preprocessing: Preprocessing,
    *,
    std: Float[AnyArray, "dh dw 3"] | None = None,
) -> Float[Array, "b crop crop _"]:
    """One random crop of each image, mirrored with probability one half, with all further changes.

    Args:
      key: random key of all draws.
      images: RGB, 0-255.
      mean: subtracted before the crop; of the images' size or 1x1.
      preprocessing: crop size, mirroring, channel order and further changes.
      std: divisor, applied after the mean is subtracted; of the images' size or 1x1, None for ones.
    """
    count, height, width, _ = images.shape
    size = preprocessing.crop
    crop_key, mirror_key = jax.random.split(key)
    limits = jnp.array([height - size + 1, width - size + 1], jnp.int32)
    offsets = jax.random.randint(crop_key, (count, 2), 0, limits, jnp.int32)
    mirrored = None
    if preprocessing.mirror:
        mirrored = jax.random.bernoulli(mirror_key, shape=(count, 1, 1, 1))
    framing, light = preprocessing.part(Framing), preprocessing.part(Light)
    camera = preprocessing.part(Camera)

    def cut(images: jax.Array, mean: AnyArray, std: AnyArray | None) -> jax.Array:
        if framing == Framing():
            return _cropped(images, mean, std, offsets, mirrored, size=size)
        centred = _centred(images, mean, std)
        own = jax.random.fold_in(key, _AFFINE)
        return _mirrored(framed_views(own, centred, offsets, framing, size), mirrored)

    if light == Light() and camera == Camera():
        views = cut(jnp.asarray(images), mean, std)
    else:
        # Light and camera come before the mean; a mean image is then cut out as the image was.
        plain = jnp.zeros((1, 1, 3), jnp.float32)
        views = _settled(key, cut(jnp.asarray(images), plain, None))
        views = relit(jax.random.fold_in(key, _LIGHT), views, light)
        views = captured(jax.random.fold_in(key, _CAPTURE), views, camera)

        def beneath(values: AnyArray) -> AnyArray:
            whole = values.shape[0] > 1
            return cut(jnp.broadcast_to(values, images.shape), plain, None) if whole else values

        views = views - beneath(mean)
        if std is not None:
            views = views / beneath(std)
    if preprocessing.erasing:
        views = _erased(jax.random.fold_in(key, _ERASING), views, preprocessing.erasing)
    return _order(views, preprocessing.channels)


def chosen_features(
    key: Key[Array, ""], features: Float[AnyArray, "b views f"]
) -> Float[Array, "b f"]:
    """Features of one view of each face, drawn at random."""
    count, views, _ = features.shape
    which = jax.random.randint(key, (count, 1, 1), 0, views)
    return jnp.take_along_axis(jnp.asarray(features), which, axis=1)[:, 0]


def eval_views(
    images: Float[Array, "b h w 3"] | UInt8[AnyArray, "b h w 3"],
    mean: Float[AnyArray, "mh mw 3"],
    preprocessing: Preprocessing,
    *,
    crops: str,
    std: Float[AnyArray, "dh dw 3"] | None = None,
) -> Float[Array, "b views crop crop _"]:
    """Fixed views whose probabilities are averaged at test.

    "center" is one view; "mirror" adds its mirror; "ten" is Caffe's over-sample: the four corners and
    the centre, then their mirrors; "scales" is the centre and its `scaled_views`, then their mirrors.
    The centre offset rounds down, as Caffe's does.
    """
    size = preprocessing.crop
    bottom, right = images.shape[1] - size, images.shape[2] - size
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    centred = _centred(images, mean, std)
    offsets = corners if crops == "ten" else corners[-1:]
    cut = [centred[:, y : y + size, x : x + size] for y, x in offsets]
    if crops == "scales":
        cut += scaled_views(centred, size)
    views = jnp.stack(cut, axis=1)
    if crops != "center":
        views = jnp.concatenate([views, views[:, :, :, ::-1]], axis=1)
    return _order(views, preprocessing.channels)
