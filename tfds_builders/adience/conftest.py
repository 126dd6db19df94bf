"""A small Adience, copied for each test."""

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def manual_dir(tmp_path: Path) -> Path:
    """A copy of dummy_data: 11 rows, 10 images in each of the two sets of crops."""
    return Path(shutil.copytree(Path(__file__).parent / "dummy_data", tmp_path / "manual"))


@pytest.fixture
def real_data() -> Path:
    """Folder of Adience's own fold files, if there is one."""
    folder = os.environ.get("AGEFLAX_REAL_DATA")
    if not folder:
        pytest.skip("AGEFLAX_REAL_DATA names no folder of real data")
    return Path(folder) / "adience"
