"""Helpers of this folder's tests."""

import tarfile
from pathlib import Path

from tests.support.built_dataset import builds

from .adience_dataset_builder import Builder

build = builds(Builder)


def pack(manual_dir: Path, config: str, prefix: str = "") -> None:
    """Replaces the folder of images with the archive."""
    folder = manual_dir / config
    with tarfile.open(manual_dir / f"{config}.tar.gz", "w:gz") as archive:
        archive.add(folder, prefix + config)
    folder.rename(manual_dir.parent / f"{config}_as_it_was")
