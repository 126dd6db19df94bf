"""Helpers that run the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from ageflax import compare
from tests.support.html_page import Page


def compared(tmp_path: Path, *words: Any) -> tuple[Page, dict[str, Any]]:
    """Runs the command; returns its page and its JSON."""
    output = tmp_path / "out" / "page.html"
    assert compare.main([*map(str, words), f"--output={output}"]) == 0
    return Page(output), json.loads(output.with_suffix(".json").read_text())


def refused(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    """Runs a command line that is refused; returns its one line."""
    assert compare.main([*map(str, words)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
