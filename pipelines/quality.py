"""What a built dataset is made of, and what is wrong with it: python -m pipelines.quality.

Joins the labels of its faces, what its builder left out and what `python -m ageflax.wash` found into
quality.json and quality.html, a page that needs nothing else.
"""

import argparse
import collections
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ageflax.runtime import files

REPORT, PAGE = "quality.json", "quality.html"
_GENDERS = {0: "female", 1: "male", -1: "unknown"}
_DECADE = 10


def _by_fold(values: Sequence[Any], folds: Sequence[int], order: Sequence[Any]) -> dict[str, Any]:
    """Counts of each value in each fold, in the given order."""
    found = collections.Counter(zip(values, folds, strict=True))
    return {
        str(value): [found[value, fold] for fold in range(5)]
        for value in order
        if any(found[value, fold] for fold in range(5))
    }


def _age_bands(ages: Sequence[float]) -> list[str]:
    """Decades, and "unknown" for NaN, which is not >= 0."""
    bands = []
    for age in ages:
        low = int(age // _DECADE * _DECADE) if age >= 0 else -1
        bands.append("unknown" if low < 0 else f"{low}-{low + _DECADE - 1}")
    return bands


def report(
    faces: Any, *, name: str, metadata: Mapping[str, Any], washed: Mapping[str, Any]
) -> dict[str, Any]:
    """quality.json.

    Args:
      faces: ageflax.data.dataset.Faces.
      name: of the dataset.
      metadata: what its builder recorded.
      washed: wash_report.json.
    """
    folds = faces.folds.tolist()
    subjects = collections.Counter(dict.fromkeys(zip(faces.subjects, folds, strict=True)).keys())
    people = collections.Counter(fold for _, fold in subjects)
    labels, bands = faces.age_labels.tolist(), _age_bands(faces.ages.tolist())
    named = sorted(set(labels), key=_label_order)
    decades = sorted(set(bands), key=_label_order)
    return {
        "dataset": name,
        "faces": len(faces),
        "persons": len(set(faces.subjects.tolist())),
        "edition": metadata.get("edition"),
        "licence": metadata.get("licence"),
        "fingerprint": faces.fingerprint,
        "left_out_by_the_builder": metadata.get("rejected") or {},
        "faces_by_fold": [folds.count(fold) for fold in range(5)],
        "persons_by_fold": [people[fold] for fold in range(5)],
        "age_labels": _by_fold(labels, folds, named),
        "ages": _by_fold(bands, folds, decades),
        "genders": {
            _GENDERS[int(number)]: counts
            for number, counts in _by_fold(faces.genders.tolist(), folds, list(_GENDERS)).items()
        },
        "wash": dict(washed),
    }


def _label_order(label: str) -> tuple[float, str]:
    """By the first number in it; what has none comes last."""
    digits = "".join(c if c.isdigit() else " " for c in label).split()
    return (float(digits[0]) if digits else float("inf"), label)


def _findings(content: Mapping[str, Any]) -> list[str]:
    """What deserves a look, in words; none where all is well."""
    washed, lines = content["wash"], []
    unusable = sum(washed["unusable"].values())
    if unusable:
        lines.append(f"{unusable:,} images are useless: unreadable, blank or of a single pixel")
    pairs = washed["pairs"].values()
    folds = sum(counts["across_folds"] for counts in pairs)
    people = sum(counts["across_subjects"] for counts in pairs)
    if folds:
        lines.append(
            f"{folds:,} pairs show one picture in two folds: trained on and tested, they make figures"
            " too good"
        )
    if people:
        lines.append(f"{people:,} pairs show one picture under the names of two persons")
    sizes = content["faces_by_fold"]
    if min(sizes) == 0:
        lines.append(f"fold {sizes.index(0)} is empty")
    return lines


def page(content: Mapping[str, Any]) -> str:
    """quality.html."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pipelines"), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    tables = [("Age labels, as the source has them", "age_labels"), ("Ages in years", "ages")]
    tables.append(("Gender", "genders"))
    # A dataset without ages, or without labels, needs no table of nothing.
    shown = [(t, content[key]) for t, key in tables if set(content[key]) - {"", "unknown"}]
    return environment.get_template("quality.html.jinja").render(
        content=content, tables=shown, findings=_findings(content)
    )


def _run(name: str, directory: str, folder: Path) -> None:
    from ageflax.data import reading
    from ageflax.data.building import find
    from ageflax.data.washing.report import REPORT as WASHED
    from ageflax.errors import InputError
    from ageflax.runtime.progress import say

    washed = files.read_json(folder / WASHED)
    if washed is None:
        raise InputError(
            f"{folder}: no {WASHED}; run python -m ageflax.wash --output={folder} first"
        )
    stored = find.open_built(name, directory=directory)
    faces = reading.load(stored, None).faces
    content = report(faces, name=stored.name, metadata=stored.metadata, washed=washed)
    # The page first: quality.json says that both are there.
    (folder / PAGE).write_text(page(content), encoding="utf-8")
    files.write_json(folder / REPORT, content)
    for line in _findings(content) or ["nothing wrong was found"]:
        say(f"{stored.name}: {line}")


def command(name: str, directory: str, folder: Path) -> tuple[str, ...]:
    """The words that run this module."""
    return (
        sys.executable,
        "-m",
        "pipelines.quality",
        f"--data.name={name}",
        f"--data.dir={directory}",
        f"--output={folder}",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from ageflax.runtime import command_line as ending

    parser = argparse.ArgumentParser(
        prog="python -m pipelines.quality", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--data.name", dest="name", metavar="NAME", required=True)
    parser.add_argument("--data.dir", dest="directory", metavar="DIR", default="")
    parser.add_argument(
        "--output", metavar="FOLDER", type=Path, required=True, help="where ageflax.wash wrote"
    )
    words = parser.parse_args(arguments)
    return ending.run("pipelines.quality", lambda: _run(words.name, words.directory, words.output))


if __name__ == "__main__":
    sys.exit(main())
