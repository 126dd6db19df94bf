"""Contents of the wheel: one top-level package, whatever the folders of the repository are called.

`pipelines/`, `tfds_builders/` and `configs/` become `ageflax/pipelines/` and so on, and imports and
commands name them there; tests and their data stay out. Editable installs use the repository as it is.
"""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INSIDE = ("configs", "pipelines", "tfds_builders")
LEFT_OUT = shutil.ignore_patterns(
    "__pycache__",
    ".*",
    "*_test.py",
    "conftest.py",
    "dummy_*",
    "*.ipynb",
    "Dockerfile*",
    "*.sh",
    "*.yaml",
)
# A module's dotted name, in code or in text: not a path, an extra, or the word in a sentence.
NAME = re.compile(
    r"(?<![\w./\[-])(pipelines|tfds_builders)(?=\.[a-z{]| import | as |[\"']\))", re.MULTILINE
)


class CustomBuildHook(BuildHookInterface):
    """Lays the package out in a temporary folder, from which the wheel is filled."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fills the folder, unless the install is editable."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory()
        package = Path(self._folder.name) / "ageflax"
        shutil.copytree(Path(self.root) / "ageflax", package, ignore=LEFT_OUT)
        for name in INSIDE:
            shutil.copytree(Path(self.root) / name, package / name, ignore=LEFT_OUT)
        for path in package.rglob("*.py"):
            path.write_text(NAME.sub(r"ageflax.\1", path.read_text("utf-8")), "utf-8")
        build_data["force_include"][str(package)] = "ageflax"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes the folder."""
        if version != "editable":
            self._folder.cleanup()
