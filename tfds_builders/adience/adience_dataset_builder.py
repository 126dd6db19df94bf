"""Adience as a TensorFlow Datasets builder; neither building nor reading needs TensorFlow."""

import collections
import contextlib
import dataclasses
import functools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from ageflax.data import images
from ageflax.data.building import disk, shards
from ageflax.errors import InputError, RunError
from ageflax.labels import GENDERS, UNKNOWN

from . import fold_files, photographs, survey

# Key, and the features by name.
Example = tuple[str, dict[str, Any]]

TERMS = (
    "Adience is given out by its authors (Eidinger, Enbar and Hassner, The Open University of "
    "Israel) to those who fill in the form on its page; the terms are in the LICENSE.txt that "
    "comes with it. The photographs are from Flickr albums and remain their owners'. Do not "
    "redistribute them. A model trained on them inherits the terms. Labels are apparent age "
    "groups and a binary gender; they are not for age verification or for decisions about people."
)


@dataclasses.dataclass(eq=False)
class AdienceConfig(tfds.core.BuilderConfig):
    """One of the two sets of crops; its name is that of the folder and of the archive."""


ALIGNED = AdienceConfig(
    name="aligned",
    description="Faces turned upright and aligned by their landmarks, 816x816; the usual choice.",
)
FACES = AdienceConfig(
    name="faces",
    description="Faces cut out as they were detected, turned by a coarse estimate of their tilt.",
)
_CONFIGS = {config.name: config for config in (ALIGNED, FACES)}


def _say(text: str) -> None:
    """Prints to stderr, each line marked with the dataset's name."""
    for line in text.splitlines():
        print(f"adience: {line}", file=sys.stderr)


