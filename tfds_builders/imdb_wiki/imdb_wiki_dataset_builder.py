"""IMDB-WIKI as a TensorFlow Datasets builder; neither building nor reading needs TensorFlow."""

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from ageflax.data.building import beam, disk, source
from ageflax.data.washing import rules
from ageflax.data.washing.inspection import FLAWS
from ageflax.data.washing.report import FAULTS, REJECTED, Report, count_by_reason
from ageflax.errors import InputError
from ageflax.labels import GENDERS
from tfds_builders import common, sources
from tfds_builders.subjects import FOLDS, divide

from . import crops, metadata, records

TERMS = (
    "IMDB-WIKI (Rothe, Timofte and Van Gool, ETH Zurich) is for academic research only. The "
    "photographs were crawled from IMDb and Wikipedia and remain their owners'. A model trained on "
    "them inherits the terms. Ages are computed from crawled dates and genders are crawled, binary "
    "and often wrong; they are not for age verification or for decisions about people."
)
# Share of the mean fold size; if folds differ by more, the build prints a notice.
_UNEVEN = 0.02

# The usual rule of public code, which does not look at pixels.
_USUAL_RULE = dataclasses.replace(rules.USUAL, smallest_side=1, flatness=0.0)
_READABLE = dataclasses.replace(rules.READABLE, smallest_side=1, flatness=0.0)
_WASHED = dataclasses.replace(rules.USUAL, duplicates_allowed=False, conflicts_allowed=False)


@dataclasses.dataclass(eq=False)
class ImdbWikiConfig(tfds.core.BuilderConfig):
    """Databases, and the rule for their records.

    Attributes:
      databases: names in metadata.DATABASES.
      thresholds: thresholds of washing; a dict, as from `tfds build --config='{...}'`, overrides those
        of the usual rule.
      blank_allowed: True to keep all-black images.
    """

    databases: tuple[str, ...] = ("wiki",)
    thresholds: rules.Thresholds = _USUAL_RULE
    blank_allowed: bool = True

    def __post_init__(self):
        self.databases = tuple(self.databases)
        if unknown := set(self.databases) - set(metadata.DATABASES):
            raise InputError(
                f"imdb_wiki: no database {', '.join(sorted(unknown))}; use"
                f" {' or '.join(metadata.DATABASES)}"
            )
        if isinstance(self.thresholds, dict):
            self.thresholds = _thresholds(self.thresholds)


def _thresholds(changes: dict[str, Any]) -> rules.Thresholds:
    """The usual rule with some thresholds changed by the user.

    Raises:
      InputError: a threshold is unknown, or its value has the wrong type.
    """
    names = [field.name for field in dataclasses.fields(rules.Thresholds)]
    checked = {}
    for name, value in changes.items():
        if name not in names:
            raise InputError(f"washing: no threshold {name}; known: {', '.join(names)}")
        kind = type(getattr(_USUAL_RULE, name))
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind and not (name == "min_face_score" and value is None):
            raise InputError(f"washing: {name} = {value!r}: expected {kind.__name__}")
        checked[name] = value
    return dataclasses.replace(_USUAL_RULE, **checked)


# By suffix of the name: thresholds, whether blank images are kept, description.
_FORMS: dict[str, tuple[rules.Thresholds, bool, str]] = {
    "": (
        _USUAL_RULE,
        True,
        "cleaned by the usual rule: face_score finite and at least 1, no second face, gender known, "
        "age 0 to 100",
    ),
    "_raw": (_READABLE, True, "all with a readable image, whatever the labels and scores"),
    "_washed": (
        _WASHED,
        False,
        "cleaned by the usual rule, without blank, flat and 1x1 images, duplicates, and identical "
        "images with different labels",
    ),
}


def _configs() -> dict[str, ImdbWikiConfig]:
    return {
        name: ImdbWikiConfig(
            name=name,
            description=f"Records of {' and '.join(databases)}, {text}.",
            databases=databases,
            thresholds=thresholds,
            blank_allowed=blank_allowed,
        )
        for suffix, (thresholds, blank_allowed, text) in _FORMS.items()
        for databases in (("wiki",), ("imdb",), ("imdb", "wiki"))
        for name in ["_".join(databases) + suffix]
    }


_CONFIGS = _configs()


_say = functools.partial(common.say, "imdb_wiki")


