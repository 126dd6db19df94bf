"""Vision transformer of CLIP and FaRL."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array, Float

from ageflax.models.layers.platform import platform

_PATCH = 16
_HEAD = 64  # features of an attention head


def _quick_gelu(x: jax.Array) -> jax.Array:
    """CLIP's x * sigmoid(1.702 x); weights trained with it do not fit the exact GELU."""
    return x * jax.nn.sigmoid(1.702 * x)


class _LayerNorm(nn.Module):
    """Layer norm computed in float32, as in CLIP, and returned in the input's dtype.

    References: Ba et al., Layer Normalization, 2016.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
        exact = x.astype(jnp.float32)
        exact = exact - exact.mean(-1, keepdims=True)
        exact = exact * jax.lax.rsqrt(jnp.square(exact).mean(-1, keepdims=True) + 1e-5)
        return (exact * scale + bias).astype(x.dtype)


@jax.custom_vjp
def _scores(q: Float[Array, "b h q d"], k: Float[Array, "b h k d"]) -> Float[Array, "b h q k"]:
    """Products of queries and keys in float32; rounded to bfloat16, a sharp softmax would have ties.

    Their gradient is rounded: in float32 it would keep both derivatives off the bfloat16 matrix units.
    """
    return jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=jnp.float32)


def _scores_forward(q: jax.Array, k: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _scores(q, k), (q, k)


def _scores_backward(
    kept: tuple[jax.Array, jax.Array], outer: jax.Array
) -> tuple[jax.Array, jax.Array]:
    (q, k), outer = kept, outer.astype(kept[0].dtype)
    return outer @ k, outer.swapaxes(-1, -2) @ q


_scores.defvjp(_scores_forward, _scores_backward)


@jax.custom_vjp
def _summed_once(x: jax.Array) -> jax.Array:
    """x, whose gradient is added up before it is used.

    Otherwise XLA on CPUs adds the gradients of all later blocks up anew in each block's derivatives. A
    call that is not inlined is the one boundary that its fusion respects; barriers are gone by then.
    """
    return x


def _summed_once_forward(x: jax.Array) -> tuple[jax.Array, None]:
    return x, None


@jax.jit
def _unchanged(outer: jax.Array) -> jax.Array:
    return outer + 0  # JAX drops a call that returns its argument


def _summed_once_backward(_: None, outer: jax.Array) -> tuple[jax.Array]:
    with set_xla_metadata(inlineable="false"):
        return (_unchanged(outer),)


_summed_once.defvjp(_summed_once_forward, _summed_once_backward)


class _Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Attributes:
      drop_path: probability of skipping each branch for a face.
      dtype: dtype of the computation.
    """

    drop_path: float
    dtype: jnp.dtype

    def _dense(
        self, x: Float[Array, "b t c"], features: int, name: str, *, train: bool
    ) -> Float[Array, "b t f"]:
        """Dense layer over each token; in training on CPUs, all faces' tokens form one axis.

        With three axes, the kernel's derivative sums over two, for which XLA on CPUs first copies both
        operands: half again the time of all products. TPUs keep three axes.
        """
        layer = nn.Dense(features, dtype=self.dtype, name=name)
        if not train or platform() != "cpu":
            return layer(x)
        return layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)

    def _attend(self, x: jax.Array, *, train: bool) -> jax.Array:
        batch, tokens, width = x.shape
        qkv = self._dense(x, 3 * width, "qkv", train=train)
        # Contiguous tokens per head: products over strided heads run at half the speed on CPUs.
        q, k, v = qkv.reshape(batch, tokens, 3, -1, _HEAD).transpose(2, 0, 3, 1, 4)
        # Scaled before, not after: a power of two is exact, and there are fewer queries than scores.
        weights = jax.nn.softmax(_scores(q * _HEAD**-0.5, k)).astype(self.dtype)
        x = (weights @ v).swapaxes(1, 2).reshape(batch, tokens, width)
        return self._dense(x, width, "projection", train=train)

    def _kept(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Stochastic depth: skips the branch for some faces and scales it up for the others."""
        return nn.Dropout(self.drop_path, broadcast_dims=(1, 2), deterministic=not train)(x)

    @nn.compact
    def __call__(self, x: Float[Array, "b t c"], *, train: bool) -> Float[Array, "b t c"]:
        stream = _summed_once if train and platform() == "cpu" else lambda x: x
        x = stream(x)
        x = x + self._kept(self._attend(_LayerNorm(name="norm1")(x), train=train), train=train)
        x = stream(x)
        y, width = _LayerNorm(name="norm2")(x), x.shape[-1]
        y = _quick_gelu(self._dense(y, 4 * width, "fc1", train=train))
        y = self._dense(y, width, "fc2", train=train)
        return x + self._kept(y, train=train)


class ViTB16(nn.Module):
    """Twelve transformer blocks over 16x16 patches; 224x224 RGB in, 768 out.

    224x224x3 - 14x14 patches - 196 + 1 tokens of 768 - norm - 12 blocks of 12 heads - the class token,
    normed. The layout is that of CLIP's image encoder: no bias in the patches' convolution, a norm
    before the blocks, QuickGELU, epsilon 1e-5. The output precedes CLIP's projection to the 512
    features shared with texts, which fine-tuning does not need.

    It is meant for the weights of FaRL, a CLIP trained on 20 million faces of LAION with captions and
    on masked images. In the benchmark of Paplham and Franc, whose splits are published, its 512 frozen
    features under two trained layers reach a mean error of 3.87 years on UTKFace; a fully trained
    ResNet-50 reaches 4.38 at best with any loss. Images are RGB with CLIP's mean and std.

    Alternatives as of late 2026: MiVOLO is the best specialist in a comparison without training (Ren et
    al. 2026), but it is a finished age network that also needs bodies, under its own terms; the language
    models that beat it there are far too large to train here. FAHR-Face (Haugg et al. 2025), a masked
    autoencoder of 40 million faces with public weights, is the one to try next; its 5.1 years are on
    other faces, so it has not been compared with FaRL. FSFM's ViTs (Wang et al., CVPR 2025) detect
    forgeries and have no known age result.

    Initialisation is flax's (LeCun's), for tokens and positions CLIP's. To train from scratch on a few
    thousand faces, a convolutional network is the better choice.

    Attributes:
      width: multiplier of the 768 features, rounded to heads of 64.
      depth: number of blocks.
      drop_path: probability of skipping a branch of the last block for a face in training; it grows
        linearly from zero in the first block.
      dtype: dtype of the computation; parameters, softmax and norms are float32.

    References: Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021; Radford et al., CLIP, ICML
      2021; Zheng et al., General Facial Representation Learning in a Visual-Linguistic Manner (FaRL),
      CVPR 2022; Paplham & Franc, A Call to Reflect on Evaluation Practices for Age Estimation, CVPR
      2024; Huang et al., Deep Networks with Stochastic Depth, ECCV 2016; Ren et al., arXiv 2602.07815;
      Haugg et al., arXiv 2506.14909.
    """

    width: float = 1.0
    depth: int = 12
    drop_path: float = 0.0
    dtype: jnp.dtype = jnp.dtype("float32")

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b f"]:
        """The class token after the last norm.

        Raises:
          ValueError: a side is not a multiple of 16.
        """
        if x.shape[1] % _PATCH or x.shape[2] % _PATCH:
            raise ValueError(
                f"{x.shape[1]}x{x.shape[2]} pixels: sides must be multiples of {_PATCH}"
            )
        width = _HEAD * max(round(768 * self.width / _HEAD), 1)
        x = nn.Conv(
            width,
            (_PATCH, _PATCH),
            strides=_PATCH,
            padding="VALID",
            use_bias=False,
            dtype=self.dtype,
            name="patch_embedding",
        )(x.astype(self.dtype))
        x = x.reshape(x.shape[0], -1, width)
        normal = nn.initializers.normal(width**-0.5)  # CLIP's
        token = self.param("class_token", normal, (width,), jnp.float32)
        position = self.param("position_embedding", normal, (1 + x.shape[1], width), jnp.float32)
        tokens = jnp.broadcast_to(token.astype(self.dtype), (x.shape[0], 1, width))
        x = jnp.concatenate([tokens, x], axis=1) + position.astype(self.dtype)
        x = _LayerNorm(name="pre_norm")(x)
        for k in range(self.depth):
            rate = self.drop_path * k / max(self.depth - 1, 1)
            x = _Block(rate, self.dtype, name=f"block_{k}")(x, train=train)
        return _LayerNorm(name="post_norm")(x[:, 0])
