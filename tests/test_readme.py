"""Paths, names and modules that the READMEs mention exist."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from tests.support.commands import READMES, ROOT, blocks

OURS = "ageflax|configs|pipelines|tests|tfds_builders"
PATH = re.compile(rf"(?<![\w./-])(?:{OURS})/[\w./*-]*")
DOTTED = re.compile(rf"(?<![\w./-])(?:{OURS})(?:\.[A-Za-z_]\w*)+")
COMMAND = re.compile(r"python -m ([\w.]+)")

each_readme = pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))  # fmt: skip


def module_file(name: str) -> Path | None:
    """File of one of our modules, by its dotted name."""
    path = ROOT / name.replace(".", "/")
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def exists(name: str) -> bool:
    """True if a dotted name is a module of ours, or an attribute of one."""
    module, attributes = name, []
    while not module_file(module):
        module, _, attribute = module.rpartition(".")
        if not module:
            return False
        attributes.insert(0, attribute)
    if not attributes:  # nothing is imported for a module alone
        return True
    found = importlib.import_module(module)
    for attribute in attributes:
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return True


@each_readme
def test_paths_exist(readme):
    paths = {path.rstrip("./") for path in PATH.findall(readme.read_text())}
    # Capitals stand for a name of the reader's own.
    paths = {path for path in paths if not any(part.isupper() for part in re.split(r"[/.]", path))}
    assert not [path for path in sorted(paths) if not any(ROOT.glob(path))]


@each_readme
def test_names_exist(readme):
    names = set(DOTTED.findall(readme.read_text()))
    for source in blocks(readme, "python"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and re.match(OURS, node.module or ""):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert not [name for name in sorted(names) if not exists(name)]


@each_readme
def test_commands_exist(readme):
    for name in set(COMMAND.findall(readme.read_text())):
        if re.match(OURS, name):
            file = module_file(name)
            assert file, name
            if file.name == "__init__.py":
                file = file.with_name("__main__.py")
            assert file.is_file(), name
            assert "__main__" in file.read_text(), name


def test_the_first_readme_is_short():
    assert len(READMES[0].read_text().split()) <= 1700


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ageflax.labels", True),
        ("ageflax.labels.AGE_GROUPS", True),
        ("ageflax.labels.no_such", False),
        ("ageflax.no_such.AGE_GROUPS", False),
        ("nothing.of.ours", False),
    ],
)
def test_which_names_exist(name, expected):
    assert exists(name) == expected
