"""One's own photographs as a TensorFlow Datasets builder; needs no TensorFlow."""

import collections
import dataclasses
import functools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tqdm import tqdm

from ageflax.data import images
from ageflax.data.building import shards
from ageflax.data.washing import rules
from ageflax.data.washing.report import Record, Report, count_by_reason, write_csv
from ageflax.errors import InputError, RunError
from ageflax.labels import GENDERS

from . import labels_file, people, rows, same_pictures

# Key, and the features by name.
Example = tuple[str, dict[str, Any]]

REJECTED = "rejected.csv"
# Above this share of unusable rows the build says so loudly.
TOLERATED = 0.01
TERMS = (
    "Whatever binds the photographs and labels that this dataset was built from, which only its "
    "maker knows: often a consent, or a licence for research alone. A model trained on them inherits "
    "that. Not for age verification or for decisions about people."
)

# Whoever labelled a photograph saw something on it: only what is black all over is left out.
_READABLE = dataclasses.replace(rules.READABLE, smallest_side=1, flatness=0.0)
_CONFIG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


@dataclasses.dataclass(eq=False)
class LabeledFacesConfig(tfds.core.BuilderConfig):
    """One's own dataset; its name tells it from others, and may be that of its folder."""


DEFAULT = LabeledFacesConfig(
    name="default", description="The photographs that labels.csv in the manual directory lists."
)


def _say(text: str) -> None:
    """Prints to stderr, each line marked with the dataset's name."""
    for line in text.splitlines():
        print(f"labeled_faces: {line}", file=sys.stderr)


class Builder(tfds.core.ShardBasedBuilder):
    """Photographs and a CSV file of labels, in five folds by person: splits fold_0 to fold_4."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Write labels.csv into the folder of your photographs, which you name with --manual_dir. Its first
    line names the columns: path (of the photograph, as seen from that folder) and any of
      age (years), age_group (such as 25-32), gender (female or male), subject (who it is),
      fold (0 to 4; made by subject where it is not given).
    labeled_faces/NAME is built from the subfolder NAME where that has a labels.csv.
    """
    # Whatever lies there: labels.csv may be in the folder or, through a link even, in one below, and
    # where it is in neither, _folder says it best.
    MANUAL_FILE = "*"
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [DEFAULT]

    def __init__(self, *, file_format: str | None = None, **kwargs: Any):
        # array_record is what training reads without TensorFlow; TFDS's default is not.
        self._provenance = tfds.core.MetadataDict()
        super().__init__(file_format=file_format or "array_record", **kwargs)
        self._final_path = Path(self.data_path)

    @classmethod
    def get_builder_config(cls, name: str, version: Any = None) -> LabeledFacesConfig:
        """The config of any name that can be a folder's.

        Raises:
          InputError: it cannot.
        """
        del version  # there is one
        if not _CONFIG_NAME.fullmatch(name):
            raise InputError(
                f"labeled_faces/{name}: a name starts with a letter and goes on with letters, digits, "
                "dots, dashes and underscores"
            )
        if name == DEFAULT.name:
            return DEFAULT
        return LabeledFacesConfig(name=name, description=f"One's own photographs, named {name}.")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(None, None, 3),
                        encoding_format="jpeg",
                        # TFDS stores given bytes as they are, and ageflax decodes by what they hold.
                        doc="The photograph's own file, byte for byte: JPEG, PNG, WebP, ...",
                    ),
                    "key": tfds.features.Text(doc="Unique: the path."),
                    "subject": tfds.features.Text(
                        doc="The person; 'face of PATH' where not named."
                    ),
                    "age_label": tfds.features.Text(doc="The column age_group, '' where empty."),
                    "age": tfds.features.Scalar(np.float32, doc="Years, NaN where not given."),
                    "gender": tfds.features.ClassLabel(
                        names=list(GENDERS), doc="-1 where not given."
                    ),
                }
            ),
            redistribution_info={"license": TERMS},
            metadata=self._provenance,
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Sequence[Callable[[], Iterator[Example]]]]:
        assert self.builder_config is not None  # there is a default
        folder = _folder(dl_manager, self.builder_config.name)
        file = labels_file.read(folder / labels_file.NAME)
        _say(file.notice)
        faces, rejected = rows.parse_all(file.lines)
        people.check_given_folds(faces)
        report = _look_at_images(faces, folder)
        rejected += [
            rows.Rejection(faces[bad.row].line, bad.key, bad.reason) for bad in report.rejected
        ]
        rejected.sort(key=lambda rejection: rejection.line)
        usable = [faces[row] for row in report.kept]
        _require_faces(usable, rejected, folder / labels_file.NAME)
        groups, notice = same_pictures.find(usable, report, folder)
        _say(notice)
        usable = people.name_unnamed(usable, groups)
        if len({face.subject for face in usable}) < len(people.FOLDS):  # a handful of test pictures
            usable = people.name_unnamed([faces[row] for row in report.kept], [])
        folds = people.divide(usable)
        # self.data_path is now the folder that becomes the dataset when everything is written.
        write_csv(
            Path(self.data_path) / REJECTED,
            ("line", "path", "reason", "detail"),
            (dataclasses.astuple(rejection) for rejection in rejected),
        )
        self._provenance.update(_metadata(file, usable, folds, rejected, report))
        _say(_warning(len(usable), rejected, listing=self._final_path / REJECTED))
        sized = list(zip(usable, report.sizes, strict=True))
        return {
            f"fold_{fold}": [
                functools.partial(_examples, shard, folder)
                for shard in shards.divide(
                    (pair for pair in sized if folds[pair[0].subject] == fold),
                    key=lambda face: face.path,
                )
            ]
            for fold in people.FOLDS
        }


