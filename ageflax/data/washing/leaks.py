"""Finds useless images in a built dataset, and pictures that occur in two folds or under two subjects.

A test face that was also trained on, under whatever name, makes a figure too good to be true.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ageflax.data import images
from ageflax.data.dataset import Faces, StoredDataset, joined, table
from ageflax.data.washing import near_duplicates
from ageflax.data.washing.inspection import FAULTS, Inspection, by_pixels, inspect
from ageflax.data.washing.near_duplicates import DISTANCE, SIMILARITY
from ageflax.data.washing.report import REJECTED, REPORT, count_by_reason, write_csv
from ageflax.runtime.files import write_json

PAIRS = "pairs.csv"
SAME_FILE, SAME_PIXELS, ALIKE = KINDS = ("same file", "same pixels", "alike")

_SMALLEST_SIDE, _FLATNESS = 2, 1.0
_ROWS = 32  # read at once per thread; bounds the images in memory


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Two faces that show one picture, in two folds or under two subjects.

    Attributes:
      kind: one of KINDS: equal files, equal pixels, or nearly equal pixels.
      first: row of the dataset.
      second: row of the dataset, above `first`.
      distance: number of differing bits of the perceptual hashes.
      similarity: correlation of the thumbnails, 1 for equal pictures.
    """

    kind: str
    first: int
    second: int
    distance: int = 0
    similarity: float = 1.0


@dataclasses.dataclass(frozen=True)
class Leaks:
    """Findings of `find`.

    Attributes:
      dataset: full name of the dataset.
      faces: labels of every row.
      unusable: row -> one of inspection.FAULTS, rows ascending.
      identical_images: number of groups of rows with equal pixels, in any folds.
      pairs: pairs across folds or subjects; identical images are each paired with the first of them.
      distance: largest distance that was asked for.
    """

    dataset: str
    faces: Faces
    unusable: dict[int, str]
    identical_images: int
    pairs: Sequence[Pair]
    distance: int

    def crosses_folds(self, pair: Pair) -> bool:
        """True if a picture would be trained on and tested."""
        return bool(self.faces.folds[pair.first] != self.faces.folds[pair.second])

    def crosses_subjects(self, pair: Pair) -> bool:
        """True if a picture has two subjects."""
        return bool(self.faces.subjects[pair.first] != self.faces.subjects[pair.second])

    def labels_differ(self, pair: Pair) -> bool:
        """True if age, age label or gender differ."""
        return any(
            not np.array_equal(values[pair.first], values[pair.second], equal_nan=numeric)
            for values, numeric in (
                (self.faces.ages, True),
                (self.faces.genders, True),
                (self.faces.age_labels, False),
            )
        )

    def as_json(self) -> dict[str, Any]:
        """Counts as JSON values."""
        pairs = {}
        for kind in KINDS:
            of_kind = [pair for pair in self.pairs if pair.kind == kind]
            pairs[kind] = {
                "pairs": len(of_kind),
                "across_folds": sum(map(self.crosses_folds, of_kind)),
                "across_subjects": sum(map(self.crosses_subjects, of_kind)),
                "with_different_labels": sum(map(self.labels_differ, of_kind)),
            }
        return {
            "dataset": self.dataset,
            "faces": len(self.faces),
            "unusable": count_by_reason(self.unusable.values(), FAULTS),
            "groups_of_identical_images": self.identical_images,
            "distance": self.distance,
            "similarity": SIMILARITY,
            "pairs": pairs,
        }

    def write(self, folder: Path) -> None:
        """Writes wash_report.json, rejected.csv (unusable images) and pairs.csv to a folder."""
        write_json(folder / REPORT, self.as_json())
        faces = self.faces
        write_csv(
            folder / REJECTED,
            ("key", "fold", "subject", "reason"),
            (
                (faces.keys[row], faces.folds[row], faces.subjects[row], reason)
                for row, reason in self.unusable.items()
            ),
        )
        described = ("key", "fold", "subject", "age_label", "age", "gender")
        sides = [f"{name}_{side}" for side in (1, 2) for name in described]
        header = ("kind", "distance", "similarity", "crosses_folds", "crosses_subjects", *sides)
        write_csv(folder / PAIRS, header, map(self._cells, self.pairs))

    def _cells(self, pair: Pair) -> list[object]:
        faces = self.faces
        columns = (faces.keys, faces.folds, faces.subjects, faces.age_labels, faces.ages)
        cells = [pair.kind, pair.distance, f"{pair.similarity:.4f}"]
        cells += [self.crosses_folds(pair), self.crosses_subjects(pair)]
        for row in (pair.first, pair.second):
            cells += [column[row] for column in columns] + [faces.genders[row]]
        return cells


