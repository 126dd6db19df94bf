"""Your own photographs as a TensorFlow Datasets builder; needs no TensorFlow."""

import collections
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from ageflax.data import images
from ageflax.data.building import source
from ageflax.data.washing import rules
from ageflax.data.washing.report import Record, Report, count_by_reason, write_csv
from ageflax.errors import InputError
from ageflax.labels import GENDERS, UNKNOWN
from tfds_builders import common
from tfds_builders.subjects import FOLDS

from . import identity, labels_file, photographs, rows, same_pictures

REJECTED = "rejected.csv"
TERMS = (
    "Whatever binds the photographs and labels that this dataset was built from, which only its "
    "maker knows: often a consent, or a licence for research alone. A model trained on them inherits "
    "that. Not for age verification or for decisions about people."
)

# Someone has labelled the photograph, so only an all-black one is left out.
_READABLE = dataclasses.replace(rules.READABLE, smallest_side=1, flatness=0.0)
# Suffixes of files that may be meant where labels.csv is absent.
_LISTS = (".csv", ".tsv", ".txt", ".xls", ".xlsx", ".ods")
_CONFIG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


@dataclasses.dataclass(eq=False)
class LabeledFacesConfig(tfds.core.BuilderConfig):
    """A dataset of your own; its name may be that of its folder."""


DEFAULT = LabeledFacesConfig(
    name="default", description="The photographs listed by labels.csv in the manual directory."
)

_say = functools.partial(common.say, "labeled_faces")


class Builder(common.PhotographBuilder):
    """Photographs and a CSV file of labels, in five folds by subject: splits fold_0 to fold_4."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Write labels.csv into the folder of your photographs, which you name with --manual_dir. Its first
    line names the columns: path (relative to that folder) and any of
      age (years), age_group (25-32, 70+), gender (female or male), subject (name of the person),
      fold (0 to 4; by default assigned by subject).
    labeled_faces/NAME is built from the subfolder NAME if that has a labels.csv.
    """
    # Any file: labels.csv may be in the folder or in one below, even a linked one; _folder reports its
    # absence.
    MANUAL_FILES = ("*",)
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "First release. After ageflax 0.1.0, age groups outside the grammar are refused, each "
        "line is read by itself, columns have other names too, and subjects such as 'nan' are unknown."
    }
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [DEFAULT]

    @classmethod
    def get_builder_config(cls, name: str, version: Any = None) -> LabeledFacesConfig:
        """Makes a config with any name that can be a folder's.

        Raises:
          InputError: the name is invalid.
        """
        del version  # there is only one
        if not _CONFIG_NAME.fullmatch(name):
            raise InputError(
                f"labeled_faces/{name}: invalid name; use a letter, then letters, digits, dots, dashes"
                " and underscores"
            )
        if name == DEFAULT.name:
            return DEFAULT
        return LabeledFacesConfig(name=name, description=f"Your own photographs, named {name}.")

    @classmethod
    def find_source(cls, manual_dir: Path, config: str) -> source.Place | None:
        """The folder with the labels.csv of a config, and the photographs below it."""
        for folder in _folders(manual_dir, config):
            if (folder / labels_file.NAME).is_file():
                return source.Place(folder, {"": folder})
        return None

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=common.features(
                # TFDS stores given bytes as they are, and ageflax decodes by content.
                image="The photograph's own file, byte for byte: JPEG, PNG, WebP, ...",
                key="Unique: the path.",
                subject="The subject; 'face of PATH' if not given.",
                age_label="The column age_group, '' if empty.",
                age="Years, NaN if not given.",
                gender="-1 if not given.",
            ),
            redistribution_info={"license": TERMS},
            metadata=self._provenance,
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[common.Examples]]:
        assert self.builder_config is not None  # there is a default
        folder = _folder(dl_manager, self.builder_config.name)
        path = folder / labels_file.NAME
        file = labels_file.read(path)
        _say(file.notice)
        if rows.counted_from_1(file.lines):
            raise InputError(f"{path}: column fold counts from 1; subtract 1, as folds are 0 to 4")
        disk = photographs.Disk(folder)
        faces, rejected = rows.parse_all(file.lines, disk.locate)
        _say(disk.notice)
        identity.check_given_folds(faces)
        place = source.Place(folder, {"": folder})
        record = source.Record("one's own photographs", place, Path(dl_manager.manual_dir))
        record.note_list(labels_file.NAME, file.md5)
        report = _look_at_images(faces, folder, record)
        rejected += [
            rows.Rejection(faces[bad.row].line, bad.key, bad.reason, disk.explain(bad))
            for bad in report.rejected
        ]
        rejected.sort(key=lambda rejection: rejection.line)
        kept = [faces[row] for row in report.kept]
        _require_faces(kept, rejected, path)
        subjects = identity.given_subjects(kept)
        _say(f"notice: {subjects['subjects_notice']}" if subjects["without_subject"] else "")
        _say(_unknown(kept))
        groups, notice = same_pictures.find(kept, report, folder)
        _say(notice)
        usable = identity.name_unnamed(kept, groups)
        if len({face.subject for face in usable}) < len(FOLDS):  # a few test pictures
            usable = identity.name_unnamed(kept, [])
        try:
            folds = identity.divide(usable)
        except InputError as error:
            left_out = _unusable(len(usable), rejected)
            raise InputError(
                f"{path}: {'; '.join(filter(None, (str(error), left_out)))}"
            ) from error
        # self.data_path is now the folder that becomes the dataset once everything is written.
        write_csv(
            Path(self.data_path) / REJECTED,
            ("line", "path", "reason", "detail"),
            (dataclasses.astuple(rejection) for rejection in rejected),
        )
        self._provenance.update(_metadata(file, usable, folds, rejected, report) | subjects)
        self._provenance["source"] = record.write(Path(self.data_path))
        _say(_warning(len(usable), rejected, listing=self._final_path / REJECTED))
        return common.shards_by_fold(
            zip(usable, report.sizes, strict=True),
            fold=lambda face: folds[face.subject],
            key=lambda face: face.path,
            examples=lambda shard: functools.partial(_examples, shard, folder),
        )


