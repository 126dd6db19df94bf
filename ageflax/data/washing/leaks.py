"""What is wrong with a built dataset's images: useless ones, and one picture in two folds or persons.

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
from ageflax.data.washing.inspection import FAULTS, Inspection, inspect
from ageflax.data.washing.near_duplicates import DISTANCE, SIMILARITY
from ageflax.data.washing.report import REJECTED, REPORT, count_by_reason, write_csv
from ageflax.runtime.files import write_json

PAIRS = "pairs.csv"
SAME_FILE, SAME_PIXELS, ALIKE = KINDS = ("same file", "same pixels", "alike")

_SMALLEST_SIDE, _FLATNESS = 2, 1.0
# Rows that a thread reads at once: what bounds the images in memory.
_ROWS = 32


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Two faces that show one picture, in two folds or under the names of two persons.

    Attributes:
      kind: one of KINDS: equal files; equal once decoded; nearly so.
      first: row of the dataset.
      second: row of the dataset, above `first`.
      distance: bits in which the perceptual hashes differ.
      similarity: correlation of the thumbnails, 1 for equal pictures.
    """

    kind: str
    first: int
    second: int
    distance: int = 0
    similarity: float = 1.0


@dataclasses.dataclass(frozen=True)
class Leaks:
    """What `find` found.

    Attributes:
      dataset: its full name.
      faces: labels of every row.
      unusable: row to one of inspection.FAULTS, ascending.
      identical_images: groups of rows with equal pixels, wherever they are.
      pairs: those that cross folds or persons; of identical images each with the first of them.
      distance: that was asked for.
    """

    dataset: str
    faces: Faces
    unusable: dict[int, str]
    identical_images: int
    pairs: Sequence[Pair]
    distance: int

    def crosses_folds(self, pair: Pair) -> bool:
        """Whether a face would be trained on and tested."""
        return bool(self.faces.folds[pair.first] != self.faces.folds[pair.second])

    def crosses_subjects(self, pair: Pair) -> bool:
        """Whether a picture has two names."""
        return bool(self.faces.subjects[pair.first] != self.faces.subjects[pair.second])

    def labels_differ(self, pair: Pair) -> bool:
        """Whether the two have another age, age label or gender."""
        return any(
            not np.array_equal(values[pair.first], values[pair.second], equal_nan=numeric)
            for values, numeric in (
                (self.faces.ages, True),
                (self.faces.genders, True),
                (self.faces.age_labels, False),
            )
        )

    def as_json(self) -> dict[str, Any]:
        """Counts, JSON values only."""
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
        """Writes wash_report.json, rejected.csv (unusable images) and pairs.csv into a folder."""
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
    """The labels of every row, and what is to be kept of its image."""

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


def _identical(inspections: Sequence[Inspection]) -> list[list[int]]:
    """Rows by their pixels, each list ascending; good images only."""
    rows_of: dict[bytes, list[int]] = {}
    for row, inspection in enumerate(inspections):
        if not inspection.fault:
            rows_of.setdefault(inspection.pixel_digest, []).append(row)
    return list(rows_of.values())


def _exact_pairs(
    groups: Sequence[Sequence[int]], inspections: Sequence[Inspection]
) -> Iterator[Pair]:
    """Each further copy of a picture with the first one: all with all would be too many to read."""
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
    """Looks at every image of a dataset, on all cores, and compares those that may be alike.

    Of identical pictures only the first is compared with others, so what is like any of them is found
    through it. Mirrored, rotated and newly cropped copies are not found.

    Args:
      dataset: built by any builder.
      distance: bits in which perceptual hashes may differ, 0 to near_duplicates.MAX_DISTANCE.
      progress: called with the number of faces of each finished piece.

    Raises:
      InputError: so many pairs are that near that they are no finding.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        faces, inspections = _survey(dataset, pool, progress)
    groups = _identical(inspections)
    _, people = np.unique(faces.subjects.astype(str), return_inverse=True)
    rows = np.array([group[0] for group in groups], np.int64)

    def picture(k: int) -> np.ndarray:
        (example,) = dataset.examples([int(rows[k])])
        return images.decode(example["image"])

    alike = [
        Pair(ALIKE, int(rows[pair.first]), int(rows[pair.second]), pair.distance, pair.similarity)
        for pair in near_duplicates.alike(
            np.array([inspections[row].perceptual_hash for row in rows], np.uint64),
            picture,
            groups=[faces.folds[rows], people[rows]],
            distance=distance,
        )
    ]
    exact = [
        pair
        for pair in _exact_pairs(groups, inspections)
        if faces.folds[pair.first] != faces.folds[pair.second]
        or people[pair.first] != people[pair.second]
    ]
    return Leaks(
        dataset=dataset.name,
        faces=faces,
        unusable={row: seen.fault for row, seen in enumerate(inspections) if seen.fault},
        identical_images=sum(len(group) > 1 for group in groups),
        pairs=[*exact, *sorted(alike, key=lambda pair: -pair.similarity)],
        distance=distance,
    )
