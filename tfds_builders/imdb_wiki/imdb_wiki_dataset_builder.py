"""IMDB-WIKI as a TensorFlow Datasets builder; neither building nor reading needs TensorFlow."""

import collections
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from ageflax.data.building import beam, disk, shards
from ageflax.data.washing import rules
from ageflax.data.washing.inspection import FLAWS
from ageflax.data.washing.report import FAULTS, REJECTED, Report, count_by_reason
from ageflax.errors import InputError
from ageflax.labels import GENDERS

from . import crops, metadata, people, records

TERMS = (
    "IMDB-WIKI (Rothe, Timofte and Van Gool, ETH Zurich) is for academic research only. The "
    "photographs were crawled from IMDb and Wikipedia and remain their owners'. A model trained on "
    "them inherits the terms. Ages are computed from crawled dates and genders are crawled, binary "
    "and often wrong; they are not for age verification or for decisions about people."
)
# Folds that differ by more than this share of their mean size are worth a word.
_UNEVEN = 0.02
# Above this share of images that cannot be used, of those the rule asks for, the build says so loudly.
_TOLERATED = 0.01


# What the rule of public code asks for, and no more: it looks at no pixels.
_USUAL_RULE = dataclasses.replace(rules.USUAL, smallest_side=1, flatness=0.0)
_READABLE = dataclasses.replace(rules.READABLE, smallest_side=1, flatness=0.0)
_WASHED = dataclasses.replace(rules.USUAL, duplicates_allowed=False, conflicts_allowed=False)


@dataclasses.dataclass(eq=False)
class ImdbWikiConfig(tfds.core.BuilderConfig):
    """Which databases, and what is asked of a record.

    Attributes:
      databases: of metadata.DATABASES.
      thresholds: of washing; a dict, as `tfds build --config='{...}'` gives it, changes the usual
        rule's where it names them.
      blank_allowed: whether an image without a single pixel above zero is kept.
    """

    databases: tuple[str, ...] = ("wiki",)
    thresholds: rules.Thresholds = _USUAL_RULE
    blank_allowed: bool = True

    def __post_init__(self):
        self.databases = tuple(self.databases)
        if unknown := set(self.databases) - set(metadata.DATABASES):
            raise InputError(f"imdb_wiki has no database {', '.join(sorted(unknown))}")
        if isinstance(self.thresholds, dict):
            self.thresholds = _thresholds(self.thresholds)


def _thresholds(changes: dict[str, Any]) -> rules.Thresholds:
    """The usual rule with some of its thresholds changed, checked as what a user wrote.

    Raises:
      InputError: a name that is none, or a value of another type.
    """
    names = [field.name for field in dataclasses.fields(rules.Thresholds)]
    checked = {}
    for name, value in changes.items():
        if name not in names:
            raise InputError(f"washing has no threshold {name}; it has {', '.join(names)}")
        kind = type(getattr(_USUAL_RULE, name))
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind and not (name == "min_face_score" and value is None):
            raise InputError(f"washing: {name} = {value!r}: expected {kind.__name__}")
        checked[name] = value
    return dataclasses.replace(_USUAL_RULE, **checked)


