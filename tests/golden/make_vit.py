"""Makes vit.npz: class tokens of timm's ViT-B/16 in CLIP's layout.

    python -m tests.golden.make_vit          # from the repository's root

needs torch, timm and numpy, and imports nothing of ageflax. The committed file was made with torch
2.14.1 (CPU), timm 1.0.31, numpy 2.4.6 and Python 3.11.

The network is vit_base_patch16_clip_quickgelu_224 at its full width, cut to two blocks and images of 64x96
pixels; vit_weights.py draws its weights. PyTorch computes in float64.

Contents:
  weights: a probe (see seeded_weights.py) of every array in the order of vit_weights.SHAPES, to tell a
    change of numpy's random streams from a fault of the network.
  blocks: float32[2, 2, 768], class token after each block, by block and image.
  features: float32[2, 768], class token after the last norm.
"""

# pyright: reportMissingImports=false

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from tests.golden import seeded_weights
from tests.golden import vit_weights as shared

OUTPUT = Path(__file__).with_name("vit.npz")
NAME = "vit_base_patch16_clip_quickgelu_224"


def model(**kwargs: Any) -> torch.nn.Module:
    """timm's network with the drawn weights, in float64 and eval mode."""
    net = timm.create_model(
        NAME, num_classes=0, depth=shared.DEPTH, img_size=shared.IMAGES[1:], **kwargs
    )
    shapes = {name: tuple(array.shape) for name, array in net.state_dict().items()}
    assert shapes == shared.SHAPES
    net.load_state_dict({k: torch.from_numpy(v) for k, v in shared.draw_weights().items()})
    return net.double().eval()


def without_first_norm() -> torch.nn.Module:
    """The network without CLIP's norm before the blocks."""
    net = model()
    net.norm_pre = torch.nn.Identity()
    return net


def another_epsilon() -> torch.nn.Module:
    """The network with the epsilon of ViTs other than CLIP's, a tenth as large."""
    net = model()
    for module in net.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-6
    return net


MISTAKES: dict[str, Callable[[], torch.nn.Module]] = {
    "exact GELU": lambda: model(act_layer="gelu"),
    "no norm before the blocks": without_first_norm,
    "epsilon 1e-6": another_epsilon,
    "average of the patches": lambda: model(global_pool="avg", fc_norm=False),
}


def main() -> None:
    """Writes the golden file and prints the effect of likely mistakes."""
    images = torch.tensor(shared.draw_images().transpose(0, 3, 1, 2), dtype=torch.float64)
    net, blocks = model(), []
    for block in net.blocks:
        block.register_forward_hook(lambda _, __, out: blocks.append(out[:, 0]))
    with torch.no_grad():
        features = net(images)
        record = {
            "weights": np.stack([seeded_weights.probe(w) for w in shared.draw_weights().values()]),
            "blocks": torch.stack(blocks).numpy(),
            "features": features.numpy(),
        }
        print(f"features: {features.mean():.2f} +- {features.std():.2f}")
        shallow = model().float()(images.float())
        print(f"float32: they differ by {(shallow - features).abs().max():.1e}")
        for mistake, build in MISTAKES.items():
            difference = (build()(images) - features).abs().max()
            print(f"{mistake}: they differ by {difference:.1e}")
        turned = model()
        rows = turned.pos_embed[:, 1:].unflatten(1, (4, 6))
        turned.pos_embed[:, 1:] = rows.transpose(1, 2).flatten(1, 2)
        print(f"columns before rows: they differ by {(turned(images) - features).abs().max():.1e}")
    kept = {name: array.astype(np.float32) for name, array in record.items()}
    np.savez_compressed(OUTPUT, allow_pickle=False, **kept)
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
