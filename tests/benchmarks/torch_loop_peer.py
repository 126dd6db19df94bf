"""The peer of `tests.benchmarks.end_to_end`: a training loop as in a good PyTorch project.

DataLoader workers decode, resize, crop and mirror uint8 by torchvision's C++, copied from pinned memory;
the rest is the step of torch_peer.py: channels_last, autocast, compiled on request. Runs in a separate
Python with torch and torchvision. Lines of JSON as in peer_lines.py: {"time": steps} answers
the seconds of each.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch  # pyright: ignore[reportMissingImports]  not a dependency of the project
from peer_lines import serve  # pyright: ignore[reportMissingImports]  beside this script
from torch.nn import functional  # pyright: ignore[reportMissingImports]
from torch.utils import data  # pyright: ignore[reportMissingImports]
from torch_peer import NETWORKS, tuned  # pyright: ignore[reportMissingImports]  beside this script
from torchvision import io, transforms  # pyright: ignore[reportMissingImports]


class Faces(data.Dataset):
    """JPEG files of a folder, `count` of them by repetition, with meaningless labels."""

    def __init__(self, folder: str, count: int, size: int, crop: int, classes: int):
        self._paths = [str(path) for path in sorted(Path(folder).glob("*.jpg"))]
        self._count, self._classes = count, classes
        self._transform = transforms.Compose(
            [
                transforms.Resize((size, size), antialias=False),
                transforms.RandomCrop(crop),
                transforms.RandomHorizontalFlip(),
            ]
        )

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, k: int) -> Any:
        content = io.read_file(self._paths[k % len(self._paths)])
        face = io.decode_jpeg(content, mode=io.ImageReadMode.RGB)
        return self._transform(face), k % self._classes


class Loop:
    """Training over a folder, batch after batch.

    Args:
      name: key of NETWORKS.
      mode: "eager", "channels_last", or "compiled" (which is channels_last too).
      folder: folder of JPEG files.
      faces: faces per epoch.
      size: side that a face is resized to.
      crop: side that the network sees.
      batch: faces per step.
      classes: units of the last layer.
      workers: processes of the DataLoader.
      dtype: float32 or bfloat16 (autocast).
    """

    def __init__(
        self, name: str, mode: str, folder: str, faces: int, size: int, crop: int, batch: int,
        classes: int, workers: int, dtype: str,
    ):  # fmt: skip
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._layout = torch.contiguous_format if mode == "eager" else torch.channels_last
        self._low = dtype == "bfloat16"
        torch.manual_seed(0)
        model = NETWORKS[name](classes).to(self._device).to(memory_format=self._layout)
        self._model = torch.compile(model) if mode == "compiled" else model
        self._optimizer = torch.optim.SGD(model.parameters(), 1e-5, momentum=0.9, weight_decay=5e-4)
        self._mean = torch.tensor([123.0, 117.0, 104.0], device=self._device).view(1, 3, 1, 1)
        self._batches = self._forever(
            data.DataLoader(
                Faces(folder, faces, size, crop, classes),
                batch,
                shuffle=True,
                drop_last=True,
                num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=self._device == "cuda",
            )
        )
        # Batches prefetched while the others were timed.
        self._ahead = 2 * workers

    def _forever(self, loader: Any) -> Iterator[Any]:
        while True:
            yield from loader

    def _step(self) -> None:
        images, labels = next(self._batches)
        images = images.to(self._device, non_blocking=True).to(memory_format=self._layout)
        labels = labels.to(self._device, non_blocking=True)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._low):
            loss = functional.cross_entropy(self._model(images.float() - self._mean), labels)
        loss.backward()
        self._optimizer.step()

    def seconds(self, count: int) -> list[float]:
        """Mean seconds of `count` steps, synchronised once at their end, as at a log line."""
        for _ in range(self._ahead + 2):
            self._step()
        self._wait()
        started = time.perf_counter()
        for _ in range(count):
            self._step()
        self._wait()
        return [(time.perf_counter() - started) / count] * count

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


if __name__ == "__main__":
    tuned()
    serve(lambda **given: Loop(**given).seconds, torch=torch.__version__)