def _folder(dl_manager: tfds.download.DownloadManager, config: str) -> Path:
    """The folder with the labels.csv of a config.

    Raises:
      InputError: there is none; says where it was looked for.
    """
    try:
        manual_dir = Path(dl_manager.manual_dir)
    except AssertionError as error:  # TFDS's way to say so, with the instructions after it
        problem = str(error).partition(" Create it")[0]
        raise InputError(
            f"{problem} Looked there for {labels_file.NAME} and the photographs that it lists; name "
            "the folder that holds them with --manual_dir"
        ) from error
    looked = [manual_dir] if config == DEFAULT.name else [manual_dir / config, manual_dir]
    for folder in looked:
        if (folder / labels_file.NAME).is_file():
            return folder
    places = " or ".join(str(folder / labels_file.NAME) for folder in looked)
    raise InputError(
        f"labeled_faces/{config}: no {places}; the manual directory is to be the folder that holds it"
    )


def _look_at_images(faces: Sequence[rows.Face], folder: Path) -> Report:
    """Decodes every photograph once, before anything is written."""
    records = [
        Record(face.path, face.subject, face.age_group, face.age, face.gender) for face in faces
    ]
    with tqdm(
        total=len(faces), desc="Checking images", unit=" images", leave=False, disable=None
    ) as progress:
        return rules.wash(
            records,
            lambda row: images.read(folder / faces[row].path),
            _READABLE,
            progress=progress.update,
        )


def _examples(faces: Sequence[rows.Face], folder: Path) -> Iterator[Example]:
    """The examples of one shard."""
    for face in tqdm(faces, desc="Writing", unit=" examples", leave=False, disable=None):
        try:
            image = images.read(folder / face.path)
        except images.BadImageError as error:
            raise RunError(
                f"{face.path} was good when it was checked and is now {error}"
            ) from error
        yield (
            face.path,
            {
                "image": image,
                "key": face.path,
                "subject": face.subject,
                "age_label": face.age_group,
                "age": np.float32(face.age),
                "gender": face.gender,
            },
        )


def _by_reason(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _counts(rejected: Sequence[rows.Rejection]) -> dict[str, int]:
    return count_by_reason((bad.reason for bad in rejected), rows.REASONS)


def _require_faces(
    usable: Sequence[rows.Face], rejected: Sequence[rows.Rejection], path: Path
) -> None:
    """Refuses a file of which nothing remains.

    Raises:
      InputError: says why each row was left out, and shows the first.
    """
    if not usable and not rejected:
        raise InputError(f"{path}: no rows below the first line")
    if not usable:
        raise InputError(
            f"{path}: none of its {len(rejected):,} rows can be used: "
            f"{_by_reason(_counts(rejected))}; {rejected[0]}"
        )


def _warning(usable: int, rejected: Sequence[rows.Rejection], *, listing: Path) -> str:
    """What to tell of rows left out: nothing, a line, or where they are many, loud lines."""
    if not rejected:
        return ""
    total = usable + len(rejected)
    share = len(rejected) / total
    if share <= TOLERATED:
        return f"notice: {len(rejected):,} of {total:,} rows are left out; each is in {listing}"
    return (
        f"WARNING: {len(rejected):,} of {total:,} rows ({share:.1%}) cannot be used and are left out:\n"
        f"WARNING: {_by_reason(_counts(rejected))}.\n"
        f"WARNING: {rejected[0]}\n"
        f"WARNING: Each row is listed in {listing}"
    )


def _metadata(
    file: labels_file.LabelsFile,
    usable: Sequence[rows.Face],
    folds: dict[str, int],
    rejected: Sequence[rows.Rejection],
    report: Report,
) -> dict[str, Any]:
    """What a dataset has to say about where it came from; JSON values only."""
    sizes = collections.Counter(folds[face.subject] for face in usable)
    genders = collections.Counter((*GENDERS, "unknown")[face.gender] for face in usable)
    given = sum(face.fold is not None for face in usable)
    return {
        "source": "one's own photographs",
        "edition": f"{labels_file.NAME}, md5 {file.md5}",
        "columns": list(file.columns),
        "columns_ignored": list(file.ignored),
        "delimiter": file.delimiter,
        "rows": len(file.lines),
        "rejected": _counts(rejected),
        "examples": len(usable),
        "examples_by_fold": [sizes[fold] for fold in people.FOLDS],
        "examples_with_a_given_fold": given,
        "subjects": len(folds),
        "identical_images": report.as_json()["identical_images"],
        "with_age": sum(not np.isnan(face.age) for face in usable),
        "with_age_group": sum(bool(face.age_group) for face in usable),
        "genders": dict(sorted(genders.items())),
        "licence": TERMS,
    }
