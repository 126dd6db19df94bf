"""Builds a dataset where it is not built, and tells what it is: python -m pipelines.dataset.

The step before all folds, so that no two of them build it at once. Writes one JSON file: its name, its
folder, how many faces, and the fingerprint of their labels.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ageflax.runtime import files


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a config's faces come from.

    Attributes:
      name: builder[/config].
      directory: where datasets lie.
      manual_dir: where downloaded archives lie; "" is `directory`/downloads/manual.
    """

    name: str
    directory: str
    manual_dir: str


def signature(folder: Path) -> list[list[Any]]:
    """Name, size and time of a built dataset's files: as long as they stay, so does the fingerprint."""
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def told(path: Path) -> dict[str, Any] | None:
    """What an earlier call wrote, where the dataset is still the same; else None."""
    content = files.read_json_or(path, None)
    if content is None or not Path(content["path"]).is_dir():
        return None
    return content if signature(Path(content["path"])) == content["files"] else None


def command(source: Source, output: Path) -> tuple[str, ...]:
    """The words that run this module."""
    return (
        sys.executable,
        "-m",
        "pipelines.dataset",
        f"--data.name={source.name}",
        f"--data.dir={source.directory}",
        f"--data.manual_dir={source.manual_dir}",
        f"--output={output}",
    )


def _run(source: Source, output: Path) -> None:
    # Imported late: --help should not wait for TFDS.
    from ageflax.data import reading
    from ageflax.data.building import find
    from ageflax.runtime.progress import Progress, say

    stored = find.open_dataset(
        source.name, directory=source.directory, manual_dir=source.manual_dir, say=say
    )
    with Progress(len(stored), unit="face", label=f"reading {stored.name}") as progress:
        faces = reading.load(stored, None, progress=progress.update).faces
    output.parent.mkdir(parents=True, exist_ok=True)
    content = {"name": stored.name, "path": str(stored.path.absolute()), "faces": len(faces)}
    content |= {"fingerprint": faces.fingerprint, "files": signature(stored.path)}
    files.write_json(output, content)
    say(f"{stored.name}: {len(faces):,} faces, fingerprint {content['fingerprint']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    from ageflax.runtime import command_line as ending

    parser = argparse.ArgumentParser(
        prog="python -m pipelines.dataset", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--data.name", dest="name", metavar="NAME", required=True)
    parser.add_argument("--data.dir", dest="directory", metavar="DIR", default="")
    parser.add_argument("--data.manual_dir", dest="manual_dir", metavar="DIR", default="")
    parser.add_argument("--output", metavar="FILE.json", type=Path, required=True)
    words = parser.parse_args(arguments)
    source = Source(words.name, words.directory, words.manual_dir)
    return ending.run("pipelines.dataset", lambda: _run(source, words.output))


if __name__ == "__main__":
    sys.exit(main())
