"""Parts shared by the builders of photographs."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from ageflax.data import images
from ageflax.data.building import shards, source
from ageflax.errors import InputError, RunError
from ageflax.labels import GENDERS
from tfds_builders.subjects import FOLDS

Item = TypeVar("Item")
Example = tuple[str, dict[str, Any]]  # key, and features by name
Examples = Callable[[], Iterator[Example]]

# Share of unusable images or rows above which a build warns.
TOLERATED = 0.01


class PhotographBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Base of a builder whose metadata is known only during the build.

    It writes shard by shard, since TFDS's GeneratorBasedBuilder holds up to 1 GB of a split in memory to
    shuffle it, and beyond that needs TensorFlow.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}

    def __init__(self, *, file_format: str | None = None, **kwargs: Any):
        self._provenance = tfds.core.MetadataDict()
        # Training reads array_record without TensorFlow; TFDS's default is another format.
        super().__init__(file_format=file_format or "array_record", **kwargs)
        self._final_path = Path(self.data_path)

    @classmethod
    def find_source(cls, manual_dir: Path, config: str) -> source.Place | None:
        """Where a config's files lie below a folder; None if its labels are not there."""
        raise NotImplementedError


def features(
    *, image: str, key: str, subject: str, age_label: str, age: str, gender: str, **more: Any
) -> tfds.features.FeaturesDict:
    """The features that every dataset of faces has, each with its documentation, and `more`."""
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg", doc=image),
            "key": tfds.features.Text(doc=key),
            "subject": tfds.features.Text(doc=subject),
            "age_label": tfds.features.Text(doc=age_label),
            "age": tfds.features.Scalar(np.float32, doc=age),
            "gender": tfds.features.ClassLabel(names=list(GENDERS), doc=gender),
            **more,
        }
    )


def say(dataset: str, text: str) -> None:
    """Prints to stderr, each line after the dataset's name."""
    for line in text.splitlines():
        print(f"{dataset}: {line}", file=sys.stderr)


def manual_dir(dl_manager: tfds.download.DownloadManager, contents: str) -> Path:
    """The folder of manual downloads.

    Args:
      dl_manager: the build's download manager.
      contents: files expected in the folder, for the error message.

    Raises:
      InputError: the folder is absent or empty.
    """
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError as error:  # raised by TFDS, with the instructions in the message
        problem = str(error).partition(" Create it")[0]
        raise InputError(
            f"{problem} Expected {contents}; name the folder that holds them with --manual_dir"
        ) from error


def checking(total: int | None = None) -> tqdm:
    """Progress of checking images."""
    return tqdm(total=total, desc="Checking images", unit=" images", leave=False, disable=None)


def writing(items: Iterable[Item]) -> Iterable[Item]:
    """Items of a shard, with progress."""
    return tqdm(items, desc="Writing", unit=" examples", leave=False, disable=None)


def read_again(read: Callable[[], bytes], key: str) -> bytes:
    """Reads an image that was checked before.

    Args:
      read: function that returns the image's bytes.
      key: name of the image, for the error message.

    Raises:
      RunError: the image has changed since.
    """
    try:
        return read()
    except images.BadImageError as error:
        raise RunError(f"{key}: was good when it was checked and is now {error}") from error


def by_reason(counts: Mapping[str, int]) -> str:
    """Counts as text, such as "2 absent, 1 empty"."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def warning(counts: Mapping[str, int], kept: int, *, noun: str, note: str, listing: Path) -> str:
    """Lines to print if more than TOLERATED of the images or rows are left out; otherwise "".

    Args:
      counts: number of items left out, by reason.
      kept: number of items kept.
      noun: "images" or "rows".
      note: text for the last line.
      listing: file that lists the items left out.
    """
    lost = sum(counts.values())
    total = lost + kept
    if lost <= TOLERATED * total:
        return ""
    return (
        f"WARNING: {lost:,} of {total:,} {noun} ({lost / total:.1%}) cannot be used and are left out:\n"
        f"WARNING: {by_reason(counts)}.\n"
        f"WARNING: {note}; each is listed in {listing}"
    )


def shards_by_fold(
    sized: Iterable[tuple[Item, int]],
    *,
    fold: Callable[[Item], int],
    key: Callable[[Item], str],
    examples: Callable[[list[Item]], Examples],
) -> dict[str, list[Examples]]:
    """Divides items into splits fold_0 to fold_4, and each split into shards.

    Args:
      sized: items, each with the bytes of its image.
      fold: function that returns an item's fold.
      key: function that returns an item's key.
      examples: function that makes a shard of items.
    """
    split: dict[int, list[tuple[Item, int]]] = {number: [] for number in FOLDS}
    for item, size in sized:
        split[fold(item)].append((item, size))
    return {
        f"fold_{number}": [examples(shard) for shard in shards.divide(pairs, key=key)]
        for number, pairs in split.items()
    }
