"""What the tests of this folder share: drawing photographs, writing labels.csv, building, reading."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from .labeled_faces_dataset_builder import Builder

ROWS = (
    "path,age,gender,subject",
    "a.png,26,female,Ann",
    "b.png,31.5,m,Bob",
    "c.png,,F,Cid",
    "d.png,70,Male,Dan",
    "e.png,4,,Eve",
    "f.png,27,f,Ann",
)


def draw(seed: int, side: int = 8) -> np.ndarray:
    """uint8[side, side, 3], another picture for every seed."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def lay_out(folder: Path, rows: Iterable[str] = ROWS) -> Path:
    """Writes labels.csv and a small PNG for each of the paths a.png to h.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate("abcdefgh"):
        (folder / f"{name}.png").write_bytes(encode(Image.fromarray(draw(seed))))
    (folder / "labels.csv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return folder


def build(manual_dir: Path, config: str | None = None, data_dir: Path | None = None) -> Builder:
    """A dataset built from a folder, in array_record, beside that folder."""
    builder = Builder(config=config, data_dir=data_dir or manual_dir.parent / "built")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return builder


def examples(builder: Builder) -> dict[str, dict[str, Any]]:
    """All examples by key, each with the name of its split; text decoded."""
    found: dict[str, dict[str, Any]] = {}
    for split in builder.info.splits:
        # pyright takes TFDS's decorated methods for functions without arguments.
        open_source: Any = builder.as_data_source
        for stored in open_source(split, decoders={"image": tfds.decode.SkipDecoding()}):
            text = {name: stored[name].decode() for name in ("key", "subject", "age_label")}
            found[text["key"]] = stored | text | {"split": split}
    return found


def metadata(builder: Builder) -> dict[str, Any]:
    """What the build recorded about itself."""
    return json.loads((Path(builder.data_path) / "metadata.json").read_text())
