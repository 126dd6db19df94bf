"""Weights and images of a ViT under timm's names, drawn by both make_vit.py and the tests."""

import numpy as np

from tests.golden import seeded_weights

DEPTH = 2
IMAGES = (2, 64, 96)  # not square: 4 rows of 6 patches
FEATURES = 768

_TOKENS = 1 + (IMAGES[1] // 16) * (IMAGES[2] // 16)
_BLOCK = {
    "norm1.weight": (FEATURES,),
    "norm1.bias": (FEATURES,),
    "attn.qkv.weight": (3 * FEATURES, FEATURES),
    "attn.qkv.bias": (3 * FEATURES,),
    "attn.proj.weight": (FEATURES, FEATURES),
    "attn.proj.bias": (FEATURES,),
    "norm2.weight": (FEATURES,),
    "norm2.bias": (FEATURES,),
    "mlp.fc1.weight": (4 * FEATURES, FEATURES),
    "mlp.fc1.bias": (4 * FEATURES,),
    "mlp.fc2.weight": (FEATURES, 4 * FEATURES),
    "mlp.fc2.bias": (FEATURES,),
}
SHAPES = {
    "cls_token": (1, 1, FEATURES),
    "pos_embed": (1, _TOKENS, FEATURES),
    "patch_embed.proj.weight": (FEATURES, 3, 16, 16),
    "norm_pre.weight": (FEATURES,),
    "norm_pre.bias": (FEATURES,),
    **{f"blocks.{k}.{name}": shape for k in range(DEPTH) for name, shape in _BLOCK.items()},
    "norm.weight": (FEATURES,),
    "norm.bias": (FEATURES,),
}


def draw_weights() -> dict[str, np.ndarray]:
    """Weights by timm's name, in PyTorch's layout: attention neither flat nor on one token, std near 1."""
    weights = {}
    for name, shape in SHAPES.items():
        # seeded_weights divides the gain by a kernel's inputs; tokens and positions have none.
        gain = float(np.prod(shape[1:])) * 0.5 if name in ("cls_token", "pos_embed") else 2.0
        weights[name] = seeded_weights.draw(name, shape, gain=gain)
    return weights


def draw_images() -> np.ndarray:
    """float32[2, 64, 96, 3]."""
    return seeded_weights.draw_images(*IMAGES)
