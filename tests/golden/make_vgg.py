"""Makes vgg.npz: features of torchvision's VGG-16.

    python -m tests.golden.make_vgg          # from the repository's root

needs torch, torchvision and numpy, and imports nothing of ageflax. The committed file was made with
torch 2.14.1 (CPU), torchvision 0.29.1, numpy 2.4.6 and Python 3.11.

PyTorch computes in float64. The images have 96x75 pixels, so the last map is 3x2 with pools that round
down; torchvision's average to 7x7 is left out and its first fully connected layer made to fit. The
convolutions have their full width.

Contents:
  names: "name shape" of every array but the last layer's, sorted by name.
  weights: a probe (see seeded_weights.py) of each array, to tell a change of numpy's random streams from
    a fault of the network.
  fc6, fc7: features of two images after ReLU, without dropout.
"""

# pyright: reportMissingImports=false

from pathlib import Path

import numpy as np
import torch
import torchvision

from tests.golden import seeded_weights as shared

OUTPUT = Path(__file__).with_name("vgg.npz")
GAIN = 2.0  # He et al.'s, since no norm keeps the signal
IMAGES = (2, 96, 75)


def features(
    model: torch.nn.Module, images: torch.Tensor, *, channels_last: bool = False
) -> dict[str, np.ndarray]:
    """fc6 and fc7; wrong with channels_last, which flattens the map H, W, C."""
    with torch.no_grad():
        maps = model.features(images)
        flat = (maps.permute(0, 2, 3, 1) if channels_last else maps).flatten(1)
        fc6 = model.classifier[:2](flat)
        return {"fc6": fc6.numpy(), "fc7": model.classifier[2:5](fc6).numpy()}


def main() -> None:
    """Writes the golden file."""
    model = torchvision.models.vgg16()
    model.classifier[0] = torch.nn.Linear(512 * 3 * 2, 4096)
    model.classifier[6] = torch.nn.Identity()
    state = model.eval().state_dict()
    weights = {key: shared.draw(key, tuple(state[key].shape), gain=GAIN) for key in sorted(state)}
    model.load_state_dict({key: torch.from_numpy(w) for key, w in weights.items()})
    images = torch.tensor(shared.draw_images(*IMAGES).transpose(0, 3, 1, 2))
    shallow = features(model, images)["fc7"]
    exact = features(model.double(), images.double())
    wrong = features(model, images.double(), channels_last=True)["fc7"]
    fc7 = exact["fc7"]
    print(f"fc7: {fc7.mean():.2f} +- {fc7.std():.2f}, to {fc7.max():.2f}")
    print(f"float32: they differ by {np.abs(shallow - fc7).max():.1e}")
    print(f"flattened H, W, C: they differ by {np.abs(wrong - fc7).max():.2f}")
    np.savez_compressed(
        OUTPUT,
        allow_pickle=False,
        names=np.array([f"{key} {array.shape}" for key, array in weights.items()]),
        weights=np.stack([shared.probe(array) for array in weights.values()]).astype(np.float32),
        **{key: array.astype(np.float32) for key, array in exact.items()},
    )
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