# Suffix of the name: thresholds, whether blank images are kept, description.
_FORMS: dict[str, tuple[rules.Thresholds, bool, str]] = {
    "": (
        _USUAL_RULE,
        True,
        "cleaned by the usual rule: face_score 1 or more and finite, no second face, gender known, "
        "age 0 to 100",
    ),
    "_raw": (_READABLE, True, "all whose image can be read, whatever the labels and scores"),
    "_washed": (
        _WASHED,
        False,
        "cleaned by the usual rule and rid of blank, flat and 1x1 images, of duplicates, and of "
        "identical images with different labels",
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


def _say(text: str) -> None:
    """Prints to stderr, each line marked with the dataset's name."""
    for line in text.splitlines():
        print(f"imdb_wiki: {line}", file=sys.stderr)


class Builder(tfds.core.ShardBasedBuilder):
    """IMDB-WIKI in five folds of equal size, splits fold_0 to fold_4, no person in two.

    Shard by shard, since TFDS's GeneratorBasedBuilder holds up to 1 GB of a split in memory to
    shuffle it, and beyond that needs TensorFlow.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    # No MANUAL_DOWNLOAD_INSTRUCTIONS: what is not in the manual directory is downloaded to it.
    # `tfds build` without --config builds every config in this list, and `imdb` is a download of
    # 7 GB: so the others stay out of it, and get_builder_config finds them when they are asked for.
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [_CONFIGS["wiki"]]

    def __init__(self, *, file_format: str | None = None, **kwargs: Any):
        # array_record is what training reads without TensorFlow; TFDS's default is not.
        self._provenance = tfds.core.MetadataDict()
        self._manual_dir = Path()
        config = kwargs.get("config")
        if isinstance(config, str) and config not in _CONFIGS:
            raise InputError(f"imdb_wiki has no config {config!r}; it has {', '.join(_CONFIGS)}")
        super().__init__(file_format=file_format or "array_record", **kwargs)
        self._final_path = Path(self.data_path)

    @classmethod
    def get_builder_config(cls, name: str, version: Any = None) -> ImdbWikiConfig | None:
        """The config of that name, listed in BUILDER_CONFIGS or not; None for one of the user's own."""
        del version  # there is one
        return _CONFIGS.get(name)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(None, None, 3),
                        encoding_format="jpeg",
                        doc="The source's own JPEG file, byte for byte.",
                    ),
                    "key": tfds.features.Text(doc="Unique: database/full_path."),
                    "subject": tfds.features.Text(
                        doc="The person: the normalised name; '~' and an id where there is none."
                    ),
                    "age_label": tfds.features.Text(doc="Always empty: ages are in years."),
                    "age": tfds.features.Scalar(
                        np.float32,
                        doc="Whole years on 1 July of the photo's year; NaN without a date.",
                    ),
                    "gender": tfds.features.ClassLabel(
                        names=list(GENDERS), doc="-1 where the source does not say."
                    ),
                    "face_score": tfds.features.Scalar(
                        np.float32, doc="Of the detector; -inf where it found no face."
                    ),
                    "second_face_score": tfds.features.Scalar(
                        np.float32, doc="Of another face in the photo; NaN where there is none."
                    ),
                    "photo_year": tfds.features.Scalar(
                        np.int32, doc="When the photo was taken; 0 if unknown."
                    ),
                }
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
        """Builds the dataset, here, or on Apache Beam where download_config names a runner for it.

        Raises:
          InputError: a database is neither there nor can it be downloaded, or it cannot be read.
          RunError: the disk is full.
        """
        config = download_config or tfds.download.DownloadConfig()
        downloads = Path(download_dir or Path(self._data_dir_root) / "downloads").expanduser()
        # The download manager gives this folder only to builders that cannot do without it.
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
    ) -> Mapping[str, Sequence[records.Shard]]:
        del dl_manager  # it downloads whole files only, and checks sha256, which nobody published
        assert isinstance(self.builder_config, ImdbWikiConfig)
        config = self.builder_config
        table = records.tabulate([_source(self._manual_dir, one) for one in config.databases])
        report = _wash(table, config)
        _require_images(report, self._manual_dir, config)
        subjects = [table.subjects[row] for row in report.kept]
        fold_of = people.folds(subjects)
        # self.data_path is now the folder that becomes the dataset when everything is written.
        report.write(Path(self.data_path))
        self._provenance.update(_metadata(config, table, report, fold_of))
        _report(report, listing=self._final_path / REJECTED)
        _report_folds(subjects, fold_of)
        sized: dict[int, list[tuple[int, int]]] = {fold: [] for fold in people.FOLDS}
        for row, size, subject in zip(report.kept, report.sizes, subjects, strict=True):
            sized[fold_of[subject]].append((row, size))
        return {
            f"fold_{fold}": [
                records.Shard(table, rows)
                for rows in shards.divide(pairs, key=lambda row: table.keys[row])
            ]
            for fold, pairs in sized.items()
        }


