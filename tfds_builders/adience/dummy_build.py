"""What the tests of this folder share: building small trees and reading the result."""

import json
import tarfile
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from .adience_dataset_builder import Builder


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
        source = open_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        for stored in source:
            text = {name: stored[name].decode() for name in ("key", "subject", "age_label")}
            found[text["key"]] = stored | text | {"split": split}
    return found


def metadata(builder: Builder) -> dict[str, Any]:
    """What the build recorded about itself."""
    return json.loads((Path(builder.data_path) / "metadata.json").read_text())


def pack(manual_dir: Path, config: str, prefix: str = "") -> None:
    """Replaces the folder of images by the archive."""
    folder = manual_dir / config
    with tarfile.open(manual_dir / f"{config}.tar.gz", "w:gz") as archive:
        archive.add(folder, prefix + config)
    folder.rename(manual_dir.parent / f"{config}_as_it_was")