def _folders(manual_dir: Path, config: str) -> list[Path]:
    """Folders that may hold the labels.csv of a config, in order."""
    return [manual_dir] if config == DEFAULT.name else [manual_dir / config, manual_dir]


def _folder(dl_manager: tfds.download.DownloadManager, config: str) -> Path:
    """The folder with the labels.csv of a config.

    Raises:
      InputError: there is none.
    """
    manual_dir = common.manual_dir(
        dl_manager, f"{labels_file.NAME} and the photographs that it lists"
    )
    looked = _folders(manual_dir, config)
    for folder in looked:
        if (folder / labels_file.NAME).is_file():
            return folder
    places = " or ".join(str(folder / labels_file.NAME) for folder in looked)
    lists = sorted(path.name for path in manual_dir.iterdir() if path.suffix.lower() in _LISTS)
    others = f" (there is {', '.join(lists[:3])}: save it as {labels_file.NAME})" if lists else ""
    raise InputError(
        f"labeled_faces/{config}: no {places}{others}; name the folder that holds it with --manual_dir"
    )


def _look_at_images(faces: Sequence[rows.Face], folder: Path, record: source.Record) -> Report:
    """Decodes every photograph once, before anything is written."""
    records = [
        Record(face.path, face.subject, face.age_group, face.age, face.gender) for face in faces
    ]
    with common.checking(len(faces)) as progress:
        return rules.wash(
            records,
            record.reading(
                lambda row: images.read(folder / faces[row].path), lambda row: faces[row].path
            ),
            _READABLE,
            progress=progress.update,
        )


def _examples(faces: Sequence[rows.Face], folder: Path) -> Iterator[common.Example]:
    """Examples of a shard."""
    for face in common.writing(faces):
        yield (
            face.path,
            {
                "image": common.read_again(
                    functools.partial(images.read, folder / face.path), face.path
                ),
                "key": face.path,
                "subject": face.subject,
                "age_label": face.age_group,
                "age": np.float32(face.age),
                "gender": face.gender,
            },
        )


def _counts(rejected: Sequence[rows.Rejection]) -> dict[str, int]:
    return count_by_reason((bad.reason for bad in rejected), rows.REASONS)


def _unusable(usable: int, rejected: Sequence[rows.Rejection]) -> str:
    """End of a refusal that rows left out may explain: counts the reasons and shows the first row."""
    if not rejected:
        return ""
    total = f"{usable + len(rejected):,} rows"
    which = f"{len(rejected):,} of its {total} cannot" if usable else f"none of its {total} can"
    return f"{which} be used: {common.by_reason(_counts(rejected))}; {rejected[0]}"


def _require_faces(
    usable: Sequence[rows.Face], rejected: Sequence[rows.Rejection], path: Path
) -> None:
    """Refuses a file without usable rows.

    Raises:
      InputError: counts the reasons, and shows the first row.
    """
    if not usable:
        raise InputError(f"{path}: {_unusable(0, rejected) or 'no rows below the first line'}")


def _warning(usable: int, rejected: Sequence[rows.Rejection], *, listing: Path) -> str:
    """Lines about rows left out: none, a notice, or a warning if there are many."""
    if not rejected:
        return ""
    total, note = usable + len(rejected), str(rejected[0])
    warning = common.warning(_counts(rejected), usable, noun="rows", note=note, listing=listing)
    return warning or (
        f"notice: {len(rejected):,} of {total:,} rows are left out: "
        f"{common.by_reason(_counts(rejected))}; {note}; each is listed in {listing}"
    )


def _unknown(faces: Sequence[rows.Face]) -> str:
    """A line about faces that lack the age or the gender that others have, otherwise ""."""
    without = {
        "age": sum(np.isnan(face.age) and not face.age_group for face in faces),
        "gender": sum(face.gender == UNKNOWN for face in faces),
    }
    parts = [f"{label} unknown for {n:,}" for label, n in without.items() if 0 < n < len(faces)]
    if not parts:
        return ""
    return f"notice: {', '.join(parts)} of {len(faces):,} faces; they count for their other labels"


def _metadata(
    file: labels_file.LabelsFile,
    usable: Sequence[rows.Face],
    folds: dict[str, int],
    rejected: Sequence[rows.Rejection],
    report: Report,
) -> dict[str, Any]:
    """Metadata on the origin of the dataset, JSON values only."""
    sizes = collections.Counter(folds[face.subject] for face in usable)
    genders = collections.Counter((*GENDERS, "unknown")[face.gender] for face in usable)
    given = sum(face.fold is not None for face in usable)
    return {
        "edition": f"{labels_file.NAME}, md5 {file.md5}",
        "columns": list(file.columns),
        "columns_read_as": file.read_as,
        "columns_ignored": list(file.ignored),
        "delimiter": file.delimiter,
        "rows": len(file.lines),
        "rejected": _counts(rejected),
        "examples": len(usable),
        "examples_by_fold": [sizes[fold] for fold in FOLDS],
        "examples_with_a_given_fold": given,
        "subjects": len(folds),
        "identical_images": report.as_json()["identical_images"],
        "with_age": sum(not np.isnan(face.age) for face in usable),
        "with_age_group": sum(bool(face.age_group) for face in usable),
        "genders": dict(sorted(genders.items())),
        "licence": TERMS,
    }
