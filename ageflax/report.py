"""report.html."""

from pathlib import Path


def write(workdir: Path) -> None:
    """Writes report.html."""
    (workdir / "report.html").write_text("")