class Builder(common.PhotographBuilder):
    """IMDB-WIKI in five folds of equal size by subject, splits fold_0 to fold_4."""

    # No MANUAL_DOWNLOAD_INSTRUCTIONS: files that are not in the manual directory are downloaded to it.
    # `tfds build` without --config builds every config in this list, and `imdb` is a download of
    # 7 GB. So the others are not in it; get_builder_config finds them.
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [_CONFIGS["wiki"]]

    def __init__(self, **kwargs: Any):
        self._manual_dir = Path()
        config = kwargs.get("config")
        if isinstance(config, str) and config not in _CONFIGS:
            raise InputError(f"imdb_wiki/{config}: no such config; use {', '.join(_CONFIGS)}")
        super().__init__(**kwargs)

    @classmethod
    def get_builder_config(cls, name: str, version: Any = None) -> ImdbWikiConfig | None:
        """Returns a config by name, also one not in BUILDER_CONFIGS; None for a user's own."""
        del version  # there is only one
        return _CONFIGS.get(name)

    @classmethod
    def find_source(cls, manual_dir: Path, config: str) -> source.Place | None:
        """The folders or archives of a config's databases in a folder."""
        known = _CONFIGS.get(config)
        images = {
            f"{database}_crop": found
            for database in (known.databases if known else metadata.DATABASES)
            if (found := crops.locate(manual_dir, database))
        }
        return source.Place(manual_dir, images) if images else None

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=common.features(
                image="The source's own JPEG file, byte for byte.",
                key="Unique: database/full_path.",
                subject="The subject's normalised name; '~' and an id if there is none.",
                age_label="Always empty: ages are in years.",
                age="Whole years on 1 July of the photo's year; NaN without a date.",
                gender="-1 if unknown.",
                face_score=tfds.features.Scalar(
                    np.float32, doc="The detector's score; -inf if it found no face."
                ),
                second_face_score=tfds.features.Scalar(
                    np.float32, doc="Score of another face in the photo; NaN if there is none."
                ),
                photo_year=tfds.features.Scalar(np.int32, doc="Year of the photo; 0 if unknown."),
            ),
            homepage="https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/",
            redistribution_info={"license": TERMS},
            metadata=self._provenance,
        )

    def download_and_prepare(  # pyright: ignore[reportIncompatibleVariableOverride]
        self,
        *,
        download_dir: Any = None,
        download_config: tfds.download.DownloadConfig | None = None,
        **kwargs: Any,
    ) -> None:
        """Builds the dataset, on Apache Beam if download_config names a runner.

        Raises:
          InputError: a database is absent and cannot be downloaded, or it cannot be read.
          RunError: the disk is full.
        """
        config = download_config or tfds.download.DownloadConfig()
        downloads = Path(download_dir or Path(self._data_dir_root) / "downloads").expanduser()
        # The download manager gives this folder only to builders that require it.
        self._manual_dir = Path(config.manual_dir or downloads / "manual").expanduser()
        beam.take_runner_from_options(config)
        with disk.failures_told(self._final_path):
            super().download_and_prepare(
                download_dir=download_dir, download_config=config, **kwargs
            )

    def _download_and_prepare(
        self,
        dl_manager: tfds.download.DownloadManager,
        download_config: tfds.download.DownloadConfig | None = None,
    ) -> None:
        if download_config and download_config.beam_runner:
            splits = self._shard_iterators_per_split(dl_manager)
            beam.write_splits(self, splits, download_config)
        else:
            super()._download_and_prepare(dl_manager, download_config)

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[common.Examples]]:
        del dl_manager  # it cannot resume, and checks sha256, which is not published
        assert isinstance(self.builder_config, ImdbWikiConfig)
        config = self.builder_config
        found = {database: crops.find(self._manual_dir, database) for database in config.databases}
        record = _record(self._manual_dir, found)
        table = records.tabulate(
            [_source(crop, database, record) for database, crop in found.items()]
        )
        report = _wash(table, config, record)
        _require_images(report, self._manual_dir, config)
        subjects = [table.subjects[row] for row in report.kept]
        fold_of = divide(collections.Counter(subjects))
        # self.data_path is now the folder that becomes the dataset once everything is written.
        report.write(Path(self.data_path))
        self._provenance.update(_metadata(config, table, report, fold_of))
        self._provenance["source"] = record.write(Path(self.data_path))
        _report(report, listing=self._final_path / REJECTED)
        _report_folds(subjects, fold_of)
        return common.shards_by_fold(
            zip(report.kept, report.sizes, strict=True),
            fold=lambda row: fold_of[table.subjects[row]],
            key=lambda row: table.keys[row],
            examples=lambda rows: records.Shard(table, rows),
        )


