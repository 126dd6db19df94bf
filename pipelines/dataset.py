"""Builds a dataset if it is absent, and describes it: python -m pipelines.dataset.

Runs before all folds, so that no two of them build it at once. Writes a JSON file: the dataset's name,
its folder and source, the number of faces, and a fingerprint of their labels and source files.
"""

import argparse
import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ageflax.runtime import command_line, files
from pipelines import python


@dataclasses.dataclass(frozen=True)
class Source:
    """A dataset to read or build.

    Attributes:
      name: builder[/config].
      directory: folder of built datasets.
      manual_dir: folder of downloaded archives; "" for `directory`/downloads/manual.
      rebuild: True to build it anew if its source files have changed.
    """

    name: str
    directory: str
    manual_dir: str
    rebuild: bool = False


def signature(folder: Path) -> list[list[Any]]:
    """Name, size and time of a built dataset's files; while they stay, so does the fingerprint."""
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def described(path: Path) -> dict[str, Any] | None:
    """The description that an earlier call wrote; None if there is none or the dataset has changed."""
    content = files.read_json_or(path, None)
    if content is None or not Path(content["path"]).is_dir():
        return None
    return content if signature(Path(content["path"])) == content["files"] else None


def command(source: Source, output: Path) -> tuple[str, ...]:
    """The command that builds and describes a dataset."""
    return python(
        "pipelines.dataset",
        f"--data.name={source.name}",
        f"--data.dir={source.directory}",
        f"--data.manual_dir={source.manual_dir}",
        *["--data.rebuild"] * source.rebuild,
        f"--output={output}",
    )


def _run(source: Source, output: Path) -> None:
    # Imported late: --help should not wait for TFDS.
    from ageflax.data import reading
    from ageflax.data.building import find
    from ageflax.data.building import source as source_files
    from ageflax.runtime.progress import Progress, say

    stored = find.open_dataset(
        source.name,
        directory=source.directory,
        manual_dir=source.manual_dir,
        rebuild=source.rebuild,
        say=say,
    )
    with Progress(len(stored), unit="face", label=f"reading {stored.name}") as progress:
        faces = reading.load(stored, None, progress=progress.update).faces
    output.parent.mkdir(parents=True, exist_ok=True)
    content = {"name": stored.name, "path": str(stored.path.absolute()), "faces": len(faces)}
    origin = source_files.of_metadata(stored.metadata)
    content |= {"source": origin, "files": signature(stored.path)}
    content["fingerprint"] = faces.fingerprint
    if origin:  # photographs may change where labels do not
        both = f"{faces.fingerprint} {origin['digest']}"
        content["fingerprint"] = hashlib.sha256(both.encode()).hexdigest()[:16]
    files.write_json(output, content)
    say(f"{stored.name}: {len(faces):,} faces, fingerprint {content['fingerprint']}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --data.name, --data.dir, --data.manual_dir and --data.rebuild."""
    add = parser.add_argument
    add("--data.name", dest="name", metavar="NAME", required=True, help="builder[/config]")
    add("--data.dir", dest="directory", metavar="DIR", type=command_line.name_or_path, default="",
        help="folder of built datasets")  # fmt: skip
    add("--data.manual_dir", dest="manual_dir", metavar="DIR", type=command_line.name_or_path,
        default="", help="folder of downloaded archives")  # fmt: skip
    add("--data.rebuild", dest="rebuild", action="store_true",
        help="build the dataset anew if its source files have changed")  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = command_line.parser("pipelines.dataset", __doc__)
    add_arguments(parser)
    parser.add_argument(
        "--output", metavar="FILE.json", type=command_line.path, required=True, help="file to write"
    )
    options = parser.parse_args(arguments)
    source = Source(options.name, options.directory, options.manual_dir, options.rebuild)
    return command_line.run("pipelines.dataset", lambda: _run(source, options.output))


if __name__ == "__main__":
    sys.exit(main())
