"""Datasets built on disk: labels as a table, images as bytes."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ageflax import labels
from ageflax.errors import InputError
from ageflax.runtime import files

FOLDS = tuple(f"fold_{k}" for k in range(5))


@dataclasses.dataclass(frozen=True)
class Target(labels.Classes):
    """Classes of one head, and every face's label for it.

    Attributes:
      classes: int32[n], class per face, -1 if unknown.
      years: float32[n], age per face for a "years" head, NaN if unknown; None for other heads.
    """

    classes: np.ndarray
    years: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """Labels for the loss: years, or class indices."""
        return self.classes if self.years is None else self.years

    @property
    def known(self) -> np.ndarray:
        """bool[n], True for faces with a label; NaN is not >= 0."""
        return self.labels >= 0


@dataclasses.dataclass(frozen=True)
class Faces:
    """Labels of every face in a dataset, fold after fold, as in the source.

    Attributes:
      keys: str[n], unique.
      subjects: str[n].
      folds: int[n], 0 to 4.
      age_labels: str[n], "" if the source has none.
      ages: float[n], years, NaN if unknown.
      genders: int[n], 0 female, 1 male, -1 unknown.
      scores: float[n], score of a face detector, NaN if the dataset has no field `face_score`.
    """

    keys: np.ndarray
    subjects: np.ndarray
    folds: np.ndarray
    age_labels: np.ndarray
    ages: np.ndarray
    genders: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of keys, subjects, folds and raw labels, which identifies the data of a figure."""
        columns = (
            self.keys, self.subjects, self.folds, self.age_labels, self.ages, self.genders,
        )  # fmt: skip
        digest = hashlib.sha256()
        for row in zip(*(column.tolist() for column in columns), strict=True):
            digest.update(repr(row).encode())
        return digest.hexdigest()[:16]

    def target(
        self,
        task: str,
        *,
        policy: str,
        intervals: labels.Intervals = labels.ADIENCE,
        reading: str = "mean",
    ) -> "Target":
        """Labels for "age" (by a label policy), "gender" or "years" (ages and their groups)."""
        meaning = labels.Classes.of(task, intervals, reading)
        if task == "gender":
            return Target(**vars(meaning), classes=self.genders.astype(np.int32))
        groups = [
            labels.age_group(label, age, policy=policy, intervals=intervals)
            for label, age in zip(self.age_labels, self.ages.tolist(), strict=True)
        ]
        years = self.ages if task == "years" else None
        return Target(**vars(meaning), classes=np.array(groups, np.int32), years=years)


class StoredDataset:
    """Random access, without TensorFlow, to a dataset that TFDS built as array_record.

    Pickles as its path: worker processes open the files themselves.

    Args:
      path: version folder with dataset_info.json.

    Raises:
      InputError: the five folds or the fields of ageflax's builders are missing.
    """

    def __init__(self, path: Path):
        self.path = path
        splits = self._info.splits
        missing = [fold for fold in FOLDS if fold not in splits]
        if missing:
            raise InputError(f"{path}: no split {', '.join(missing)}; build it with this project")
        needed = {"image", "key", "subject", "age_label", "age", "gender"}
        if absent := needed - set(self._info.features or ()):
            raise InputError(f"{path}: examples have no {', '.join(sorted(absent))}")
        self._ends = np.cumsum([splits[fold].num_examples for fold in FOLDS])

    def __reduce__(self):
        return StoredDataset, (self.path,)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @functools.cached_property
    def _info(self) -> Any:
        return self._builder.info

    @functools.cached_property
    def _builder(self) -> Any:
        # Imported late: it takes half a second, and not every command reads a dataset.
        import tensorflow_datasets as tfds

        return tfds.builder_from_directory(self.path)

    @functools.cached_property
    def _sources(self) -> Sequence[Any]:
        import tensorflow_datasets as tfds

        # Bytes as stored: our own decoding is the same everywhere.
        raw = {"image": tfds.decode.SkipDecoding()}
        return [self._builder.as_data_source(fold, decoders=raw) for fold in FOLDS]

    @property
    def name(self) -> str:
        """Full name, such as "adience/aligned/1.0.0"."""
        return self._info.full_name

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata that the builder recorded: edition, licence, rejected images."""
        return files.read_json(self.path / "metadata.json") or {}

    def examples(self, rows: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Reads whole examples, images as bytes, in the order of `rows`."""
        folds = np.searchsorted(self._ends, rows, side="right")
        starts = np.concatenate([[0], self._ends])
        return [
            self._sources[fold][int(row - starts[fold])]
            for fold, row in zip(folds, rows, strict=True)
        ]

    @property
    def counts(self) -> dict[str, int]:
        """Number of faces in the files of each fold.

        Raises:
          InputError: the build recorded another number.
        """
        found = {}
        for fold, source in zip(FOLDS, self._sources, strict=True):
            built = self._info.splits[fold].num_examples
            found[fold] = len(source)
            if found[fold] != built:
                raise InputError(
                    f"{self.path}: {fold} holds {found[fold]} faces, but {built} were built: its files"
                    " are damaged; rebuild the dataset"
                )
        return found

    def chunks(self, size: int = 64) -> Iterator[range]:
        """All rows, in consecutive chunks."""
        for start in range(0, len(self), size):
            yield range(start, min(start + size, len(self)))

    def fold_of(self, row: int) -> int:
        """Fold of one row."""
        return int(np.searchsorted(self._ends, row, side="right"))


def table(examples: Sequence[dict[str, Any]], folds: Sequence[int]) -> Faces:
    """Labels of examples read by `StoredDataset.examples`."""

    def text(field: str) -> np.ndarray:
        return np.array([example[field].decode() for example in examples], dtype=object)

    return Faces(
        keys=text("key"),
        subjects=text("subject"),
        folds=np.array(folds, np.int32),
        age_labels=text("age_label"),
        ages=np.array([example["age"] for example in examples], np.float32),
        genders=np.array([example["gender"] for example in examples], np.int32),
        scores=np.array([example.get("face_score", np.nan) for example in examples], np.float32),
    )


def joined(parts: Sequence[Faces]) -> Faces:
    """Concatenates tables."""
    fields = [field.name for field in dataclasses.fields(Faces)]
    return Faces(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
