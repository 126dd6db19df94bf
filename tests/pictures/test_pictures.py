"""The pictures of the READMEs are there, small, and of what the pages look like today."""

import json
import os.path
import re

import pytest
from PIL import Image

from tests.pictures import FOLDER, MADE_FROM, digest
from tests.support.commands import READMES

AGAIN = "made from other files than today's: make it anew with python -m tests.pictures (see its --help)"


@pytest.mark.parametrize("name", MADE_FROM)
def test_it_is_made_from_the_files_of_today(name):
    assert json.loads((FOLDER / "made_from.json").read_text())[name] == digest(name), AGAIN


@pytest.mark.parametrize("name", MADE_FROM)
def test_it_is_small(name):
    assert (FOLDER / name).stat().st_size <= 65_000
    with Image.open(FOLDER / name) as picture:
        assert picture.width <= 1000


def test_each_is_shown_and_what_is_shown_is_one_of_them():
    shown = {
        os.path.normpath(readme.parent / picture)
        for readme in READMES
        for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", readme.read_text())
    }
    assert shown == {str(FOLDER / name) for name in MADE_FROM}
