"""Makes default_model.npz, the shipped model's answers for four drawn faces; and its card anew.

    python -m tests.golden.make_default_model   # from the repository's root

After the model changed, or the card's template. Contents:
  faces: uint8[4, resize, resize, 3], RGB.
  crops: views per face that are averaged, the model's own.
  years, gender: float32[4, classes], probabilities.
  ages: float32[4], years.
  versions: versions of the packages that made it.
"""

import importlib.metadata
from pathlib import Path

import numpy as np

from ageflax import bundle
from ageflax.bundle import card
from ageflax.bundle.description import read
from ageflax.weights import shipped
from tfds_builders.synthetic_faces import drawing, population

OUTPUT = Path(__file__).with_name("default_model.npz")


def main() -> None:
    """Writes the golden file and the card."""
    card.write(shipped.FOLDER, read(shipped.FOLDER / "config.json"))
    model = bundle.load()
    people = population.populate(population.MIN_PEOPLE, 0)[:: population.MIN_PEOPLE // 4][:4]
    faces = np.stack(
        [model.prepare(drawing.photograph(person, 0, size=128, seed=0)) for person in people]
    )
    crops = model.description.protocol.get("crops") or "center"
    found = {task: np.asarray(values) for task, values in model(faces, crops=crops).items()}
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("jax", "flax")]
    np.savez_compressed(
        OUTPUT,
        allow_pickle=False,
        faces=faces,
        crops=np.array(crops),
        **found,
        ages=np.asarray(model.ages(found).years, np.float32),
        versions=np.array(versions),
    )
    print(f"{', '.join(versions)}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
