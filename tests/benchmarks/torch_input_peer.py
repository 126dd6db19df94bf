"""The peer of `tests.benchmarks.input`: torch's DataLoader over JPEG files, as in torchvision's examples.

Runs in a separate Python with torch, torchvision and Pillow. Lines of JSON as in peer_lines.py:
{"time": passes} answers the seconds of each pass over the files.
"""

import io
import time
from pathlib import Path
from typing import Any

import torch  # pyright: ignore[reportMissingImports]  not a dependency of the project
from peer_lines import Seconds, serve  # pyright: ignore[reportMissingImports]  beside this script
from PIL import Image
from torch.utils import data  # pyright: ignore[reportMissingImports]
from torchvision import transforms  # pyright: ignore[reportMissingImports]


class Faces(data.Dataset):
    """JPEG bytes in memory, decoded, resized, cropped and mirrored on access."""

    def __init__(self, folder: str, repeats: int, size: int, crop: int):
        self._contents = [
            path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))
        ] * repeats
        self._transform = transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.RandomCrop(crop),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.5,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, k: int) -> Any:
        return self._transform(Image.open(io.BytesIO(self._contents[k])).convert("RGB"))


def _opened(folder: str, repeats: int, size: int, crop: int, batch: int, workers: int) -> Seconds:
    if not workers:
        torch.set_num_threads(1)
    loader = data.DataLoader(
        Faces(folder, repeats, size, crop),
        batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def once() -> float:
        started = time.perf_counter()
        sum(len(batch) for batch in loader)
        return time.perf_counter() - started

    once()  # workers start with the first pass
    return lambda count: [once() for _ in range(count)]


if __name__ == "__main__":
    serve(_opened, torch=torch.__version__)
