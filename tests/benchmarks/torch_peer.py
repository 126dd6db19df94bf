"""The networks of `training_step` and `inference` in PyTorch: one process, driven by lines of JSON.

Runs in a separate Python with torch and torchvision, and imports nothing of this project. Each line of JSON
on standard input is answered by one: {"open": {...}} builds a network and warms it up, {"time": steps} takes
that many steps and answers the seconds of each. With "task": "inference" a step is a forward pass.
"""

import time
from typing import Any

import torch  # pyright: ignore[reportMissingImports]  not a dependency of the project
import torchvision  # pyright: ignore[reportMissingImports]
from peer_lines import Seconds, serve  # pyright: ignore[reportMissingImports]  beside this script
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]


def _efficientnet_lite0(classes: int) -> Any:
    import timm  # pyright: ignore[reportMissingImports]  needed for this one alone

    return timm.create_model("tf_efficientnet_lite0", num_classes=classes)


class LeviHassner(nn.Module):
    """The paper's network, as ageflax.models.levi_hassner has it."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, stride=4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.fc6, self.fc7 = nn.Linear(384 * 7 * 7, 512), nn.Linear(512, 512)
        self.fc8 = nn.Linear(512, classes)

    def forward(self, x: Any) -> Any:
        for k, conv in enumerate((self.conv1, self.conv2, self.conv3)):
            x = functional.max_pool2d(functional.relu(conv(x)), 3, 2, ceil_mode=True)
            if k < 2:
                x = functional.local_response_norm(x, 5, 1e-4, 0.75, 1.0)
        x = x.flatten(1)
        for dense in (self.fc6, self.fc7):
            x = functional.dropout(functional.relu(dense(x)), 0.5, self.training)
        return self.fc8(x)


NETWORKS = {
    "levi": LeviHassner,
    "resnet34": lambda classes: torchvision.models.resnet34(num_classes=classes),
    "resnet18": lambda classes: torchvision.models.resnet18(num_classes=classes),
    "vgg16_dex": lambda classes: torchvision.models.vgg16(num_classes=classes),
    "efficientnet_lite0": _efficientnet_lite0,
    "vit": lambda classes: torchvision.models.vit_b_16(num_classes=classes),
}


class Training:
    """A network in training on one resident batch.

    Args:
      name: key of NETWORKS.
      mode: "eager", "channels_last", or "compiled" (which is channels_last too).
      batch: images per step.
      crop: side of an image, pixels.
      classes: units of the last layer.
      dtype: float32 or bfloat16 (autocast).
    """

    def __init__(self, name: str, mode: str, batch: int, crop: int, classes: int, dtype: str):
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        layout = torch.contiguous_format if mode == "eager" else torch.channels_last
        torch.manual_seed(0)
        model = NETWORKS[name](classes).to(self._device).to(memory_format=layout)
        self._model = torch.compile(model) if mode == "compiled" else model
        self._optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, weight_decay=5e-4)
        images = torch.randn(batch, 3, crop, crop)
        self._images = images.to(self._device).to(memory_format=layout)
        self._labels = torch.randint(0, classes, (batch,)).to(self._device)
        self._low = dtype == "bfloat16"

    def step(self) -> float:
        """Seconds of one synchronised step."""
        started = time.perf_counter()
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._low):
            loss = functional.cross_entropy(self._model(self._images), self._labels)
        loss.backward()
        self._optimizer.step()
        float(loss.detach())
        if self._device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started


class Inference:
    """A network in inference on one batch, with the arguments of Training."""

    def __init__(self, name: str, mode: str, batch: int, crop: int, classes: int):
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        layout = torch.contiguous_format if mode == "eager" else torch.channels_last
        model = NETWORKS[name](classes).eval().to(self._device).to(memory_format=layout)
        self._model = torch.compile(model) if mode == "compiled" else model
        self._images = torch.randn(batch, 3, crop, crop).to(memory_format=layout)

    def step(self) -> float:
        """Seconds from images in host memory to probabilities there."""
        started = time.perf_counter()
        with torch.inference_mode():
            self._model(self._images.to(self._device)).softmax(-1).cpu()
        return time.perf_counter() - started


def _opened(task: str = "training", **given: Any) -> Seconds:
    timed = (Inference if task == "inference" else Training)(**given)
    for _ in range(2):
        timed.step()
    return lambda count: [timed.step() for _ in range(count)]


def tuned() -> None:
    """Lets PyTorch choose its fastest kernels."""
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")


if __name__ == "__main__":
    tuned()
    serve(_opened, torch=torch.__version__)
