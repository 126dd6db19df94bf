"""Layers as in their formulas, the reference for the forms of each device."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

from ageflax.models import levi_hassner, multitask_gray, vit
from ageflax.models.layers import convolution, pooling, response_norm


def _convolved(
    layer: convolution.Conv, x: jax.Array, kernel: jax.Array, *, train: bool
) -> jax.Array:
    del train  # the same for both
    return convolution.plain_convolution(x, kernel, layer.strides, layer.padding)


def _pooled(x: jax.Array, window: int, stride: int, padding: pooling.Pads) -> jax.Array:
    return pooling.max_pool(x, window=window, stride=stride, padding=padding)


def _normalized(x: jax.Array, **options: Any) -> jax.Array:
    return response_norm.local_response_norm(x, **{**options, "train": False})


def _scores(q: jax.Array, k: jax.Array) -> jax.Array:
    return jnp.einsum("bhqd,bhkd->bhqk", q, k, preferred_element_type=jnp.float32)


@contextlib.contextmanager
def plain_layers() -> Iterator[None]:
    """Code traced inside uses the plain layers, with JAX's own derivatives."""
    with contextlib.ExitStack() as stack:
        for where, name, plain in [
            (convolution.Conv, "_convolved", _convolved),
            (pooling, "_noted", _pooled),
            (response_norm, "platform", lambda: ""),
            (levi_hassner, "local_response_norm", _normalized),
            (multitask_gray, "local_response_norm", _normalized),
            (vit, "_scores", _scores),
        ]:
            stack.enter_context(mock.patch.object(where, name, plain))
        yield
