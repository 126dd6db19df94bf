"""Quality report of a built dataset."""

import sys
from pathlib import Path

REPORT, PAGE = "quality.json", "quality.html"


def command(name: str, directory: str, folder: Path) -> tuple[str, ...]:
    """The command that writes the report of a dataset.

    Args:
      name: builder[/config].
      directory: folder of built datasets.
      folder: folder that ageflax.wash has written; the report goes there too.
    """
    words = (f"--data.name={name}", f"--data.dir={directory}", f"--output={folder}")
    return sys.executable, "-m", "pipelines.quality", *words