def _survey(
    dataset: StoredDataset, pool: Executor, progress: Callable[[int], object]
) -> tuple[Faces, list[Inspection]]:
    """Labels and inspection of every row."""

    def look(rows: range) -> tuple[Faces, list[Inspection]]:
        examples = dataset.examples(rows)
        seen = [
            inspect(
                functools.partial(example.__getitem__, "image"),
                smallest_side=_SMALLEST_SIDE,
                flatness=_FLATNESS,
            )
            for example in examples
        ]
        return table(examples, [dataset.fold_of(row) for row in rows]), seen

    parts, inspections = [], []
    for part, seen in pool.map(look, dataset.chunks(_ROWS)):
        parts.append(part)
        inspections += seen
        progress(len(seen))
    return joined(parts), inspections


def _exact_pairs(
    groups: Sequence[Sequence[int]], inspections: Sequence[Inspection]
) -> Iterator[Pair]:
    """Pairs each further copy of a picture with the first: all with all would be too many to read."""
    for first, *others in groups:
        for row in others:
            same = inspections[first].file_digest == inspections[row].file_digest
            yield Pair(SAME_FILE if same else SAME_PIXELS, first, row)


def find(
    dataset: StoredDataset,
    *,
    distance: int = DISTANCE,
    progress: Callable[[int], object] = lambda done: None,
) -> Leaks:
    """Inspects every image of a dataset, on all cores, and compares those that may be alike.

    Only the first of identical pictures is compared with others and stands for them all. Mirrored,
    rotated and newly cropped copies are not found.

    Args:
      dataset: dataset from any builder.
      distance: most differing bits of two perceptual hashes, 0 to near_duplicates.MAX_DISTANCE.
      progress: called with the number of faces in each finished chunk.

    Raises:
      InputError: too many pairs are within `distance` to mean anything.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faces, inspections = _survey(dataset, pool, progress)
    groups = by_pixels(enumerate(inspections))
    _, subjects = np.unique(faces.subjects.astype(str), return_inverse=True)
    rows = np.array([group[0] for group in groups], np.int64)

    def picture(k: int) -> np.ndarray:
        (example,) = dataset.examples([int(rows[k])])
        return images.decode(example["image"])

    alike = [
        Pair(ALIKE, int(rows[pair.first]), int(rows[pair.second]), pair.distance, pair.similarity)
        for pair in near_duplicates.alike(
            np.array([inspections[row].perceptual_hash for row in rows], np.uint64),
            picture,
            groups=[faces.folds[rows], subjects[rows]],
            distance=distance,
        )
    ]
    exact = [
        pair
        for pair in _exact_pairs(groups, inspections)
        if faces.folds[pair.first] != faces.folds[pair.second]
        or subjects[pair.first] != subjects[pair.second]
    ]
    return Leaks(
        dataset=dataset.name,
        faces=faces,
        unusable={row: seen.fault for row, seen in enumerate(inspections) if seen.fault},
        identical_images=sum(len(group) > 1 for group in groups),
        pairs=[*exact, *sorted(alike, key=lambda pair: -pair.similarity)],
        distance=distance,
    )
