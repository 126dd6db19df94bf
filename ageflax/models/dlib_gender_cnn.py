"""The small network of dlib's gender classifier, in dlib's layout, so that its weights fit."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ageflax.models.dlib_face_resnet import halved
from ageflax.models.layers.convolution import Conv

STAGES = (32, 64)  # features of the two convolutions of each
_FEATURES = 16
_he = nn.initializers.he_normal()


class DlibGenderCNN(nn.Module):
    """Two stages of two 3x3 convolutions and a 2x2 mean, and one dense layer: 32x32 RGB in, 16 out.

    Expects (rgb - (122.782, 117.001, 104.298)) / 256: data.mean = data.deviation = "dlib". The affine
    layer after each of dlib's convolutions is merged into it, and the factor by which dlib scales what
    dropout leaves into the next layer.

    Attributes:
      width: multiplier of every layer's features; 1 in dlib.
      dropout: probability of dropping a value before and after the dense layer.
      dtype: dtype of the computation; parameters are float32.

    References: Cydral Technology, dlib-models, dnn_gender_classifier_v1_ex.cpp, 2019; Antipov et al.,
      Minimalistic CNN-based ensemble model for gender prediction, Pattern Recognition Letters 2016.
    """

    width: float = 1.0
    dropout: float = 0.5
    dtype: jnp.dtype = jnp.dtype("float32")

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """Features of the dense layer: 16 times the width."""

        def features(count: int) -> int:
            return max(round(count * self.width), 1)

        x = x.astype(self.dtype)
        for stage, count in enumerate(STAGES, 1):
            for k in (1, 2):
                conv = Conv(
                    features(count),
                    3,
                    padding=1,
                    dtype=self.dtype,
                    kernel_init=_he,
                    name=f"conv{stage}_{k}",
                )
                x = nn.relu(conv(x, train=train))
            x = halved(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x.reshape(x.shape[0], -1))
        x = nn.Dense(features(_FEATURES), dtype=self.dtype, kernel_init=_he, name="fc6")(x)
        return nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
