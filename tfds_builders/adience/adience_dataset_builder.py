"""Adience as a TensorFlow Datasets builder; neither building nor reading needs TensorFlow."""

import collections
import contextlib
import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from ageflax.data.building import disk, source
from ageflax.errors import InputError
from ageflax.labels import GENDERS, UNKNOWN
from tfds_builders import common, sources
from tfds_builders.subjects import FOLDS

from . import fold_files, photographs, survey

TERMS = (
    "Adience is given out by its authors (Eidinger, Enbar and Hassner, The Open University of "
    "Israel) to those who fill in the form on its page; the terms are in the LICENSE.txt that "
    "comes with it. The photographs are from Flickr albums and remain their owners'. Do not "
    "redistribute them. A model trained on them inherits the terms. Labels are apparent age "
    "groups and a binary gender; they are not for age verification or for decisions about people."
)


@dataclasses.dataclass(eq=False)
class AdienceConfig(tfds.core.BuilderConfig):
    """One of the two sets of crops; the folder and the archive have the config's name."""


ALIGNED = AdienceConfig(
    name="aligned",
    description="Faces aligned by their landmarks, upright, 816x816; the usual choice.",
)
FACES = AdienceConfig(
    name="faces",
    description="Faces cropped as detected, turned by a coarse estimate of their tilt.",
)
_CONFIGS = {config.name: config for config in (ALIGNED, FACES)}

_say = functools.partial(common.say, "adience")


