"""Labelled photographs of a folder: by a labels.csv, as labeled_faces reads it, or by file names."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ageflax.data.washing import report as washing
from ageflax.errors import InputError, one_line
from ageflax.predict import sources
from ageflax.report.wording import counted
from tfds_builders.labeled_faces import file_names, labels_file, rows
from tfds_builders.labeled_faces.photographs import Disk

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Listing:
    """Labelled photographs of a folder.

    Attributes:
      folder: folder that paths are relative to.
      labels: source of the labels, a file or a naming.
      edition: the labels file, in the words of a build from it; "" for file names.
      faces: usable rows, in the order of the list.
      rejected: other rows, with the reasons.
      unlisted: number of photographs in the folder that the list does not name.
    """

    folder: Path
    labels: str
    edition: str
    faces: Sequence[rows.Face]
    rejected: Sequence[rows.Rejection]
    unlisted: int

    @property
    def left_out(self) -> dict[str, int]:
        """Number of rows that cannot be used, by reason."""
        return dict(collections.Counter(bad.reason for bad in self.rejected))

    @property
    def subjects(self) -> str:
        """Faces whose subject is known: "all", "some" or "none"."""
        given = sum(bool(face.subject) for face in self.faces)
        return "none" if not given else "all" if given == len(self.faces) else "some"

    def explain(self, path: str, reason: str) -> str:
        """Explains why a photograph cannot be read; "" if the reason says enough."""
        return Disk(self.folder).explain(washing.Rejection(0, path, reason))


def by_reason(counts: dict[str, int]) -> str:
    """Counts by reason as text, such as "2 absent, 1 empty"."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _tell(listing: Listing, say: Say) -> None:
    """Prints how many rows and photographs play no part.

    Raises:
      InputError: no row can be used.
    """
    total = len(listing.faces) + len(listing.rejected)
    if listing.rejected:
        why = f"{by_reason(listing.left_out)}; {listing.rejected[0]}"
        if not listing.faces:
            raise InputError(
                one_line(f"{listing.labels}: none of its {total:,} rows can be used: {why}")
            )
        say(one_line(f"{len(listing.rejected):,} of {total:,} rows are left out: {why}"))
    if not total:
        raise InputError(f"{listing.labels}: no rows below the first line")
    if listing.unlisted:
        count = counted(listing.unlisted, "photograph")
        say(f"without a row in the list: {count} in {listing.folder}")


def _by_file(folder: Path, path: Path, present: Iterable[str], say: Say) -> Listing:
    file = labels_file.read(path)
    disk = Disk(folder)
    # Folds are of no account here, however they are named.
    lines = [
        dataclasses.replace(line, cells={k: v for k, v in line.cells.items() if k != "fold"})
        for line in file.lines
    ]
    faces, rejected = rows.parse_all(lines, disk.locate)
    for notice in (file.notice, disk.notice):
        if notice:
            say(notice)
    named = {face.path for face in faces} | {disk.locate(bad.path) for bad in rejected}
    return Listing(
        folder=folder,
        labels=str(path),
        edition=f"{labels_file.NAME}, md5 {file.md5}",
        faces=faces,
        rejected=rejected,
        unlisted=len(set(present) - named),
    )


def _by_names(folder: Path, scheme: str, present: Sequence[str], say: Say) -> Listing:
    naming = file_names.NAMINGS[scheme]
    if not present:
        raise InputError(f"--photos={folder}: no photograph in this folder or below it")
    lines = [file_names.line(path, naming) for path in present]
    faces, rejected = rows.parse_all(line for line in lines if line)
    rejected += [
        rows.Rejection(0, path, "name", f"not named as {naming.example}")
        for path, line in zip(present, lines, strict=True)
        if line is None
    ]
    found = len(faces), len({face.subject for face in faces})
    if naming.complete and found != naming.complete:
        say(
            "{}: {:,} photographs of {:,} people, where the whole dataset has {:,} of {:,}".format(
                scheme, *found, *naming.complete
            )
        )
    return Listing(folder, scheme, "", faces, rejected, unlisted=0)


def find(folder: Path, labels: str | None, say: Say) -> Listing:
    """Finds the labelled photographs of a folder.

    Args:
      folder: folder of the photographs, searched to the bottom.
      labels: a labels file, whose paths are relative to `folder`, or a naming of file names; by default
        the labels.csv in the folder.
      say: function that prints a line.

    Raises:
      InputError: there is no such folder or file, the file cannot be read, or no row can be used.
    """
    if not folder.is_dir():
        kind = "a file; name its folder" if folder.exists() else "no such folder"
        raise InputError(f"--photos={folder}: {kind}")
    present = [path.as_posix() for path in sources.photographs(folder)]
    if labels in file_names.NAMINGS:
        listing = _by_names(folder, labels, present, say)
    else:
        path = folder / labels_file.NAME if labels is None else Path(labels)
        if not path.is_file():
            names = ", ".join(file_names.NAMINGS)
            raise InputError(
                f"--labels: no {path}; name a file with the columns path and age, age_group or gender,"
                f" or a naming of the photographs: {names}"
            )
        listing = _by_file(folder, path, present, say)
    _tell(listing, say)
    return listing
