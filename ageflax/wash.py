"""Finds what makes a dataset's figures false: the same picture in two folds or of two people.

Every image of a built dataset is looked at. Told are those that are unreadable, all zero, flat or of a
single pixel, and pairs of pictures, equal or nearly so, that cross folds or persons.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

_EPILOG = """\
Writes into FOLDER, where it is named: wash_report.json (counts), rejected.csv (useless images) and
pairs.csv. Mirrored, rotated and newly cropped copies are not found. The dataset is left as it is.
Exit codes: 0 done, whatever was found, 2 bad input, 1 failed run, 130 interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ageflax.wash",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data.name",
        dest="name",
        metavar="NAME",
        required=True,
        help="builder[/config], such as adience/aligned",
    )
    parser.add_argument(
        "--data.dir", dest="directory", metavar="DIR", default="", help="where datasets lie"
    )
    parser.add_argument(
        "--distance",
        metavar="N",
        default="4",
        help="bits of 64 in which the hashes of near duplicates may differ, 0 to 15 (default: 4)",
    )
    parser.add_argument("--output", metavar="FOLDER", type=Path, help="where lists are written")
    return parser


def _summary(report: dict) -> str:
    """The counts of a report as lines of text."""
    unusable = ", ".join(f"{n:,} {reason}" for reason, n in report["unusable"].items()) or "none"
    lines = [
        f"{report['dataset']}: {report['faces']:,} faces",
        f"useless images: {unusable}",
        f"pictures that occur more than once: {report['groups_of_identical_images']:,}",
        "pairs across folds or persons:",
    ]
    lines += [
        f"  {kind}: {counts['pairs']:,} ({counts['across_folds']:,} across folds, "
        f"{counts['across_subjects']:,} across persons, "
        f"{counts['with_different_labels']:,} with different labels)"
        for kind, counts in report["pairs"].items()
    ]
    return "\n".join(lines)


def _run(name: str, directory: str, distance: str, output: Path | None) -> None:
    from ageflax.errors import InputError

    # Checked before anything is imported or read: what is misspelt is told at once.
    if not (distance.isascii() and distance.isdigit() and int(distance) <= 15):
        raise InputError(f"--distance={distance}: expected a whole number from 0 to 15")
    if output is not None:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--output={output}: cannot be written: {error.strerror}") from error

    # Imported late: --help should not wait for TFDS.
    from ageflax.data.building import find
    from ageflax.data.washing import leaks
    from ageflax.runtime.progress import Progress, say

    dataset = find.open_built(name, directory=directory)
    with Progress(len(dataset), unit="face", label="looking") as progress:
        found = leaks.find(dataset, distance=int(distance), progress=progress.update)
    print(_summary(found.as_json()))
    if output is not None:
        found.write(output)
        say(f"lists: {output}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from ageflax.runtime import command_line

    words = _parser().parse_args(arguments)
    return command_line.run(
        "ageflax.wash", lambda: _run(words.name, words.directory, words.distance, words.output)
    )


if __name__ == "__main__":
    sys.exit(main())