class Builder(common.PhotographBuilder):
    """Adience in its five folds, splits fold_0 to fold_4."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Fill in the form on Adience's page (talhassner.github.io/home/projects/Adience); its authors
    answer with a login. Download into one folder, which you name with --manual_dir:
      fold_0_data.txt to fold_4_data.txt, and LICENSE.txt;
      aligned.tar.gz (or faces.tar.gz for the config `faces`), extracted there or as it is.
    """
    # Recognise a folder with Adience, or one near it.
    MANUAL_FILES = ("fold_*_data.txt", "*/fold_*_data.txt", "../fold_*_data.txt")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "First release. Builds since ageflax 0.2 read cells without a spreadsheet's quotes and "
        "refuse ages outside the grammar of labels."
    }
    # `tfds build` without --config builds every config in this list, and most people download only
    # `aligned`. So `faces` is not in it; get_builder_config finds it.
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [ALIGNED]

    def __init__(self, **kwargs: Any):
        self._temporary = contextlib.ExitStack()
        super().__init__(**kwargs)

    @classmethod
    def get_builder_config(cls, name: str, version: Any = None) -> AdienceConfig:
        """Returns a config by name, also one that is not in BUILDER_CONFIGS.

        Raises:
          InputError: no config has that name.
        """
        del version  # there is only one
        if name not in _CONFIGS:
            raise InputError(f"adience/{name}: no such config; use {' or '.join(_CONFIGS)}")
        return _CONFIGS[name]

    @classmethod
    def find_source(cls, manual_dir: Path, config: str) -> source.Place | None:
        """The fold files in a folder or in one below, and the images near them."""
        folder = fold_files.find(manual_dir)
        if folder is None:
            return None
        images = photographs.locate(manual_dir, folder, config)
        return source.Place(folder, {config: images} if images else {})

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=common.features(
                image="The source's own JPEG file, byte for byte.",
                key="Unique: user_id/face_id.original_image.",
                subject="Adience's face_id.",
                age_label="Adience's text, such as '(25, 32)'.",
                age="Years. Always NaN: Adience has age groups.",
                gender="-1 if unknown.",
            ),
            homepage="https://talhassner.github.io/home/projects/Adience/Adience-data.html",
            redistribution_info={"license": TERMS},
            metadata=self._provenance,
        )

    def download_and_prepare(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, **kwargs: Any
    ) -> None:
        """Builds the dataset; removes an archive's unpacked files, even after an error."""
        with contextlib.ExitStack() as self._temporary, disk.failures_told(self._final_path):
            super().download_and_prepare(**kwargs)

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[common.Examples]]:
        assert self.builder_config is not None  # there is a default
        config = self.builder_config.name
        wanted = f"{fold_files.name(0)} to {fold_files.name(4)} and the folder or archive of images"
        manual_dir = common.manual_dir(dl_manager, wanted)
        place = self.find_source(manual_dir, config) or source.Place(manual_dir, {})
        folds = fold_files.read(place.folder)
        found = photographs.find(
            place, folds.faces, config=config, make_folder=self._make_temporary_folder
        )
        record = source.Record("Adience", place, manual_dir)
        for fold in FOLDS:
            record.note_list(fold_files.name(fold), folds.md5[fold])
        if isinstance(found.source, sources.Packed):
            record.note_archive(found.source.path, found.source.archive)
        read = record.reading(
            found.read, functools.partial(photographs.relative_path, config=config)
        )
        result = survey.survey(folds.faces, read)
        survey.require_images(
            result, manual_dir=manual_dir, config=config, other=found.source.other
        )
        # self.data_path is now the folder that becomes the dataset once everything is written.
        listing = Path(self.data_path) / survey.LISTING
        survey.write_listing(listing, result.rejected, config=config)
        origin = found.source.origin
        self._provenance.update(_metadata(config, folds, origin, result))
        self._provenance["source"] = record.write(Path(self.data_path))
        _report(folds, origin, result, listing=self._final_path / survey.LISTING)
        return common.shards_by_fold(
            zip(result.usable, result.sizes, strict=True),
            fold=lambda face: face.fold,
            key=lambda face: face.key,
            examples=lambda shard: functools.partial(_examples, shard, found),
        )

    def _make_temporary_folder(self) -> Path:
        """Makes an empty folder beside the dataset, on the same disk; it is removed after the build."""
        folder = tempfile.mkdtemp(prefix="incomplete.unpacked.", dir=Path(self.data_path).parent)
        self._temporary.callback(shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


def _examples(
    faces: Sequence[fold_files.Face], found: photographs.Photographs
) -> Iterator[common.Example]:
    """Examples of a shard."""
    for face in common.writing(faces):
        yield (
            face.key,
            {
                "image": common.read_again(functools.partial(found.read, face), face.key),
                "key": face.key,
                "subject": face.face_id,
                "age_label": face.age_label,
                "age": np.float32(np.nan),
                "gender": GENDERS.index(face.gender) if face.gender else UNKNOWN,
            },
        )


def _metadata(
    config: str,
    folds: fold_files.FoldFiles,
    origin: Mapping[str, Any],
    result: survey.Survey,
) -> dict[str, Any]:
    """Metadata on the origin of the dataset, JSON values only."""
    examples = collections.Counter(face.fold for face in result.usable)
    ages = collections.Counter(face.age_label for face in result.usable)
    genders = collections.Counter(face.gender or "unknown" for face in result.usable)
    return {
        "config": config,
        "edition": folds.edition,
        "fold_file_md5": {fold_files.name(fold): folds.md5[fold] for fold in FOLDS},
        "images": dict(origin),
        "rows": sum(folds.rows),
        "rows_by_fold": list(folds.rows),
        "unique_images": len(folds.faces),
        "duplicate_rows": folds.duplicates,
        "duplicates_that_disagree": folds.disagreeing,
        "rejected": result.counts,
        "examples": len(result.usable),
        "examples_by_fold": [examples[fold] for fold in FOLDS],
        "subjects": len({face.face_id for face in result.usable}),
        "age_labels": dict(sorted(ages.items())),
        "genders": dict(sorted(genders.items())),
        "licence": TERMS,
    }


def _report(
    folds: fold_files.FoldFiles,
    origin: Mapping[str, Any],
    result: survey.Survey,
    *,
    listing: Path,
) -> None:
    """Prints notices about anything unusual in this build."""
    if folds.edition not in fold_files.EDITIONS:
        _say(
            "notice: not the fold files of a known edition of Adience; their md5 sums are recorded in"
            " metadata.json"
        )
    if folds.disagreeing:
        _say(
            f"notice: {len(folds.disagreeing):,} images have rows that disagree on a label, which is"
            f" taken as unknown (first: {folds.disagreeing[0]}; all in metadata.json)"
        )
    note = "figures from this dataset are not Adience's"
    warning = common.warning(
        result.counts, len(result.usable), noun="images", note=note, listing=listing
    )
    _say(warning)
    if warning and "absent" in result.counts and origin.get("archive_not_read"):
        _say("WARNING: the archive is there too, but was not read; remove the folder to use it")