def _source(manual_dir: Path, database: str) -> records.Source:
    found = crops.find(manual_dir, database)
    content = crops.read_metadata(found)
    named = metadata.read(content, database=database, name=found.metadata_name)
    return records.Source(named, found)


def _wash(table: records.Table, config: ImdbWikiConfig) -> Report:
    with tqdm(desc="Checking images", unit=" images", leave=False, disable=None) as progress:
        report = rules.wash(
            table.for_washing,
            table.read,
            config.thresholds,
            progress=lambda done: progress.update(done),
        )
    return _with_blank_images(report, table) if config.blank_allowed else report


def _with_blank_images(report: Report, table: records.Table) -> Report:
    """The report with all-zero images among those kept: washing always takes them out."""
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


def _by_reason(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _require_images(report: Report, manual_dir: Path, config: ImdbWikiConfig) -> None:
    """Refuses a dataset without images, in one line that says what was looked for and where."""
    if not report.kept:
        raise InputError(
            f"none of the {report.records:,} records of {' and '.join(config.databases)} in "
            f"{manual_dir} can be used: {_by_reason(report.counts)}"
        )


def _metadata(
    config: ImdbWikiConfig,
    table: records.Table,
    report: Report,
    fold_of: Mapping[str, int],
) -> dict[str, Any]:
    """What a dataset has to say about where it came from; JSON values only."""
    subjects = [table.subjects[row] for row in report.kept]
    examples = collections.Counter(fold_of[subject] for subject in subjects)
    genders = np.concatenate([source.metadata.genders for source in table.sources])
    found = collections.Counter(genders[list(report.kept)].tolist())
    names = dict(enumerate(GENDERS)) | {-1: "unknown"}
    return {
        "source": "IMDB-WIKI",
        "config": config.name,
        "databases": {
            source.metadata.database: {
                "records": len(source.metadata),
                "images": source.crops.origin,
            }
            for source in table.sources
        },
        "records": report.records,
        "rejected": report.counts,
        "thresholds": report.thresholds,
        "examples": len(report.kept),
        "examples_by_fold": [examples[fold] for fold in people.FOLDS],
        "subjects": len(fold_of),
        "genders": {name: found[number] for number, name in names.items() if found[number]},
        "licence": TERMS,
    }


def _report(report: Report, *, listing: Path) -> None:
    """Tells the user what was kept, and warns where images are missing that the rule asks for."""
    _say(f"{len(report.kept):,} of {report.records:,} records are kept")
    faults = count_by_reason((one.reason for one in report.rejected), FAULTS)
    asked_for = len(report.kept) + sum(faults.values())
    if sum(faults.values()) > _TOLERATED * asked_for:
        _say(
            f"WARNING: {sum(faults.values()):,} of {asked_for:,} images that the config asks for "
            f"cannot be used and are left out:\nWARNING: {_by_reason(faults)}.\n"
            f"WARNING: Figures from this dataset are not those of IMDB-WIKI. Each is listed in {listing}"
        )


def _report_folds(subjects: Sequence[str], fold_of: Mapping[str, int]) -> None:
    """Tells the user where folds of equal size are not to be had."""
    sizes = collections.Counter(fold_of[subject] for subject in subjects)
    uneven = max(sizes.values()) - min(sizes.values())
    if uneven > max(1.0, _UNEVEN * len(subjects) / len(sizes)):
        person, images = collections.Counter(subjects).most_common(1)[0]
        _say(
            f"notice: the folds have {min(sizes.values()):,} to {max(sizes.values()):,} images, since "
            f"{images:,} are of one person, {person}"
        )
