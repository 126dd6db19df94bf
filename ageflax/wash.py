"""Finds flaws in a dataset that make its figures wrong: one picture in two folds or of two subjects.

Reads every image of a built dataset and lists images that are unreadable, all zero, flat or a single
pixel, and pairs of equal or nearly equal pictures across folds or subjects.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ageflax.runtime import command_line

_EPILOG = """\
Given FOLDER, writes wash_report.json (counts), rejected.csv (useless images) and pairs.csv there.
Mirrored, rotated and newly cropped copies are not found. The dataset is left unchanged.
Exit codes: 0 done, whatever was found, 2 bad input, 1 failed run, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("ageflax.wash", __doc__, _EPILOG)
    parser.add_argument(
        "--data.name",
        dest="name",
        metavar="NAME",
        required=True,
        help="dataset, builder[/config], such as adience/aligned",
    )
    parser.add_argument(
        "--data.dir",
        dest="directory",
        metavar="DIR",
        type=command_line.name_or_path,
        default="",
        help="folder of built datasets",
    )
    parser.add_argument(
        "--distance",
        metavar="N",
        default="4",
        help="largest difference of near duplicates' hashes in bits of 64, 0 to 15 (default: 4)",
    )
    parser.add_argument(
        "--output", metavar="FOLDER", type=command_line.path, help="folder of the lists to write"
    )
    return parser


def _summary(report: dict) -> str:
    """Formats the counts of a report as lines of text."""
    unusable = ", ".join(f"{n:,} {reason}" for reason, n in report["unusable"].items()) or "none"
    lines = [
        f"{report['dataset']}: {report['faces']:,} faces",
        f"useless images: {unusable}",
        f"pictures that occur more than once: {report['groups_of_identical_images']:,}",
        "pairs across folds or subjects:",
    ]
    lines += [
        f"  {kind}: {counts['pairs']:,} ({counts['across_folds']:,} across folds, "
        f"{counts['across_subjects']:,} across subjects, "
        f"{counts['with_different_labels']:,} with different labels)"
        for kind, counts in report["pairs"].items()
    ]
    return "\n".join(lines)


def _run(name: str, directory: str, distance: str, output: Path | None) -> None:
    from ageflax.errors import InputError
    from ageflax.runtime import files

    # Checked first: a misspelt option is reported before anything is imported or read.
    if not (distance.isascii() and distance.isdigit() and int(distance) <= 15):
        raise InputError(f"--distance={distance}: expected a whole number from 0 to 15")
    if output is not None:
        files.make_writable(output, "--output")

    # Imported late: --help should not wait for TFDS.
    from ageflax.data.building import find
    from ageflax.data.washing import leaks
    from ageflax.runtime.progress import Progress, say

    dataset = find.open_built(name, directory=directory)
    with Progress(len(dataset), unit="face", label="reading") as progress:
        found = leaks.find(dataset, distance=int(distance), progress=progress.update)
    print(_summary(found.as_json()))
    if output is not None:
        found.write(output)
        say(f"lists: {output}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    return command_line.run(
        "ageflax.wash",
        lambda: _run(options.name, options.directory, options.distance, options.output),
    )


if __name__ == "__main__":
    sys.exit(main())
