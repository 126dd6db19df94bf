"""The peer of `tests.benchmarks.input`: torch's DataLoader over JPEG files, as torchvision's examples have it.

Runs on a Python of its own that has torch, torchvision and Pillow. Lines of JSON as in torch_peer.py:
{"time": passes} answers the seconds of each pass over the files.
"""

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch  # pyright: ignore[reportMissingImports]  not a dependency of the project
from PIL import Image
from torch.utils import data  # pyright: ignore[reportMissingImports]
from torchvision import transforms  # pyright: ignore[reportMissingImports]


class Faces(data.Dataset):
    """JPEG bytes in memory, decoded, resized, cropped and mirrored when asked for."""

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


def _main() -> None:
    loader = None
    for line in sys.stdin:
        told = json.loads(line)
        try:
            if "open" in told:
                given = told["open"]
                faces = Faces(given["folder"], given["repeats"], given["size"], given["crop"])
                if not given["workers"]:
                    torch.set_num_threads(1)
                loader = data.DataLoader(
                    faces,
                    given["batch"],
                    shuffle=True,
                    num_workers=given["workers"],
                    persistent_workers=given["workers"] > 0,
                )
                sum(len(batch) for batch in loader)  # workers start with the first pass
                answer: dict[str, Any] = {"torch": torch.__version__}
            else:
                assert loader is not None
                seconds = []
                for _ in range(told["time"]):
                    started = time.perf_counter()
                    sum(len(batch) for batch in loader)
                    seconds.append(time.perf_counter() - started)
                answer = {"seconds": seconds}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()
