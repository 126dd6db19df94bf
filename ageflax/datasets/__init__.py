"""Registers the datasets with TFDS: importing this module makes their names known.

    import ageflax.datasets
    import tensorflow_datasets as tfds

    builder = tfds.builder("adience", data_dir=...)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=...))
    folds = tfds.data_source("adience", data_dir=...)  # folds["fold_0"][0]["image"]

For the `tfds` command: `tfds build adience --imports=ageflax.datasets` (extra: tfds).
"""

from ageflax.data.building import find

__all__ = ["NAMES"]

NAMES = tuple(find.builder_names())
for _name in NAMES:
    find.builder_class(_name)
