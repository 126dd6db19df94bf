"""Makes mtcnn.npz: outputs of the networks of the package mtcnn, whose code runs on TensorFlow.

    python -m tests.golden.make_mtcnn          # from the repository's root

needs mtcnn and tensorflow, and imports nothing of ageflax. The committed file was made with mtcnn 1.0.0,
tensorflow-cpu 2.21.0 (float32), numpy 2.3.5 and Python 3.11.

Contents, NET being pnet, rnet or onet:
  NET/K: the network's output K for images(NET), as the package has it, [n, h, w, d] or [n, d], the
    classes' probabilities last.
"""

# pyright: reportMissingImports=false

from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).with_name("mtcnn.npz")
# Numbers, heights and widths; the first network takes any size, here odd and even ones.
SHAPES = {"pnet": (2, 31, 40), "rnet": (5, 24, 24), "onet": (5, 48, 48)}


def images(name: str) -> np.ndarray:
    """uint8[n, h, w, 3], smooth noise of full contrast."""
    number, height, width = SHAPES[name]
    draws = np.random.default_rng(len(name) + height)
    coarse = draws.uniform(size=(number, height // 4 + 2, width // 4 + 2, 3))
    rows, columns = np.arange(height) / 4, np.arange(width) / 4
    upper, left = rows.astype(int), columns.astype(int)
    down, across = (rows - upper)[:, None, None], (columns - left)[:, None]
    above, below = coarse[:, upper], coarse[:, upper + 1]
    mixed = above * (1 - down) + below * down
    mixed = mixed[:, :, left] * (1 - across) + mixed[:, :, left + 1] * across
    return np.round(255 * mixed).astype(np.uint8)


def main() -> None:
    """Writes the file."""
    from mtcnn import MTCNN

    stages = dict(zip(SHAPES, MTCNN().stages, strict=True))
    arrays = {
        f"{name}/{place}": output.numpy()
        for name, stage in stages.items()
        for place, output in enumerate(stage.model((images(name) - np.float32(127.5)) / 128))
    }
    np.savez_compressed(OUTPUT, **arrays)


if __name__ == "__main__":
    main()
