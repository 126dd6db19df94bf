"""Makes resnet.npz: features, batch statistics and gradients of torchvision's ResNets.

    python -m tests.golden.make_resnet          # from the repository's root

needs torch, torchvision and numpy, and imports nothing of ageflax. The committed file was made with
torch 2.14.1 (CPU), torchvision 0.29.1, numpy 2.4.6 and Python 3.11.

PyTorch computes in float64, so the file holds the networks' values without one library's rounding.

Contents, NET being resnet18, resnet34 or resnet50:
  NET/names: "name shape" of every array but the classifier's, sorted.
  NET/weights: a probe (see seeded_weights.py) of every array, to tell a change of numpy's random
    streams from a fault of the network.
  NET/eval: features before the classifier, for images of EVAL_SIZES, with running statistics.
  NET/train: the same for eight images of 80x112 pixels with the batch's statistics.
  NET/statistics: a probe of every running mean and variance after that pass, in the order of NET/names.
  NET/gradients: for resnet18 only, a probe of every parameter's gradient of the sum of NET/train times
    directions().
  sizes: height and width of the maps after conv1, layer1, ..., layer4, for images of SIDES.
"""

# pyright: reportMissingImports=false

from pathlib import Path

import numpy as np
import torch
import torchvision

from tests.golden import seeded_weights as shared

OUTPUT = Path(__file__).with_name("resnet.npz")
GAIN = 0.5  # neither shortcuts nor residuals dominate, whatever the running statistics
TRAIN = (
    8,
    80,
    112,
)  # 96 values per channel in the last batch norms; with 16, rounding grows to 3e-4
# Two odd sizes that are not square, and the usual one.
EVAL_SIZES = {"resnet18": (2, 71, 93), "resnet34": (1, 224, 224), "resnet50": (2, 59, 80)}
SIDES = ((59, 71), (80, 113), (224, 224))
STAGES = ("conv1", "layer1", "layer2", "layer3", "layer4")


def directions(features: int) -> np.ndarray:
    """float32[8, features], standard normals."""
    return shared.draw("directions", (TRAIN[0], features), gain=float(features))


def _torch(images: np.ndarray) -> torch.Tensor:
    return torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float64)


def _model(name: str) -> tuple[torch.nn.Module, dict[str, np.ndarray]]:
    """The network without its classifier, and its drawn weights by sorted name."""
    model = getattr(torchvision.models, name)()
    model.fc = torch.nn.Identity()
    state = model.state_dict()
    names = sorted(key for key in state if not key.endswith("num_batches_tracked"))
    weights = {key: shared.draw(key, tuple(state[key].shape), gain=GAIN) for key in names}
    model.load_state_dict({key: torch.from_numpy(w) for key, w in weights.items()}, strict=False)
    return model.double(), weights


def record(name: str) -> dict[str, np.ndarray]:
    """All arrays of one network."""
    model, weights = _model(name)
    found = {
        "names": np.array([f"{key} {weights[key].shape}" for key in weights]),
        "weights": np.stack([shared.probe(w) for w in weights.values()]),
    }
    with torch.no_grad():
        images = _torch(shared.draw_images(*EVAL_SIZES[name]))
        found["eval"] = model.eval()(images).numpy()
        shallow = {"eval": model.float()(images.float()).numpy()}
    model, _ = _model(name)
    features = model.train()(_torch(shared.draw_images(*TRAIN)))
    found["train"] = features.detach().numpy()
    state = model.state_dict()
    found["statistics"] = np.stack(
        [shared.probe(state[k].numpy()) for k in weights if "running" in k]
    )
    if name == "resnet18":
        (features * torch.from_numpy(directions(features.shape[1]))).sum().backward()
        gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
        found["gradients"] = np.stack(
            [shared.probe(gradients[k].numpy()) for k in sorted(gradients)]
        )
    with torch.no_grad():
        model, _ = _model(name)
        shallow["train"] = model.float().train()(_torch(shared.draw_images(*TRAIN)).float()).numpy()
    for key, rounded in shallow.items():
        print(
            f"{name}: {key} features {found[key].mean():.2f} +- {found[key].std():.2f};"
            f" in float32 they differ by {np.abs(rounded - found[key]).max():.1e}"
        )
    return {f"{name}/{key}": values for key, values in found.items()}


def sizes() -> np.ndarray:
    """int[len(SIDES), len(STAGES), 2]."""
    model, shapes = torchvision.models.resnet18(), []
    for stage in STAGES:
        layer = getattr(model, stage)
        layer.register_forward_hook(lambda _, __, out: shapes.append(out.shape[2:]))
    with torch.no_grad():
        for side in SIDES:
            model(torch.zeros(1, 3, *side))
    return np.array(shapes).reshape(len(SIDES), len(STAGES), 2)


def main() -> None:
    """Writes the golden file."""
    found = {"sizes": sizes()}
    for name in EVAL_SIZES:
        found |= record(name)
    kept = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in found.items()}
    np.savez_compressed(OUTPUT, allow_pickle=False, **kept)
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
