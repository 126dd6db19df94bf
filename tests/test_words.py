"""Docstrings are plain English: an argument's text is a noun phrase, and no docstring opens as a riddle."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path for package in ("ageflax", "pipelines", "tfds_builders") for path in (ROOT / package).rglob("*.py")
)  # fmt: skip

RIDDLE = re.compile(r"(?:what|which|that|whether|whom|of)\b", re.IGNORECASE)
SECTION = re.compile(r"^(?:Args|Attributes):\n((?:(?: .*)?\n?)+)", re.MULTILINE)
# "  name (type): text", the text on this line or the next.
ENTRY = re.compile(r"^  (\w[\w, *.]*|\*+\w+)(?: \(.*?\))?:\s+(.+)", re.MULTILINE)
DANGLING = re.compile(r"(?:of|what|which|that)\b", re.IGNORECASE)

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def faults(source: str) -> Iterator[str]:
    """Docstrings that open as a riddle, and entries of Args or Attributes that do not stand alone."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, Documented) or not (text := ast.get_docstring(node)):
            continue
        line = node.body[0].lineno
        if RIDDLE.match(text):
            yield f"line {line}: opens with {text.splitlines()[0]!r}"
        for section in SECTION.findall(text):
            for name, entry in ENTRY.findall(section):
                if DANGLING.match(entry):
                    yield f"line {line}: {name}: {entry}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_are_plain_english(path):
    found = list(faults(path.read_text()))
    assert not found, "\n".join(found)


def test_faults_are_found():
    source = '''
"""What is said of a face."""
def good(path):
    """Reads a file.

    Args:
      path: file to read, which
        of all is the first: what it says counts.
    """
class Bad:
    """A face.

    Attributes:
      box (tuple[int, ...]): of the face, pixels.
      score, id:
        Which of them it is.

    Example:
      x: of no account
    """
async def also_bad(**options):
    """That which is found.

    Args:
      **options: what is
        passed on.
    """
'''
    assert [fault.partition(": ")[2] for fault in faults(source)] == [
        "opens with 'What is said of a face.'",
        "box: of the face, pixels.",
        "score, id: Which of them it is.",
        "opens with 'That which is found.'",
        "**options: what is",
    ]
