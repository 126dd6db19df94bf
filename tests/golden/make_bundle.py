"""Makes bundle/ and bundle.npz: a tiny bundle of random weights, and its answers.

    python -m tests.golden.make_bundle          # from the repository's root

Every later version, on any version of JAX, must read this bundle and give the same answers. The
committed files were made with jax 0.12.0.1, flax 0.12.12, safetensors 0.8.0 and Python 3.12.1 (CPU);
bundle.npz names the versions, too. Do not regenerate them when the format changes; add another folder.

Contents of bundle.npz:
  faces: uint8[4, 32, 32, 3], RGB.
  age, years, gender: float32[4, classes], probabilities.
  ages: float32[4], years.
  versions: versions of the packages that made it.
"""

import importlib.metadata
import platform
from pathlib import Path

import numpy as np

from ageflax.bundle import load
from tests.support import small_bundle

FOLDER = Path(__file__).with_name("bundle")
ANSWERS = Path(__file__).with_name("bundle.npz")


def main() -> None:
    """Writes the golden files."""
    small_bundle.write(FOLDER, "age+years+gender")
    generator = np.random.Generator(np.random.PCG64(1))
    patches = generator.integers(0, 256, (4, 4, 4, 3), np.uint8)
    faces = patches.repeat(8, 1).repeat(8, 2)
    model = load(FOLDER)
    found = {task: np.asarray(values) for task, values in model(faces).items()}
    packages = ("jax", "flax", "safetensors")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    versions.append(f"python {platform.python_version()}")
    ages = np.asarray(model.ages({"years": model(faces)["years"]}).years, np.float32)
    np.savez_compressed(
        ANSWERS, allow_pickle=False, faces=faces, **found, ages=ages, versions=np.array(versions)
    )
    size = sum(path.stat().st_size for path in [ANSWERS, *FOLDER.iterdir()])
    print(f"{', '.join(versions)}: {size} bytes")


if __name__ == "__main__":
    main()
