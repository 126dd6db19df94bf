"""Writes the quality report of a built dataset: python -m pipelines.quality.

Combines the counts of its labels, the images that its builder left out and the findings of
`python -m ageflax.wash` into quality.json and quality.html, a page that needs no other file.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ageflax.runtime import command_line


def _run(name: str, directory: str, folder: Path) -> None:
    from ageflax.data import reading
    from ageflax.data.building import find
    from ageflax.data.washing.report import REPORT as WASHED
    from ageflax.errors import InputError
    from ageflax.runtime import files
    from ageflax.runtime.progress import say
    from pipelines.quality import PAGE, REPORT, report

    washed = files.read_json(folder / WASHED)
    if washed is None:
        raise InputError(
            f"{folder / WASHED}: absent; run python -m ageflax.wash --output={folder} first"
        )
    stored = find.open_built(name, directory=directory)
    faces = reading.load(stored, None).faces
    content = report.make(faces, name=stored.name, metadata=stored.metadata, washed=washed)
    # The page first: the presence of quality.json means that both are there.
    with files.replacing(folder / PAGE) as temporary:
        temporary.write_text(report.page(content), encoding="utf-8")
    files.write_json(folder / REPORT, content)
    for line in report.findings(content) or ["no faults found"]:
        say(f"{stored.name}: {line}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = command_line.parser("pipelines.quality", __doc__)
    add = parser.add_argument
    add("--data.name", dest="name", metavar="NAME", required=True, help="builder[/config]")
    add("--data.dir", dest="directory", metavar="DIR", type=command_line.name_or_path, default="",
        help="folder of built datasets")  # fmt: skip
    add(
        "--output",
        metavar="FOLDER",
        type=command_line.path,
        required=True,
        help="folder that ageflax.wash has written; the report goes there too",
    )
    options = parser.parse_args(arguments)
    return command_line.run(
        "pipelines.quality", lambda: _run(options.name, options.directory, options.output)
    )


if __name__ == "__main__":
    sys.exit(main())
