"""Quality report of a built dataset."""

from pathlib import Path

from pipelines import python

REPORT, PAGE = "quality.json", "quality.html"


def command(name: str, directory: str, folder: Path) -> tuple[str, ...]:
    """The command that writes the report of a dataset.

    Args:
      name: builder[/config].
      directory: folder of built datasets.
      folder: folder that ageflax.wash has written; the report goes there too.
    """
    words = (f"--data.name={name}", f"--data.dir={directory}", f"--output={folder}")
    return python("pipelines.quality", *words)
