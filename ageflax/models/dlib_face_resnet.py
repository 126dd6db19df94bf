"""The ResNets of dlib's face recognition and age predictor, in dlib's layout, so that weights fit."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.layers.convolution import Conv
from ageflax.models.layers.pooling import max_pool

Levels = dict[str, tuple[int, int]]

# Features and blocks of each level; all but the first begin by halving the map.
LEVELS: Levels = {
    "level4": (32, 3), "level3": (64, 4), "level2": (128, 3), "level1": (256, 3), "level0": (256, 1),
}  # fmt: skip
AGE_LEVELS: Levels = {"level3": (64, 1), "level2": (128, 2), "level1": (256, 2)}
_he = nn.initializers.he_normal()
# Less than He's for what a block adds: nothing normalises, and the variance would double at every block.
_added = nn.initializers.variance_scaling(0.2, "fan_in", "truncated_normal")


def halved(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Means of 2x2 pixels; an odd last row or column is dropped."""
    b, h, w, c = x.shape
    x = x[:, : h - h % 2, : w - w % 2]
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def _no_smaller_than_the_kernel(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Repeats the last row and column up to 3x3; dlib refuses such maps, of images under 103 pixels."""
    for axis in (1, 2):
        last = jax.lax.slice_in_dim(x, x.shape[axis] - 1, x.shape[axis], axis=axis)
        x = jnp.concatenate([x, *[last] * (3 - x.shape[axis])], axis)
    return x


def _padded(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Zeros after the last row, column and channel, up to h, w, c."""
    return jnp.pad(x, [(0, 0), *((0, n - own) for n, own in zip(shape, x.shape[1:], strict=True))])


class _Block(nn.Module):
    """Residual block of two 3x3 convolutions; `halving` has stride 2, and no padding before it.

    The shortcut has no convolution. Sides and channels that it and the convolutions do not share are
    zeros: at 150 pixels the last block adds a map of one pixel to one of 2x2.
    """

    features: int
    halving: bool
    dtype: jnp.dtype

    def _conv(self, x: jax.Array, k: int, *, stride: int, padding: int, train: bool) -> jax.Array:
        conv = Conv(
            self.features,
            3,
            strides=stride,
            padding=padding,
            dtype=self.dtype,
            kernel_init=_he if k == 1 else _added,
            name=f"conv{k}",
        )
        return conv(x, train=train)

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h2 w2 c2"]:
        if self.halving:
            x = _no_smaller_than_the_kernel(x)
        stride, padding = (2, 0) if self.halving else (1, 1)
        y = nn.relu(self._conv(x, 1, stride=stride, padding=padding, train=train))
        y = self._conv(y, 2, stride=1, padding=1, train=train)
        if self.halving:
            x = halved(x)
            shape = tuple(map(max, x.shape[1:], y.shape[1:]))
            x, y = _padded(x, shape), _padded(y, shape)
        return nn.relu(x + y)


class DlibFaceResNet(nn.Module):
    """Fourteen residual blocks without batch norm; 150x150 RGB in, 256 out.

    Expects (rgb - (122.782, 117.001, 104.298)) / 256: data.mean = data.deviation = "dlib". Works from
    64 pixels up. Levels have dlib's names, which count down to the last. The layer that makes its
    descriptor of 128 numbers from the features is left out. The affine layer after each of dlib's
    convolutions is merged into it: apart, kernels are some hundred times smaller than drawn ones, and
    the first steps of an optimizer destroy them.

    Attributes:
      width: multiplier of every layer's features; 1 in dlib.
      dropout: probability of dropping a pooled feature.
      dtype: dtype of the computation; parameters are float32.

    References: King, dlib, examples/dnn_face_recognition_ex.cpp.
    """

    width: float = 1.0
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.dtype("float32")

    def levels(self) -> Levels:
        """Features and blocks of each level."""
        return LEVELS

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """Features averaged over the last map: 256 times the width."""

        def features(count: int) -> int:
            return max(round(count * self.width), 1)

        levels = self.levels()
        first = next(iter(levels))
        conv = Conv(
            features(levels[first][0]),
            7,
            strides=2,
            dtype=self.dtype,
            kernel_init=_he,
            name="conv1",
        )
        x = nn.relu(conv(x.astype(self.dtype), train=train))
        x = max_pool(x, window=3, stride=2, train=train)
        for level, (count, blocks) in levels.items():
            for k in range(blocks):
                halving = level != first and not k
                block = _Block(features(count), halving, self.dtype, name=f"{level}_{k}")
                x = block(x, train=train)
        return nn.Dropout(self.dropout, deterministic=not train)(x.mean((1, 2)))


class DlibAgeResNet(DlibFaceResNet):
    """Five residual blocks, the trunk of dlib's age predictor: 64x64 RGB in, 256 out.

    Like DlibFaceResNet, from 31 pixels up.

    References: Cydral Technology, dlib-models, dnn_age_predictor_v1_ex.cpp, 2020.
    """

    def levels(self) -> Levels:
        """Features and blocks of each level."""
        return AGE_LEVELS