def _record(manual_dir: Path, found: Mapping[str, crops.Crops]) -> source.Record:
    """An empty record of the files in which the databases were found."""
    images = {crop.folder: crop.source.path for crop in found.values()}
    record = source.Record("IMDB-WIKI", source.Place(manual_dir, images), manual_dir)
    for crop in found.values():
        if isinstance(crop.source, sources.Packed):
            record.note_archive(crop.source.path, crop.source.archive)
    return record


def _source(found: crops.Crops, database: str, record: source.Record) -> records.Source:
    content = crops.read_metadata(found, database)
    name = crops.metadata_name(database)
    named = metadata.read(content, database=database, name=found.where(name))
    record.note_list(f"{found.folder}/{name}", hashlib.md5(content).hexdigest())
    return records.Source(named, found)


def _wash(table: records.Table, config: ImdbWikiConfig, record: source.Record) -> Report:
    with common.checking() as progress:
        report = rules.wash(
            table.for_washing,
            record.reading(table.read, table.file),
            config.thresholds,
            progress=lambda done: progress.update(done),
        )
    return _with_blank_images(report, table) if config.blank_allowed else report


def _with_blank_images(report: Report, table: records.Table) -> Report:
    """The report with all-zero images among the kept ones; washing always rejects them."""
    blank = [one.row for one in report.rejected if one.reason in FLAWS]
    kept = list(zip(report.kept, report.sizes, report.hashes, strict=True))
    kept += [(row, len(table.read(row)), 0) for row in blank]
    rows, sizes, hashes = zip(*sorted(kept), strict=True) if kept else ((), (), ())
    return dataclasses.replace(
        report,
        kept=rows,
        sizes=sizes,
        hashes=hashes,
        rejected=[one for one in report.rejected if one.reason not in FLAWS],
        thresholds=report.thresholds | {"all_zero_allowed": True},
    )


def _require_images(report: Report, manual_dir: Path, config: ImdbWikiConfig) -> None:
    """Raises InputError for a dataset without images."""
    if not report.kept:
        raise InputError(
            f"{manual_dir}: none of the {report.records:,} records of {' and '.join(config.databases)}"
            f" can be used: {common.by_reason(report.counts)}"
        )


def _metadata(
    config: ImdbWikiConfig,
    table: records.Table,
    report: Report,
    fold_of: Mapping[str, int],
) -> dict[str, Any]:
    """Metadata on the origin of the dataset, JSON values only."""
    subjects = [table.subjects[row] for row in report.kept]
    examples = collections.Counter(fold_of[subject] for subject in subjects)
    genders = np.concatenate([source.metadata.genders for source in table.sources])
    found = collections.Counter(genders[list(report.kept)].tolist())
    names = dict(enumerate(GENDERS)) | {-1: "unknown"}
    return {
        "config": config.name,
        "databases": {
            source.metadata.database: {
                "records": len(source.metadata),
                "images": source.crops.source.origin,
            }
            for source in table.sources
        },
        "records": report.records,
        "rejected": report.counts,
        "thresholds": report.thresholds,
        "examples": len(report.kept),
        "examples_by_fold": [examples[fold] for fold in FOLDS],
        "subjects": len(fold_of),
        "genders": {name: found[number] for number, name in names.items() if found[number]},
        "licence": TERMS,
    }


def _report(report: Report, *, listing: Path) -> None:
    """Prints the number of records kept, and warns if images that the rule keeps are unusable."""
    _say(f"{len(report.kept):,} of {report.records:,} records are kept")
    faults = count_by_reason((one.reason for one in report.rejected), FAULTS)
    note = "figures from this dataset are not those of IMDB-WIKI"
    _say(common.warning(faults, len(report.kept), noun="images", note=note, listing=listing))


def _report_folds(subjects: Sequence[str], fold_of: Mapping[str, int]) -> None:
    """Prints a notice if the folds differ in size."""
    sizes = collections.Counter(fold_of[subject] for subject in subjects)
    uneven = max(sizes.values()) - min(sizes.values())
    if uneven > max(1.0, _UNEVEN * len(subjects) / len(sizes)):
        subject, images = collections.Counter(subjects).most_common(1)[0]
        _say(
            f"notice: the folds have {min(sizes.values()):,} to {max(sizes.values()):,} images, since "
            f"{images:,} are of one subject, {subject}"
        )