class Builder(tfds.core.ShardBasedBuilder):
    """Adience in its five folds, splits fold_0 to fold_4.

    Shard by shard, since TFDS's GeneratorBasedBuilder holds up to 1 GB of a split in memory to
    shuffle it, and beyond that needs TensorFlow.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Fill in the form on Adience's page (talhassner.github.io/home/projects/Adience); its authors
    answer with a login. Download into one folder, which you name with --manual_dir:
      fold_0_data.txt to fold_4_data.txt, and LICENSE.txt;
      aligned.tar.gz (or faces.tar.gz for the config `faces`), extracted there or as it is.
    """
    MANUAL_FILE = "fold_?_data.txt"  # tells that the folder holds Adience
    # `tfds build` without --config builds every config in this list, and most people download only
    # `aligned`: so `faces` stays out of it, and get_builder_config finds it when it is asked for.
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [ALIGNED]

    def __init__(self, *, file_format: str | None = None, **kwargs: Any):
        # array_record is what training reads without TensorFlow; TFDS's default is not.
        self._provenance = tfds.core.MetadataDict()
        self._temporary = contextlib.ExitStack()
        super().__init__(file_format=file_format or "array_record", **kwargs)
        self._final_path = Path(self.data_path)

    @classmethod
    def get_builder_config(cls, name: str, version: Any = None) -> AdienceConfig:
        """The config of that name, listed in BUILDER_CONFIGS or not.

        Raises:
          InputError: there is none.
        """
        del version  # there is one
        if name not in _CONFIGS:
            raise InputError(f"adience has no config {name!r}; it has {' and '.join(_CONFIGS)}")
        return _CONFIGS[name]

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(None, None, 3),
                        encoding_format="jpeg",
                        doc="The source's own JPEG file, byte for byte.",
                    ),
                    "key": tfds.features.Text(doc="Unique: user_id/face_id.original_image."),
                    "subject": tfds.features.Text(doc="The person: Adience's face_id."),
                    "age_label": tfds.features.Text(doc="Adience's text, such as '(25, 32)'."),
                    "age": tfds.features.Scalar(
                        np.float32, doc="Years. Always NaN: Adience gives groups."
                    ),
                    "gender": tfds.features.ClassLabel(
                        names=list(GENDERS), doc="-1 where Adience does not say."
                    ),
                }
            ),
            homepage="https://talhassner.github.io/home/projects/Adience/Adience-data.html",
            redistribution_info={"license": TERMS},
            metadata=self._provenance,
        )

    def download_and_prepare(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, **kwargs: Any
    ) -> None:
        """Builds the dataset, then removes what an archive was unpacked to, whatever happened."""
        with contextlib.ExitStack() as self._temporary, disk.failures_told(self._final_path):
            super().download_and_prepare(**kwargs)

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Sequence[Callable[[], Iterator[Example]]]]:
        assert self.builder_config is not None  # there is a default
        config = self.builder_config.name
        manual_dir = _manual_dir(dl_manager)
        folds = fold_files.read(manual_dir)
        source = photographs.find(
            manual_dir, folds.faces, config=config, make_folder=self._make_temporary_folder
        )
        result = survey.survey(folds.faces, source)
        survey.require_images(result, manual_dir=manual_dir, config=config)
        # self.data_path is now the folder that becomes the dataset when everything is written.
        listing = Path(self.data_path) / survey.LISTING
        survey.write_listing(listing, result.rejected, config=config)
        self._provenance.update(_metadata(config, folds, source, result))
        _report(folds, source, result, listing=self._final_path / survey.LISTING)
        sized = list(zip(result.usable, result.sizes, strict=True))
        return {
            f"fold_{fold}": [
                functools.partial(_examples, shard, source)
                for shard in shards.divide(
                    (pair for pair in sized if pair[0].fold == fold), key=lambda face: face.key
                )
            ]
            for fold in fold_files.FOLDS
        }

    def _make_temporary_folder(self) -> Path:
        """An empty folder beside the dataset, so on the same disk, gone after the build."""
        folder = tempfile.mkdtemp(prefix="incomplete.unpacked.", dir=Path(self.data_path).parent)
        self._temporary.callback(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


def _examples(
    faces: Sequence[fold_files.Face], source: photographs.Photographs
) -> Iterator[Example]:
    """The examples of one shard."""
    progress = tqdm(faces, desc="Writing", unit=" examples", leave=False, disable=None)
    for face in progress:
        try:
            image = source.read(face)
        except images.BadImageError as error:
            raise RunError(
                f"the image of {face.key} was good when it was checked and is now {error}"
            ) from error
        yield (
            face.key,
            {
                "image": image,
                "key": face.key,
                "subject": face.face_id,
                "age_label": face.age_label,
                "age": np.float32(np.nan),
                "gender": GENDERS.index(face.gender) if face.gender else UNKNOWN,
            },
        )


def _manual_dir(dl_manager: tfds.download.DownloadManager) -> Path:
    """The folder the user put Adience into.

    Raises:
      InputError: absent or empty.
    """
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError as error:  # TFDS's way to say so, with the instructions after it
        problem = str(error).partition(" Create it")[0]
        raise InputError(
            f"{problem} Looked there for {fold_files.name(0)} to {fold_files.name(4)} and the "
            "folder or archive of images; name the folder that holds them with --manual_dir"
        ) from error


def _metadata(
    config: str,
    folds: fold_files.FoldFiles,
    source: photographs.Photographs,
    result: survey.Survey,
) -> dict[str, Any]:
    """What a dataset has to say about where it came from; JSON values only."""
    examples = collections.Counter(face.fold for face in result.usable)
    ages = collections.Counter(face.age_label for face in result.usable)
    genders = collections.Counter(face.gender or "unknown" for face in result.usable)
    return {
        "source": "Adience",
        "config": config,
        "edition": folds.edition,
        "fold_file_md5": {fold_files.name(fold): folds.md5[fold] for fold in fold_files.FOLDS},
        "images": source.origin,
        "rows": sum(folds.rows),
        "rows_by_fold": list(folds.rows),
        "unique_images": len(folds.faces),
        "duplicate_rows": folds.duplicates,
        "duplicates_that_disagree": folds.disagreeing,
        "rejected": result.counts,
        "examples": len(result.usable),
        "examples_by_fold": [examples[fold] for fold in fold_files.FOLDS],
        "subjects": len({face.face_id for face in result.usable}),
        "age_labels": dict(sorted(ages.items())),
        "genders": dict(sorted(genders.items())),
        "licence": TERMS,
    }


def _report(
    folds: fold_files.FoldFiles,
    source: photographs.Photographs,
    result: survey.Survey,
    *,
    listing: Path,
) -> None:
    """Tells the user what is unusual about this build; nothing where nothing is."""
    if folds.edition not in fold_files.EDITIONS:
        _say(
            "notice: these are not the fold files of a known edition of Adience; their md5 sums "
            "are recorded in metadata.json"
        )
    if folds.disagreeing:
        _say(
            "notice: images whose rows disagree on a label, which becomes unknown: "
            f"{len(folds.disagreeing):,} (first: {folds.disagreeing[0]}; all in metadata.json)"
        )
    warning = survey.warning(result, listing=listing)
    _say(warning)
    if warning and "absent" in result.counts and source.origin.get("archive_not_read"):
        _say("WARNING: The archive is there too and was not read: remove the folder to use it.")
