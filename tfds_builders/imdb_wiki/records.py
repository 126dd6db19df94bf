"""Records of one or both databases as one table, and the examples made from them."""

import collections
import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from ageflax.data.washing import report
from tfds_builders import common

from . import identity
from .crops import Crops
from .metadata import Metadata


@dataclasses.dataclass(frozen=True)
class Source:
    """A database: its metadata and its images."""

    metadata: Metadata
    crops: Crops


@dataclasses.dataclass(frozen=True)
class Table:
    """The records of all sources, one after another.

    Attributes:
      sources: the databases.
      keys: str[n], unique: database and path.
      subjects: str[n], see `identity.subjects`.
    """

    sources: Sequence[Source]
    keys: Sequence[str]
    subjects: Sequence[str]

    def __len__(self) -> int:
        return len(self.keys)

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *(len(source.metadata) for source in self.sources)])

    def locate(self, row: int) -> tuple[Source, int]:
        """The source of a row, and the row's number in it."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.sources[number], row - int(self._starts[number])

    def file(self, row: int) -> str:
        """Path of a row's image below the folder of downloads."""
        source, own = self.locate(row)
        return f"{source.crops.folder}/{source.metadata.paths[own]}"

    def read(self, row: int) -> bytes:
        """Reads the image of a row.

        Raises:
          images.BadImageError: absent, unreadable, empty or too large.
        """
        source, own = self.locate(row)
        return source.crops.read(source.metadata.paths[own])

    @property
    def for_washing(self) -> list[report.Record]:
        """Records for washing, row by row."""
        return [
            report.Record(
                key=key,
                subject=subject,
                age=age,
                gender=gender,
                face_score=face_score,
                second_face_score=second,
            )
            for key, subject, (age, gender, face_score, second) in zip(
                self.keys, self.subjects, self._labels(), strict=True
            )
        ]

    def _labels(self) -> Iterator[tuple[float, int, float, float]]:
        for source in self.sources:
            own = source.metadata
            columns = own.ages, own.genders, own.face_scores, own.second_face_scores
            yield from zip(*(column.tolist() for column in columns), strict=True)

    def narrowed(self, rows: Sequence[int]) -> "Table":
        """The same table reduced to some rows, given in ascending order."""
        sources = []
        for source, start in zip(self.sources, self._starts.tolist(), strict=False):
            own = [row - start for row in rows if 0 <= row - start < len(source.metadata)]
            metadata = source.metadata.take(own)
            sources.append(Source(metadata, source.crops.only(metadata.paths)))
        return Table(
            sources, [self.keys[row] for row in rows], [self.subjects[row] for row in rows]
        )

    def example(self, row: int) -> common.Example:
        """One record as TFDS takes it.

        Raises:
          RunError: the image has changed since it was checked.
        """
        source, own = self.locate(row)
        image = common.read_again(functools.partial(self.read, row), self.keys[row])
        metadata = source.metadata
        return (
            self.keys[row],
            {
                "image": image,
                "key": self.keys[row],
                "subject": self.subjects[row],
                "age_label": "",
                "age": np.float32(metadata.ages[own]),
                "gender": int(metadata.genders[own]),
                "face_score": np.float32(metadata.face_scores[own]),
                "second_face_score": np.float32(metadata.second_face_scores[own]),
                "photo_year": np.int32(metadata.photo_years[own]),
            },
        )


@dataclasses.dataclass(frozen=True)
class Shard:
    """Examples of a file; called by TFDS, here or on a Beam worker."""

    table: Table
    rows: Sequence[int]

    def __call__(self) -> Iterator[common.Example]:
        """Examples in the order of `rows`."""
        for row in common.writing(self.rows):
            yield self.table.example(row)

    def __reduce__(self):
        # A worker gets only these rows out of half a million.
        ordered = sorted(self.rows)
        place = {row: number for number, row in enumerate(ordered)}
        return Shard, (self.table.narrowed(ordered), [place[row] for row in self.rows])


def _keys(metadata: Metadata) -> Iterator[str]:
    """Unique keys: database and path, and a number if the path has occurred before."""
    seen: collections.Counter[str] = collections.Counter()
    for path in metadata.paths:
        seen[path] += 1
        number = f"#{seen[path]}" if seen[path] > 1 else ""
        yield f"{metadata.database}/{path}{number}"


def tabulate(sources: Sequence[Source]) -> Table:
    """Makes the table of one or both databases."""
    return Table(
        sources,
        [key for source in sources for key in _keys(source.metadata)],
        identity.subjects(source.metadata for source in sources),
    )
